//! PKCS #11 URIs (RFC 7512): which key, on which token, through which module.
//!
//! Guarantees: every attribute is one that RFC 7512 defines, occurs once, has a value and only
//! characters that the RFC allows; a misspelt attribute gives an error, never another key.
//! No message repeats a value, which could be a PIN. At most [`MAX_URI`] bytes are looked at.
//!
//! Doesn't: take a PIN from the URI itself (`pin-value`), where every user of the host could read
//! it in the list of processes; run a program for a PIN (`pin-source=|…`); take attributes of
//! vendors.

use std::path::{Path, PathBuf};

use crate::name::Escaped;

/// Longest URI, in bytes. Tokens, labels and paths together are a few hundred.
pub const MAX_URI: usize = 8192;

const SCHEME: &str = "pkcs11:";

/// A PKCS #11 URI that names a private key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pkcs11Uri {
    pub(super) token: Wanted,
    /// `CKA_LABEL` of the key (`object`).
    pub(super) label: Option<String>,
    /// `CKA_ID` of the key (`id`).
    pub(super) id: Option<Vec<u8>>,
    pin_source: Option<PathBuf>,
    module_path: Option<PathBuf>,
    module_name: Option<String>,
}

/// What a URI asks of a library, a slot and a token. `None` asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) token: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    pub(super) library_manufacturer: Option<String>,
    pub(super) library_description: Option<String>,
    pub(super) library_version: Option<(u8, u8)>,
    pub(super) slot_manufacturer: Option<String>,
    pub(super) slot_description: Option<String>,
    pub(super) slot_id: Option<u64>,
}

impl Pkcs11Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`UriError`] says which rule is broken.
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        if uri.len() > MAX_URI {
            return Err(UriError::TooLong { found: uri.len() });
        }
        let rest = match uri.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = match rest.split_once('?') {
            None => (rest, None),
            Some((path, query)) => (path, Some(query)),
        };
        let mut parsed = Self::default();
        // No longer than the list of known names: an unknown one ends it.
        let mut seen = Vec::new();
        let path = (!path.is_empty()).then_some(path);
        let attributes = [(Part::Path, path, ';'), (Part::Query, query, '&')];
        for (part, text, separator) in attributes {
            let Some(text) = text else { continue };
            for (position, attribute) in text.split(separator).enumerate() {
                let attribute = Attribute::parse(attribute, part, position)?;
                if seen.contains(&attribute.name) {
                    return Err(UriError::Twice(Escaped::bounded(attribute.name)));
                }
                seen.push(attribute.name);
                match part {
                    Part::Path => parsed.path_attribute(&attribute)?,
                    Part::Query => parsed.query_attribute(&attribute)?,
                }
            }
        }
        if parsed.label.is_none() && parsed.id.is_none() {
            return Err(UriError::NoKey);
        }
        Ok(parsed)
    }

    /// The file that holds the PIN (`pin-source`), by its absolute path.
    pub fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    /// Where the module is (`module-path`): a file, or a directory to look for the named one.
    pub(super) fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// What the module is called, without `lib` and `.so` (`module-name`).
    pub(super) fn module_name(&self) -> Option<&str> {
        self.module_name.as_deref()
    }

    fn path_attribute(&mut self, attribute: &Attribute<'_>) -> Result<(), UriError> {
        let wanted = &mut self.token;
        let text = match attribute.name {
            "token" => &mut wanted.token,
            "manufacturer" => &mut wanted.manufacturer,
            "serial" => &mut wanted.serial,
            "model" => &mut wanted.model,
            "library-manufacturer" => &mut wanted.library_manufacturer,
            "library-description" => &mut wanted.library_description,
            "slot-manufacturer" => &mut wanted.slot_manufacturer,
            "slot-description" => &mut wanted.slot_description,
            "object" => &mut self.label,
            "library-version" => {
                wanted.library_version = Some(attribute.parsed(version)?);
                return Ok(());
            }
            "slot-id" => {
                wanted.slot_id = Some(attribute.parsed(number)?);
                return Ok(());
            }
            "id" => {
                self.id = Some(attribute.bytes()?);
                return Ok(());
            }
            // The only kind of object that signs. Said or not, nothing else is looked for.
            "type" if attribute.text()? == "private" => return Ok(()),
            "type" => return Err(UriError::Type),
            _ => return Err(attribute.unknown()),
        };
        *text = Some(attribute.text()?);
        Ok(())
    }

    fn query_attribute(&mut self, attribute: &Attribute<'_>) -> Result<(), UriError> {
        match attribute.name {
            "pin-source" => self.pin_source = Some(pin_file(&attribute.text()?)?),
            "pin-value" => return Err(UriError::PinValue),
            "module-path" => {
                let path = PathBuf::from(attribute.text()?);
                if !path.is_absolute() {
                    return Err(UriError::RelativeModule);
                }
                self.module_path = Some(path);
            }
            "module-name" => {
                let name = |text: &str| (!text.contains('/')).then(|| text.to_owned());
                self.module_name = Some(attribute.parsed(name)?);
            }
            _ => return Err(attribute.unknown()),
        }
        Ok(())
    }
}

/// Which part of a URI an attribute stands in; they allow different characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Query,
}

impl Part {
    /// RFC 7512, section 2.3: `pk11-pchar` and `pk11-qchar`, without their percent-encoding.
    fn allows(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || b"-._~:[]@!$'()*+,=".contains(&byte)
            || match self {
                Self::Path => byte == b'&',
                Self::Query => b"/?|".contains(&byte),
            }
    }
}

/// An attribute, its value still encoded.
struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
    part: Part,
}

impl<'a> Attribute<'a> {
    /// `position` counts from 0.
    fn parse(text: &'a str, part: Part, position: usize) -> Result<Self, UriError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name, value, part }),
            // Not shown: it may be the rest of a PIN.
            _ => Err(UriError::NoName {
                place: match part {
                    Part::Path => "path",
                    Part::Query => "query",
                },
                position: position + 1,
            }),
        }
    }

    /// The value as bytes; never empty.
    fn bytes(&self) -> Result<Vec<u8>, UriError> {
        let mut decoded = Vec::with_capacity(self.value.len());
        let mut rest = self.value.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = match (first, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    let mut byte = [0];
                    hex::decode_to_slice([*high, *low], &mut byte).map_err(|_| self.malformed())?;
                    decoded.push(byte[0]);
                    tail
                }
                (byte, tail) if self.part.allows(*byte) => {
                    decoded.push(*byte);
                    tail
                }
                _ => return Err(self.malformed()),
            };
        }
        if decoded.is_empty() {
            return Err(self.malformed());
        }
        Ok(decoded)
    }

    /// The value as text, which every attribute but `id` has (RFC 7512, section 2.3).
    fn text(&self) -> Result<String, UriError> {
        match String::from_utf8(self.bytes()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(self.malformed()),
        }
    }

    fn parsed<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<T, UriError> {
        parse(&self.text()?).ok_or_else(|| self.malformed())
    }

    fn malformed(&self) -> UriError {
        UriError::Value(Escaped::bounded(self.name))
    }

    fn unknown(&self) -> UriError {
        UriError::Unknown(Escaped::bounded(self.name))
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` would take a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

/// `major[.minor]`.
fn version(text: &str) -> Option<(u8, u8)> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let part = |text| number(text).and_then(|number| u8::try_from(number).ok());
    Some((part(major)?, part(minor)?))
}

/// The path in a `pin-source`: `file:/path`, `file:///path`, or the bare path, as the reference
/// implementation takes them. What follows `file:` is not decoded a second time.
fn pin_file(source: &str) -> Result<PathBuf, UriError> {
    let path = match source.strip_prefix("file:") {
        None => source,
        Some(rest) => match rest.strip_prefix("//") {
            None => rest,
            Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        },
    };
    if path.starts_with('/') && !path.starts_with("//") {
        Ok(path.into())
    } else {
        Err(UriError::PinSource)
    }
}

/// A PKCS #11 URI that isn't one, or that names no private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Longer than [`MAX_URI`].
    #[error("the PKCS #11 URI has {found} bytes, at most {MAX_URI} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Another scheme, or none.
    #[error("a PKCS #11 URI begins with \"pkcs11:\"")]
    Scheme,
    /// An attribute without a name.
    #[error(
        "attribute {position} in the {place} of the PKCS #11 URI is not of the form name=value"
    )]
    NoName {
        /// Which part of the URI.
        place: &'static str,
        /// Which attribute of that part, from 1.
        position: usize,
    },
    /// An attribute that RFC 7512 doesn't define at that place.
    #[error("the PKCS #11 URI has an attribute \"{0}\", which is unknown in that part of it")]
    Unknown(Escaped),
    /// The same attribute again.
    #[error("the PKCS #11 URI has the attribute \"{0}\" twice")]
    Twice(Escaped),
    /// Empty, a character that must be percent-encoded, or not what the attribute takes.
    #[error(
        "the PKCS #11 URI has a malformed value of \"{0}\" (other characters than letters and \
         digits may have to be percent-encoded, a space as %20)"
    )]
    Value(Escaped),
    /// A `type` that can't sign.
    #[error(
        "the PKCS #11 URI names an object that is no private key (leave \"type\" out, or \
         type=private)"
    )]
    Type,
    /// Neither `object` nor `id`.
    #[error(
        "the PKCS #11 URI names no key: it needs the key's label (object=…), its id (id=%…), or \
         both"
    )]
    NoKey,
    /// The PIN itself.
    #[error(
        "the PKCS #11 URI holds a PIN (pin-value), which others can read in the list of processes"
    )]
    PinValue,
    /// A `pin-source` that is no absolute path to a file.
    #[error(
        "the PKCS #11 URI's pin-source is no file with an absolute path (pin-source=file:/path); \
         no program is run for a PIN"
    )]
    PinSource,
    /// A relative `module-path`.
    #[error("the PKCS #11 URI's module-path is not absolute")]
    RelativeModule,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(uri: &str) -> UriError {
        Pkcs11Uri::parse(uri).expect_err(uri)
    }

    #[test]
    fn every_attribute_is_read() {
        let uri = Pkcs11Uri::parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             serial=123;model=1.0;library-manufacturer=a;library-description=b;library-version=3.2;\
             slot-manufacturer=c;slot-description=d&e;slot-id=18446744073709551615;\
             object=my-certificate;type=private;id=%69%95%3E%5C%F4%BD%EC%91\
             ?pin-source=file:/etc/token_pin&module-path=/lib/p.so&module-name=p",
        )
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            uri,
            Pkcs11Uri {
                token: Wanted {
                    token: text("The Software PKCS#11 Softtoken"),
                    manufacturer: text("Snake Oil, Inc."),
                    serial: text("123"),
                    model: text("1.0"),
                    library_manufacturer: text("a"),
                    library_description: text("b"),
                    library_version: Some((3, 2)),
                    slot_manufacturer: text("c"),
                    slot_description: text("d&e"),
                    slot_id: Some(u64::MAX),
                },
                label: text("my-certificate"),
                id: Some(vec![0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91]),
                pin_source: Some("/etc/token_pin".into()),
                module_path: Some("/lib/p.so".into()),
                module_name: text("p"),
            }
        );
    }

    #[test]
    fn the_least_is_a_key() {
        for uri in [
            "pkcs11:object=k",
            "PKCS11:id=%00",
            "pkcs11:id=ab",
            "pkcs11:object=%C3%A1",
        ] {
            Pkcs11Uri::parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
        }
        let bare = Pkcs11Uri::parse("pkcs11:id=ab").unwrap();
        assert_eq!((bare.module_path(), bare.module_name()), (None, None));
        for uri in ["pkcs11:", "pkcs11:token=t", "pkcs11:?module-name=m"] {
            assert_eq!(error(uri), UriError::NoKey, "{uri}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for uri in [
            "",
            "pkcs11",
            "pkcs12:id=a",
            "object=k",
            "päckcs1:id=a",
            "pkcs11/id=a",
        ] {
            assert_eq!(error(uri), UriError::Scheme, "{uri}");
        }
        for uri in [
            "pkcs11:object=k;",
            "pkcs11:;object=k",
            "pkcs11:object",
            "pkcs11:=k",
            "pkcs11:object=k?",
            "pkcs11:object=k?module-name=m&",
        ] {
            assert!(matches!(error(uri), UriError::NoName { .. }), "{uri}");
        }
        for uri in [
            "pkcs11:object=k;tokn=t",
            "pkcs11:object=k;Token=t",
            "pkcs11:object=k;x-vendor=v",
            "pkcs11:object=k;pin-source=/p",
            "pkcs11:object=k?token=t",
            "pkcs11:object=k?x-vendor=v",
        ] {
            assert!(matches!(error(uri), UriError::Unknown(_)), "{uri}");
        }
        for uri in [
            "pkcs11:object=k;object=k",
            "pkcs11:id=%01;id=%02",
            "pkcs11:object=k;slot-id=1;slot-id=1",
            "pkcs11:object=k;type=private;type=private",
            "pkcs11:object=k?module-path=/a&module-path=/a",
        ] {
            assert!(matches!(error(uri), UriError::Twice(_)), "{uri}");
        }
        for uri in [
            "pkcs11:object=",
            "pkcs11:id=",
            "pkcs11:object=a b",
            "pkcs11:object=a/b",
            "pkcs11:object=ä",
            "pkcs11:object=%",
            "pkcs11:object=%4",
            "pkcs11:object=%4g",
            "pkcs11:object=%+4",
            "pkcs11:object=%00",
            "pkcs11:object=%FF",
            "pkcs11:object=k;slot-id=-1",
            "pkcs11:object=k;slot-id=+1",
            "pkcs11:object=k;slot-id=0x1",
            "pkcs11:object=k;slot-id=18446744073709551616",
            "pkcs11:object=k;library-version=1.",
            "pkcs11:object=k;library-version=1.256",
            "pkcs11:object=k;library-version=1.2.3",
            "pkcs11:object=k?module-name=../m",
            "pkcs11:object=k?module-path=/a%00b",
        ] {
            assert!(matches!(error(uri), UriError::Value(_)), "{uri}");
        }
        assert_eq!(error("pkcs11:object=k;type=cert"), UriError::Type);
        assert_eq!(
            error("pkcs11:object=k?module-path=m.so"),
            UriError::RelativeModule
        );
    }

    #[test]
    fn the_length_is_bounded() {
        let long = |length: usize| format!("pkcs11:object={}", "k".repeat(length - 14));
        for length in [MAX_URI - 1, MAX_URI] {
            Pkcs11Uri::parse(&long(length)).unwrap();
        }
        let found = MAX_URI + 1;
        assert_eq!(error(&long(found)), UriError::TooLong { found });
    }

    #[test]
    fn pins_come_from_files_only() {
        for (source, path) in [
            ("file:/p", "/p"),
            ("file:///a/p", "/a/p"),
            ("file://localhost/p", "/p"),
            ("/p%20q", "/p q"),
            ("file:/p%2520q", "/p%20q"),
        ] {
            let uri = Pkcs11Uri::parse(&format!("pkcs11:object=k?pin-source={source}")).unwrap();
            assert_eq!(uri.pin_source(), Some(Path::new(path)), "{source}");
        }
        for source in [
            "p",
            "file:p",
            "file://host/p",
            "file:",
            "file:////p",
            "|/usr/lib/pinomatic",
            "https://host/p",
        ] {
            let uri = format!("pkcs11:object=k?pin-source={source}");
            assert_eq!(error(&uri), UriError::PinSource, "{source}");
        }
        let value = error("pkcs11:object=k?pin-value=1234");
        assert_eq!(value, UriError::PinValue);
    }

    #[test]
    fn no_message_holds_a_pin() {
        for uri in [
            "pkcs11:object=k?pin-value=847261",
            "pkcs11:object=k?pin-value=1&847261",
            "pkcs11:object=k?847261",
            "pkcs11:object=k?pin-vlaue=847261",
            "pkcs11:object=k;pin-value=847261",
            "pkcs11:object=k?pin-value=%847261",
            "847261",
        ] {
            let error = error(uri);
            assert!(!error.to_string().contains("847261"), "{error}");
            assert!(!format!("{error:?}").contains("847261"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(uri in "(pkcs11:)?[ -~é\u{202e}]{0,80}") {
            let _ = Pkcs11Uri::parse(&uri);
        }

        #[test]
        fn any_label_and_id_can_be_written(
            label in "[^\0]{1,40}",
            id in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let encode = |bytes: &[u8]| {
                bytes.iter().fold(String::new(), |out, byte| out + &format!("%{byte:02x}"))
            };
            let uri = format!("pkcs11:id={};object={}", encode(&id), encode(label.as_bytes()));
            let uri = Pkcs11Uri::parse(&uri).unwrap();
            prop_assert_eq!(uri.label, Some(label));
            prop_assert_eq!(uri.id, Some(id));
        }
    }
}
