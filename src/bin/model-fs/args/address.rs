//! Addresses to listen at.
//!
//! Guarantees: a port alone is one of this host, which no other host can reach. Doesn't: look up
//! names.

use std::net::{Ipv4Addr, SocketAddr};

/// Reads `PORT` or `IP:PORT`.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "give a port (9100), or an address and a port (0.0.0.0:9100, [::]:9100)".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_host() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            ("0.0.0.0:9100", "0.0.0.0:9100"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), address);
        }
        for text in [
            "",
            "x",
            ":9100",
            "localhost:9100",
            "70000",
            "1.2.3.4",
            "9100 ",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
