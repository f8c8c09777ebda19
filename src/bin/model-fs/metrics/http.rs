//! Metrics by HTTP: `GET /metrics`, and nothing else.
//!
//! Guarantees: a client gets a few seconds and sends a few kilobytes, and only some are served at a
//! time; whatever it sends, it gets metrics or a short refusal. Doesn't: know who asks, speak TLS,
//! or keep connections open.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::text::Exposition;

/// Bytes of a request, at most.
const MOST_BYTES: usize = 8 << 10;

/// How long a client may take to ask, and again to take the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Clients served at a time. Others are turned away.
const MOST_CLIENTS: usize = 8;

/// How long to wait where no connection can be taken, as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// A socket that nobody answers yet.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let failed = || format!("cannot listen at {address} for metrics");
        let socket = TcpListener::bind(address).with_context(failed)?;
        let address = socket.local_addr().with_context(failed)?;
        Ok(Self { socket, address })
    }

    /// Answers until it is dropped.
    pub(super) fn start(self, metrics: Arc<Exposition>) -> io::Result<Serving> {
        tracing::info!(url = %format_args!("http://{}/metrics", self.address), "metrics");
        let ended = Arc::new(AtomicBool::new(false));
        let (address, end) = (self.address, Arc::clone(&ended));
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || accept(&self.socket, &metrics, &end))?;
        Ok(Serving {
            address,
            ended,
            thread: Some(thread),
        })
    }
}

/// A socket that is answered.
#[derive(Debug)]
pub(super) struct Serving {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread up. Where that can't be done, it ends with the process.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let v4: std::net::IpAddr = std::net::Ipv4Addr::LOCALHOST.into();
            let v6 = std::net::Ipv6Addr::LOCALHOST.into();
            address.set_ip(if address.is_ipv4() { v4 } else { v6 });
        }
        if TcpStream::connect_timeout(&address, PATIENCE).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // It has panicked, which its message has said.
            let _ = thread.join();
        }
    }
}

fn accept(socket: &TcpListener, metrics: &Arc<Exposition>, ended: &AtomicBool) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = socket.accept();
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok((client, _)) = accepted else {
            std::thread::sleep(PAUSE);
            continue;
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= MOST_CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (served, metrics) = (Leave(Arc::clone(&clients)), Arc::clone(metrics));
        let serve = move || {
            let _served = served;
            // A client that goes away has had enough.
            let _ = answer(client, &metrics);
        };
        // Without a thread, the client is turned away.
        let _ = std::thread::Builder::new()
            .name("metrics-client".to_owned())
            .spawn(serve);
    }
}

/// Makes room for another client when it is dropped.
struct Leave(Arc<AtomicUsize>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(mut client: TcpStream, metrics: &Exposition) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    let request = read_head(&mut client)?;
    let (head, body) = response(&request, || metrics.text());
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.shutdown(std::net::Shutdown::Write)
}

/// What a client sends, up to an empty line.
fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    while request.len() < MOST_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        let count = client.read(&mut bytes)?;
        request.extend_from_slice(&bytes[..count]);
        if count == 0 || request.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    Ok(request)
}

/// Head and body of the answer to a request (RFC 9112).
fn response(request: &[u8], metrics: impl FnOnce() -> String) -> (String, String) {
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let complete = request.windows(4).any(|end| end == b"\r\n\r\n");
    let (status, body) = match words[..] {
        [method, target, version] if complete && version.starts_with(b"HTTP/1.") => {
            let path = target
                .split(|byte| *byte == b'?')
                .next()
                .unwrap_or_default();
            match (method, path) {
                (b"GET" | b"HEAD", b"/metrics") => ("200 OK", metrics()),
                (b"GET" | b"HEAD", _) => ("404 Not Found", "see /metrics\n".to_owned()),
                _ => ("405 Method Not Allowed", "GET /metrics\n".to_owned()),
            }
        }
        _ => ("400 Bad Request", "GET /metrics\n".to_owned()),
    };
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\n{allow}X-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let is_head = words.first() == Some(&&b"HEAD"[..]);
    (head, if is_head { String::new() } else { body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_metrics_or_a_short_refusal() {
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metrics/x HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\n", "400"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}", "400"),
            ("", "400"),
        ] {
            let (head, body) = response(request.as_bytes(), || "m 1\n".to_owned());
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request:?}: {head}"
            );
            assert!(head.ends_with("\r\n\r\n"), "{head}");
            let is_head = request.starts_with("HEAD");
            assert_eq!(body.is_empty(), is_head, "{request:?}");
            assert_eq!(body == "m 1\n", status == "200" && !is_head, "{request:?}");
            let length = if status == "200" { 4 } else { body.len() };
            assert!(
                head.contains(&format!("Content-Length: {length}\r\n")),
                "{head}"
            );
        }
    }
}
