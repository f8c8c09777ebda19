//! The DSSE envelope: which bytes are signed (DSSE v1, "Protocol").
//!
//! Guarantees: an [`Envelope`] has the payload type of in-toto statements and exactly one
//! signature. [`Pae`] is the one message that its signature is made and checked over: the payload
//! type and the payload bytes *as decoded*, each with its length. `legacy_sha256` is the digest of
//! the message that releases before 1.0 signed instead; the two never are the same message,
//! whatever the payloads, since they differ in the sixth byte.
//!
//! Doesn't: check the signature; [`super::verify`] does.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use aws_lc_rs::digest as message_digest;
use serde::{Deserialize, Serialize};

use super::wire::base64::{self, InPlace};
use super::wire::few::Few;
use crate::name::Escaped;

/// The payload type of in-toto statements, the only one of OMS.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Longest signature, in bytes. ECDSA over P-521 has at most 141, RSA-8192 has 1024.
pub const MAX_SIGNATURE: usize = 2048;

/// A payload and its one signature.
#[derive(Debug, Clone)]
pub struct Envelope {
    payload: Payload,
    signature: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Payload {
    /// By itself.
    Owned(Vec<u8>),
    /// In the signature file, in place of the text that encoded it.
    InFile(InPlace),
    /// Beside the signature file, which has it in JSON escapes.
    BesideFile(Vec<u8>, Arc<[u8]>),
}

/// Where the payload of an envelope stands, and its signature.
pub(super) struct Place {
    text: Text,
    signature: Vec<u8>,
}

enum Text {
    At(Range<usize>),
    Unescaped(String),
}

impl Place {
    /// Decodes the payload in `file`, in which it was found.
    pub(super) fn decode(self, file: Arc<[u8]>) -> Result<Envelope, DsseError> {
        let payload = match self.text {
            Text::At(range) => InPlace::decode(file, range).map(Payload::InFile),
            Text::Unescaped(text) => {
                base64::decode(&text).map(|payload| Payload::BesideFile(payload, file))
            }
        };
        Ok(Envelope {
            payload: payload.ok_or(DsseError::Base64("payload"))?,
            signature: self.signature,
        })
    }
}

impl Envelope {
    pub(super) fn new(payload: Vec<u8>, signature: Vec<u8>) -> Self {
        Self {
            payload: Payload::Owned(payload),
            signature,
        }
    }

    /// As JSON has it; `keyid` names the key to those who look for it, and proves nothing.
    pub(super) fn to_wire<'a>(&self, keyid: &'a str) -> WireEnvelope<'a> {
        WireEnvelope {
            payload: STANDARD.encode(self.unverified_payload()),
            payload_type: PAYLOAD_TYPE,
            signatures: [WireSignature {
                sig: STANDARD.encode(&self.signature),
                keyid,
            }],
        }
    }

    /// The payload, decoded. Nothing vouches for it.
    pub fn unverified_payload(&self) -> &[u8] {
        match &self.payload {
            Payload::Owned(payload) | Payload::BesideFile(payload, _) => payload,
            Payload::InFile(decoded) => decoded.bytes(),
        }
    }

    /// The signature file that the envelope was taken from, to the byte; `None` for one that was
    /// copied or made.
    pub(super) fn into_file(self) -> Option<Arc<[u8]>> {
        match self.payload {
            Payload::Owned(_) => None,
            Payload::InFile(decoded) => Some(decoded.restore()),
            Payload::BesideFile(_, file) => Some(file),
        }
    }

    /// The signature, decoded: for ECDSA, DER.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The message that the signature must be over.
    pub fn pae(&self) -> Pae<'_> {
        Pae::new(self.unverified_payload())
    }
}

impl PartialEq for Envelope {
    /// Wherever the payload is kept.
    fn eq(&self, other: &Self) -> bool {
        self.unverified_payload() == other.unverified_payload() && self.signature == other.signature
    }
}

impl Eq for Envelope {}

/// The pre-authentication encoding: `DSSEv1 <length> <type> <length> <payload>`, lengths in decimal
/// bytes. Kept in two parts, so that a large payload isn't copied.
#[derive(Debug, Clone)]
pub struct Pae<'a> {
    header: String,
    payload: &'a [u8],
}

impl<'a> Pae<'a> {
    /// The message over `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            header: format!(
                "DSSEv1 {} {PAYLOAD_TYPE} {} ",
                PAYLOAD_TYPE.len(),
                payload.len()
            ),
            payload,
        }
    }

    /// The message, as parts to be taken one after the other.
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.header.as_bytes(), self.payload]
    }
}

/// The SHA-256 of what releases before 1.0 signed, by a mistake: `DSSEV1` with a capital V, and the
/// payload as Python's `repr` shows bytes (`b'…'`, with escapes). That form is one-to-one.
///
/// Hashed piece by piece: it may have four times the size of the payload.
pub(super) fn legacy_sha256(payload: &[u8]) -> message_digest::Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    // Python prefers single quotes, and takes double ones to save escapes.
    let quote = if payload.contains(&b'\'') && !payload.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    let mut context = message_digest::Context::new(&message_digest::SHA256);
    let header = format!(
        "DSSEV1 {} {PAYLOAD_TYPE} {} b",
        PAYLOAD_TYPE.len(),
        payload.len()
    );
    context.update(header.as_bytes());
    context.update(&[quote]);
    let mut piece = Vec::with_capacity(4 * LEGACY_PIECE);
    for bytes in payload.chunks(LEGACY_PIECE) {
        piece.clear();
        for &byte in bytes {
            match byte {
                b'\t' => piece.extend_from_slice(b"\\t"),
                b'\n' => piece.extend_from_slice(b"\\n"),
                b'\r' => piece.extend_from_slice(b"\\r"),
                b'\\' => piece.extend_from_slice(b"\\\\"),
                _ if byte == quote => piece.extend_from_slice(&[b'\\', byte]),
                b' '..=b'~' => piece.push(byte),
                _ => piece.extend_from_slice(&[
                    b'\\',
                    b'x',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]),
            }
        }
        context.update(&piece);
    }
    context.update(&[quote]);
    context.finish()
}

/// Bytes of payload that are hashed at a time.
const LEGACY_PIECE: usize = 16 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawEnvelope<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow)]
    payload_type: Cow<'a, str>,
    #[serde(borrow)]
    signatures: Few<RawSignature<'a>, 1>,
}

impl RawEnvelope<'_> {
    /// The envelope, its payload decoded to a place of its own.
    pub(super) fn decode(&self) -> Result<Envelope, DsseError> {
        let signature = self.signature()?;
        let payload = base64::decode(&self.payload).ok_or(DsseError::Base64("payload"))?;
        Ok(Envelope::new(payload, signature))
    }

    /// Where the payload stands in `file`, which this was read from.
    pub(super) fn place(self, file: &[u8]) -> Result<Place, DsseError> {
        let signature = self.signature()?;
        let text = match self.payload {
            Cow::Borrowed(text) => {
                let start = text.as_ptr().addr() - file.as_ptr().addr();
                Text::At(start..start + text.len())
            }
            Cow::Owned(text) => Text::Unescaped(text),
        };
        Ok(Place { text, signature })
    }

    /// Checks all but the payload, and gives the signature.
    fn signature(&self) -> Result<Vec<u8>, DsseError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(DsseError::PayloadType(Escaped::bounded(&self.payload_type)));
        }
        let [signature] = self.signatures.items.as_slice() else {
            return Err(DsseError::Signatures { found: 0 });
        };
        if self.signatures.count != 1 {
            return Err(DsseError::Signatures {
                found: self.signatures.count,
            });
        }
        if signature.sig.len() > MAX_SIGNATURE * 4 / 3 + 4 {
            return Err(DsseError::LongSignature);
        }
        let decoded = base64::decode(&signature.sig).ok_or(DsseError::Base64("signature"))?;
        if decoded.is_empty() {
            return Err(DsseError::EmptySignature);
        }
        Ok(decoded)
    }
}

/// `keyid` is an unknown member on purpose: unauthenticated, and never used.
#[derive(Debug, Deserialize)]
struct RawSignature<'a> {
    #[serde(borrow)]
    sig: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireEnvelope<'a> {
    payload: String,
    payload_type: &'static str,
    signatures: [WireSignature<'a>; 1],
}

#[derive(Serialize)]
struct WireSignature<'a> {
    sig: String,
    keyid: &'a str,
}

/// An envelope that isn't one of OMS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// Another payload type.
    #[error("the envelope's payloadType is \"{0}\", not \"{PAYLOAD_TYPE}\"")]
    PayloadType(Escaped),
    /// None, or several.
    #[error("the envelope has {found} signatures, exactly one is allowed")]
    Signatures {
        /// Signatures found.
        found: usize,
    },
    /// Longer than [`MAX_SIGNATURE`].
    #[error("the envelope's signature is longer than {MAX_SIGNATURE} bytes")]
    LongSignature,
    /// No bytes.
    #[error("the envelope's signature is empty")]
    EmptySignature,
    /// The field named isn't base64.
    #[error("the envelope's {0} is not valid base64")]
    Base64(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Envelope, DsseError> {
        serde_json::from_str::<RawEnvelope<'_>>(text)
            .unwrap()
            .decode()
    }

    fn envelope(
        payload: &str,
        payload_type: &str,
        signatures: &str,
    ) -> Result<Envelope, DsseError> {
        parse(&format!(
            r#"{{"payload":"{payload}","payloadType":"{payload_type}","signatures":{signatures}}}"#
        ))
    }

    #[test]
    fn pae_is_that_of_the_specification() {
        let pae = Pae::new(b"hello").parts().concat();
        assert_eq!(pae, b"DSSEv1 28 application/vnd.in-toto+json 5 hello");
    }

    /// What Python 3 gives for `hashlib.sha256(f"DSSEV1 28 {TYPE} {len(p)} {p}".encode())`.
    #[test]
    fn legacy_pae_is_that_of_python() {
        let all: Vec<u8> = (0..=255).collect();
        let long: Vec<u8> = (0..LEGACY_PIECE)
            .flat_map(|_| [b'"', 0xff, b'\n'])
            .collect();
        for (payload, sha256) in [
            (
                b"".as_slice(),
                "ea77ae42e61d6e1f799bda01400d454288ce26fa38acbd743d029329378ddcef",
            ),
            (
                b"plain",
                "93ee61f3b70b144c956ddf210cc009cf384e4dbd5509ac711199185ce0046fa3",
            ),
            (
                b"it's",
                "af761de2058e7f11a3a91e0e4166b294eb1c2dd95fa85a3945a5dff3b9b0e248",
            ),
            (
                b"{\"a\": 1}\n",
                "fb6f2cafa37c5a1ad86d0a7ccda548e5f882dd7cbac38b817feba409f40d271d",
            ),
            (
                b"it's \"both\"",
                "235bd15fe42b5cd4dfa999d26b188aad7f741eaf3d26c79a27c008efd47d9427",
            ),
            (
                &all,
                "11b5c7bf135665b42ca405c6e12e2f51200c9d9cc8ca03ac1473dc151cd67bd8",
            ),
            (
                &long,
                "9d74825106cf1a383e418a6f7211800fc6221f3473cb5b31d24b745e4c234ee1",
            ),
        ] {
            assert_eq!(hex::encode(legacy_sha256(payload)), sha256, "{payload:?}");
        }
    }

    #[test]
    fn exactly_one_signature() {
        let sig = r#"{"sig":"AAEC"}"#;
        assert!(envelope("e30=", PAYLOAD_TYPE, &format!("[{sig}]")).is_ok());
        for (signatures, found) in [("[]".into(), 0), (format!("[{sig},{sig}]"), 2)] {
            assert_eq!(
                envelope("e30=", PAYLOAD_TYPE, &signatures),
                Err(DsseError::Signatures { found })
            );
        }
    }

    #[test]
    fn keyid_may_be_anything() {
        for keyid in ["", r#","keyid":"""#, r#","keyid":null"#, r#","keyid":"x""#] {
            let signatures = format!(r#"[{{"sig":"AAEC"{keyid}}}]"#);
            assert!(envelope("e30=", PAYLOAD_TYPE, &signatures).is_ok());
        }
    }

    #[test]
    fn names_the_broken_rule() {
        let sig = r#"[{"sig":"AAEC"}]"#;
        assert!(matches!(
            envelope("e30=", "text/plain", sig),
            Err(DsseError::PayloadType(_))
        ));
        assert_eq!(
            envelope("e30", PAYLOAD_TYPE, sig)
                .unwrap()
                .unverified_payload(),
            b"{}"
        );
        assert_eq!(
            envelope("e3%", PAYLOAD_TYPE, sig),
            Err(DsseError::Base64("payload"))
        );
        let with = |sig: &str| envelope("e30=", PAYLOAD_TYPE, &format!(r#"[{{"sig":"{sig}"}}]"#));
        assert_eq!(with("!"), Err(DsseError::Base64("signature")));
        assert_eq!(with(""), Err(DsseError::EmptySignature));
        assert_eq!(
            with(&"A".repeat(MAX_SIGNATURE * 2)),
            Err(DsseError::LongSignature)
        );
    }
}
