//! Annotations of a resource: the size of the file, and its BLAKE3 digest.
//!
//! Guarantees: each is of its one form, or counts as absent. What is ignored weakens nothing, since
//! the resource's own digest is there in any case. Doesn't: compare them with any file.

use std::fmt;

use serde_json::value::RawValue;

use super::error::ResourceRule;
use super::resource::{Annotations, Text};
use super::wire::RawAnnotations;
use crate::digest::{Algorithm, Digest};
use crate::name::Escaped;
use crate::oms::wire::strict;

/// How many resources have annotations that aren't of their form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredAnnotations {
    /// How many; at least one.
    pub resources: usize,
    /// The first of them, as it is listed.
    pub first: Escaped,
}

impl fmt::Display for IgnoredAnnotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of \"{}\"{} ignored: not a size in decimal digits, or not a BLAKE3 digest",
            self.first,
            match self.resources {
                1 => String::new(),
                resources => format!(" and {} more", resources - 1),
            },
        )
    }
}

impl IgnoredAnnotations {
    /// Takes note of one more.
    pub(super) fn note(so_far: &mut Option<Self>, name: &str) {
        match so_far {
            Some(ignored) => ignored.resources += 1,
            None => {
                *so_far = Some(Self {
                    resources: 1,
                    first: Escaped::bounded(name),
                });
            }
        }
    }
}

/// What was made of the annotations of a resource.
#[derive(Default)]
pub(super) struct Read {
    pub(super) annotations: Annotations,
    /// Whether any of them is not of its form.
    pub(super) is_ignored: bool,
}

/// Reads the annotations of a resource with this digest. One of another form is ignored.
///
/// # Errors
/// [`ResourceRule::Annotations`] where a member that is known comes twice, since other readers may
/// see the other one; [`ResourceRule::TwoBlake3`] for a second BLAKE3 digest that differs.
pub(super) fn read(stated: &RawValue, digest: Digest) -> Result<Read, ResourceRule> {
    let text = stated.get();
    if !text.starts_with('{') {
        return Ok(Read {
            is_ignored: true,
            ..Read::default()
        });
    }
    let raw: RawAnnotations<'_> = strict::json_text(text).map_err(ResourceRule::Annotations)?;
    let size = raw.size.map(|stated| size(stated.get()));
    let blake3 = raw.blake3.map(|stated| blake3(stated.get()));
    let is_ignored = size == Some(None) || blake3 == Some(None);
    let mut blake3 = blake3.flatten();
    if digest.algorithm() == Algorithm::Blake3 {
        if blake3.is_some_and(|blake3| blake3 != *digest.as_bytes()) {
            return Err(ResourceRule::TwoBlake3);
        }
        // The same said twice.
        blake3 = None;
    }
    let size = size.flatten();
    Ok(Read {
        annotations: Annotations { size, blake3 },
        is_ignored,
    })
}

/// Decimal digits and nothing else: no sign, no fraction, no exponent. JSON rules out leading
/// zeros.
fn size(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let size: u64 = is_decimal.then(|| text.parse().ok())??;
    (size <= Annotations::MAX_SIZE).then_some(size)
}

/// A string of 64 lower-case hexadecimal digits.
fn blake3(text: &str) -> Option<[u8; 32]> {
    let text: Text<'_> = strict::json_text(text).ok()?;
    let digest = Digest::from_hex(Algorithm::Blake3, &text).ok()?;
    digest.as_bytes().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn of(text: &str) -> Result<Read, ResourceRule> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        read(raw, Algorithm::Sha256.hash(b""))
    }

    #[test]
    fn sizes_have_one_form() {
        for (text, size) in [
            ("0", 0),
            ("1", 1),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            let read = of(&format!(r#"{{"size":{text}}}"#)).unwrap();
            assert_eq!(read.annotations.size, Some(size), "{text}");
            assert!(!read.is_ignored);
        }
        for text in [
            "-1",
            "-0",
            "1.0",
            "0.5",
            "1e3",
            "1e400",
            "9223372036854775808",
            "18446744073709551616",
            "\"1\"",
            "true",
            "[1]",
            "{}",
        ] {
            let read = of(&format!(r#"{{"blake3":"{HEX}","size":{text}}}"#)).unwrap();
            assert_eq!(read.annotations.size, None, "{text}");
            assert!(
                read.annotations.blake3.is_some() && read.is_ignored,
                "{text}"
            );
        }
    }

    #[test]
    fn digests_have_one_form() {
        let escaped = HEX.replacen('0', "\\u0030", 1);
        for text in [HEX, &escaped] {
            let read = of(&format!(r#"{{"blake3":"{text}"}}"#)).unwrap();
            let blake3 = read.annotations.blake3.map(hex::encode);
            assert_eq!(blake3.as_deref(), Some(HEX));
        }
        for text in [
            format!("\"{}\"", HEX.to_uppercase()),
            format!("\"{}\"", &HEX[1..]),
            format!("\"{HEX}0\""),
            format!("\"g{}\"", &HEX[1..]),
            "\"\\ud800\"".to_owned(),
            "7".to_owned(),
            format!("[\"{HEX}\"]"),
        ] {
            let read = of(&format!(r#"{{"size":7,"blake3":{text}}}"#)).unwrap();
            assert_eq!(read.annotations.blake3, None, "{text}");
            assert!(
                read.annotations.size == Some(7) && read.is_ignored,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for text in [
            "{}",
            r#"{"size":null,"blake3":null}"#,
            r#"{"sizes":-1,"Size":"x","x":1e999}"#,
            &format!(r#"{{"x":{deep}}}"#),
        ] {
            let read = of(text).unwrap();
            assert!(!read.is_ignored && read.annotations == Annotations::default());
        }
        for text in ["[]", "7", "\"size\"", "false", &deep] {
            assert!(of(text).unwrap().is_ignored);
        }
        let read = of(&format!(r#"{{"size":{deep},"blake3":{deep}}}"#)).unwrap();
        assert!(read.is_ignored && read.annotations == Annotations::default());
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for text in [
            r#"{"size":1,"size":1}"#,
            r#"{"size":1,"\u0073ize":2}"#,
            r#"{"blake3":null,"blake3":null}"#,
            r#"{"\ud800":1}"#,
        ] {
            let refused = matches!(of(text), Err(ResourceRule::Annotations(_)));
            assert!(refused, "{text}");
        }
        let raw = format!(r#"{{"size":3,"blake3":"{HEX}"}}"#);
        let raw: &RawValue = serde_json::from_str(&raw).unwrap();
        let other = read(raw, Algorithm::Blake3.hash(b""));
        assert!(matches!(other, Err(ResourceRule::TwoBlake3)));
        let same = Digest::from_hex(Algorithm::Blake3, HEX).unwrap();
        let read = read(raw, same).unwrap().annotations;
        assert_eq!((read.size, read.blake3), (Some(3), None));
    }
}
