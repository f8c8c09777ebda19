//! The signature file: a Sigstore bundle in JSON (OMS v1.0, 4; Sigstore bundle
//! v0.3).
//!
//! Guarantees: a [`Bundle`] has exactly the media type of OMS, exactly one kind of verification
//! material and one DSSE envelope with one signature; nothing in it is larger than the bounds here.
//! JSON members that aren't known are passed over; a known member that occurs twice is an error, as
//! is an array where an object belongs.
//!
//! Doesn't: check any signature. Everything in a [`Bundle`] is the claim of whoever wrote the file;
//! what it says about its own key is never trusted.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::base64;
use super::dsse::{DsseError, Envelope, RawEnvelope, WireEnvelope};
use super::sigstore::evidence::{Evidence, EvidenceError};
use super::{Few, strict};
use crate::name::Escaped;

/// The only media type of OMS bundles.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Largest signature file, in bytes. Enough for [`MAX_RESOURCES`](super::statement::MAX_RESOURCES)
/// resources with SHA-256 or BLAKE3: each has 64 digits of digest, 45 bytes of JSON and a path of
/// some 70 bytes, and a third more for base64.
///
/// This is what bounds memory. A signature file is held once: its payload is decoded where it
/// stands. So what is refused takes its own size and little more, 256 MiB in all. The statement,
/// parsed once the signature holds, takes up to 150 bytes and a name more for each resource, of
/// which there are at most [`MAX_RESOURCES`](super::statement::MAX_RESOURCES).
pub const MAX_BUNDLE: usize = 240 << 20;

/// Largest signature file with escapes in its JSON: they are copied to be read. Neither base64 nor
/// anything else in a bundle needs them.
pub const MAX_ESCAPED: usize = 16 << 20;

/// Most certificates in one bundle: far more than the depth of any chain in use.
pub const MAX_CERTIFICATES: usize = 32;

/// Largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 64 << 10;

/// Longest key hint, in bytes. The hint of OMS is 64 hexadecimal digits.
pub const MAX_HINT: usize = 256;

/// How a bundle was signed (OMS v1.0, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// With a bare EC key.
    Key,
    /// With a key that an X.509 certificate names.
    Certificate,
    /// With a short-lived Sigstore certificate, logged.
    Sigstore,
}

impl Method {
    /// The name in the OMS specification and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Sigstore => "sigstore",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the bundle says about its signer. Claims, every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A bare key.
    Key {
        /// Which key: see [`super::key::PublicKey::hint`]. Older bundles have none.
        hint: Option<String>,
    },
    /// A certificate chain.
    Certificate {
        /// DER, the leaf first; at least one.
        chain: Vec<Vec<u8>>,
    },
    /// A Sigstore certificate.
    Sigstore {
        /// DER of the leaf.
        certificate: Vec<u8>,
        /// Log entries and time stamps.
        evidence: Evidence,
    },
}

impl Material {
    /// The method that this material belongs to.
    pub const fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
            Self::Certificate { .. } => Method::Certificate,
            Self::Sigstore { .. } => Method::Sigstore,
        }
    }
}

/// A signature file, validated and not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    material: Material,
    envelope: Envelope,
}

impl Bundle {
    /// A bundle to be written.
    pub(super) fn new(material: Material, envelope: Envelope) -> Self {
        Self { material, envelope }
    }

    /// Validates the bytes of a signature file.
    ///
    /// # Errors
    /// A [`BundleError`] that says which rule is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let (material, envelope) = parts(bytes)?;
        Ok(Self {
            material,
            envelope: envelope.decode()?,
        })
    }

    /// The same for a file that may be large and is wanted back afterwards
    /// ([`Envelope::into_file`]): its memory is used for the decoded payload.
    pub(crate) fn take(bytes: Arc<[u8]>) -> Result<Self, BundleError> {
        let (material, envelope) = parts(&bytes)?;
        let place = envelope.place(&bytes)?;
        Ok(Self {
            material,
            envelope: place.decode(bytes)?,
        })
    }

    /// What the bundle says about its signer.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The signed envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Takes the bundle apart.
    pub fn into_parts(self) -> (Material, Envelope) {
        (self.material, self.envelope)
    }

    /// The signature file as JSON, ending in a newline.
    #[allow(clippy::missing_panics_doc)] // strings and arrays always serialise
    pub fn to_json(&self) -> Vec<u8> {
        let encode = |der: &[u8]| WireCertificate {
            raw_bytes: STANDARD.encode(der),
        };
        let wire = WireBundle {
            media_type: MEDIA_TYPE,
            verification_material: match &self.material {
                Material::Key { hint } => WireMaterial {
                    public_key: Some(WireKey {
                        hint: hint.as_deref().unwrap_or_default(),
                    }),
                    ..WireMaterial::default()
                },
                Material::Certificate { chain } => WireMaterial {
                    x509_certificate_chain: Some(WireChain {
                        certificates: chain.iter().map(|der| encode(der)).collect(),
                    }),
                    ..WireMaterial::default()
                },
                // Nothing makes one: log entries are read and not written.
                Material::Sigstore { certificate, .. } => WireMaterial {
                    certificate: Some(encode(certificate)),
                    ..WireMaterial::default()
                },
            },
            dsse_envelope: self.envelope.to_wire(),
        };
        let mut json = serde_json::to_vec(&wire).expect("strings and arrays always serialise");
        json.push(b'\n');
        json
    }
}

/// A bundle that obeys the rules, its payload not decoded yet.
fn parts(bytes: &[u8]) -> Result<(Material, RawEnvelope<'_>), BundleError> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleError::TooLarge { found: bytes.len() });
    }
    if bytes.len() > MAX_ESCAPED && bytes.contains(&b'\\') {
        return Err(BundleError::Escapes);
    }
    let raw: RawBundle<'_> = strict::json(bytes).map_err(BundleError::Json)?;
    if raw.media_type != MEDIA_TYPE {
        return Err(BundleError::MediaType(Escaped::bounded(&raw.media_type)));
    }
    let material = material(raw.verification_material)?;
    let envelope = raw.dsse_envelope.ok_or(BundleError::NoEnvelope)?;
    Ok((material, envelope))
}

/// Checks that exactly one kind of material is there, and decodes it. Log entries beside a key or a
/// certificate chain prove nothing about it and are passed over.
fn material(raw: RawMaterial<'_>) -> Result<Material, BundleError> {
    match (raw.public_key, raw.x509_certificate_chain, raw.certificate) {
        (None, None, None) => Err(BundleError::NoMaterial),
        (Some(key), None, None) => {
            let hint = key.hint.filter(|hint| !hint.is_empty());
            if let Some(hint) = &hint
                && hint.len() > MAX_HINT
            {
                return Err(BundleError::Hint { found: hint.len() });
            }
            Ok(Material::Key {
                hint: hint.map(Cow::into_owned),
            })
        }
        (None, Some(chain), None) => match chain.certificates.count {
            0 => Err(BundleError::EmptyChain),
            found if found > MAX_CERTIFICATES => Err(BundleError::LongChain { found }),
            _ => Ok(Material::Certificate {
                chain: chain
                    .certificates
                    .items
                    .iter()
                    .map(decode_certificate)
                    .collect::<Result<_, _>>()?,
            }),
        },
        (None, None, Some(certificate)) => {
            let evidence = Evidence::parse(raw.tlog_entries, raw.timestamp_verification_data)?;
            Ok(Material::Sigstore {
                certificate: decode_certificate(&certificate)?,
                evidence,
            })
        }
        _ => Err(BundleError::SeveralMaterials),
    }
}

fn decode_certificate(raw: &RawCertificate<'_>) -> Result<Vec<u8>, BundleError> {
    // Base64 is longer than what it encodes, so this bounds the decoding too.
    if raw.raw_bytes.len() > MAX_CERTIFICATE * 4 / 3 + 4 {
        return Err(BundleError::Certificate("is too large"));
    }
    match base64::decode(&raw.raw_bytes) {
        Some(der) if der.is_empty() => Err(BundleError::Certificate("is empty")),
        Some(der) => Ok(der),
        None => Err(BundleError::Certificate("is not valid base64")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle<'a> {
    #[serde(borrow)]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    verification_material: RawMaterial<'a>,
    #[serde(borrow)]
    dsse_envelope: Option<RawEnvelope<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMaterial<'a> {
    #[serde(borrow)]
    public_key: Option<RawKey<'a>>,
    #[serde(borrow)]
    x509_certificate_chain: Option<RawChain<'a>>,
    #[serde(borrow)]
    certificate: Option<RawCertificate<'a>>,
    #[serde(borrow)]
    tlog_entries: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp_verification_data: Option<&'a RawValue>,
}

/// `rawBytes` and `keyDetails`, which older bundles have, are a key that the signer chose: unknown
/// members here.
#[derive(Deserialize)]
struct RawKey<'a> {
    #[serde(borrow)]
    hint: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawChain<'a> {
    #[serde(borrow, default)]
    certificates: Few<RawCertificate<'a>, MAX_CERTIFICATES>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate<'a> {
    #[serde(borrow)]
    raw_bytes: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireBundle<'a> {
    media_type: &'static str,
    verification_material: WireMaterial<'a>,
    dsse_envelope: WireEnvelope,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireMaterial<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<WireKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<WireChain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<WireCertificate>,
    /// Other verifiers want the member, though it has no entries.
    tlog_entries: [(); 0],
}

#[derive(Serialize)]
struct WireKey<'a> {
    hint: &'a str,
}

#[derive(Serialize)]
struct WireChain {
    certificates: Vec<WireCertificate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCertificate {
    raw_bytes: String,
}

/// A signature file that isn't an OMS bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Larger than [`MAX_BUNDLE`].
    #[error("the signature file has {found} bytes, at most {MAX_BUNDLE} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Larger than [`MAX_ESCAPED`], with escapes.
    #[error("the signature file has JSON escapes, and more than {MAX_ESCAPED} bytes")]
    Escapes,
    /// Not JSON, or not of this form. Escaped.
    #[error("the signature file is not a Sigstore bundle: {0}")]
    Json(Escaped),
    /// Another media type.
    #[error("the bundle's mediaType is \"{0}\", not \"{MEDIA_TYPE}\"")]
    MediaType(Escaped),
    /// None of the three kinds of material.
    #[error(
        "the bundle's verificationMaterial has none of publicKey, x509CertificateChain, certificate"
    )]
    NoMaterial,
    /// More than one kind of material.
    #[error(
        "the bundle's verificationMaterial has more than one of publicKey, \
         x509CertificateChain, certificate"
    )]
    SeveralMaterials,
    /// A hint longer than [`MAX_HINT`].
    #[error("the bundle's key hint has {found} bytes, at most {MAX_HINT} are allowed")]
    Hint {
        /// Bytes found.
        found: usize,
    },
    /// A chain of nothing.
    #[error("the bundle's x509CertificateChain has no certificates")]
    EmptyChain,
    /// A chain longer than [`MAX_CERTIFICATES`].
    #[error("the bundle has {found} certificates, at most {MAX_CERTIFICATES} are allowed")]
    LongChain {
        /// Certificates found.
        found: usize,
    },
    /// A certificate that isn't one; the text says why.
    #[error("a certificate in the bundle {0}")]
    Certificate(&'static str),
    /// Bad log entries or time stamps.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// No envelope.
    #[error("the bundle has no dsseEnvelope")]
    NoEnvelope,
    /// A bad envelope.
    #[error(transparent)]
    Envelope(#[from] DsseError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json",
        "signatures":[{"sig":"AAEC","keyid":null}]}"#;

    fn bundle(material: &str) -> String {
        format!(
            r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{material},
                "dsseEnvelope":{ENVELOPE},"later":{{"x":[1,2]}}}}"#
        )
    }

    fn parse(text: &str) -> Result<Bundle, BundleError> {
        Bundle::parse(text.as_bytes())
    }

    #[test]
    fn key_material_old_and_new() {
        for (material, hint) in [
            (
                r#"{"publicKey":{"hint":"ab"},"tlogEntries":[]}"#,
                Some("ab"),
            ),
            (r#"{"publicKey":{"hint":"ab"}}"#, Some("ab")),
            (
                r#"{"publicKey":{"hint":"ab"},"tlogEntries":null,"certificate":null}"#,
                Some("ab"),
            ),
            (r#"{"publicKey":{"hint":""}}"#, None),
            (r#"{"publicKey":{"hint":null}}"#, None),
            (
                r#"{"publicKey":{"rawBytes":"AAAA","keyDetails":"PKIX_ECDSA_P256_SHA_256"}}"#,
                None,
            ),
        ] {
            assert_eq!(
                parse(&bundle(material)).unwrap().material(),
                &Material::Key {
                    hint: hint.map(str::to_owned)
                },
                "{material}"
            );
        }
    }

    #[test]
    fn exactly_one_material() {
        let certificate = r#""certificate":{"rawBytes":"AAAA"}"#;
        let chain = r#""x509CertificateChain":{"certificates":[{"rawBytes":"AAAA"}]}"#;
        let key = r#""publicKey":{"hint":"ab"}"#;
        assert_eq!(parse(&bundle("{}")), Err(BundleError::NoMaterial));
        for pair in [[certificate, chain], [chain, key], [key, certificate]] {
            let material = format!("{{{}}}", pair.join(","));
            assert_eq!(
                parse(&bundle(&material)),
                Err(BundleError::SeveralMaterials)
            );
        }
        let chain = parse(&bundle(&format!("{{{chain}}}"))).unwrap();
        assert_eq!(chain.material().method(), Method::Certificate);
    }

    #[test]
    fn chains_are_bounded() {
        let chain = |count: usize| {
            let certificates = vec![r#"{"rawBytes":"AAAA"}"#; count].join(",");
            parse(&bundle(&format!(
                r#"{{"x509CertificateChain":{{"certificates":[{certificates}]}}}}"#
            )))
        };
        assert_eq!(chain(0), Err(BundleError::EmptyChain));
        assert!(chain(1).is_ok());
        assert!(chain(MAX_CERTIFICATES).is_ok());
        assert_eq!(
            chain(MAX_CERTIFICATES + 1),
            Err(BundleError::LongChain {
                found: MAX_CERTIFICATES + 1
            })
        );
        let large = format!(
            r#"{{"x509CertificateChain":{{"certificates":[{{"rawBytes":"{}"}}]}}}}"#,
            "A".repeat(MAX_CERTIFICATE * 2)
        );
        assert!(matches!(
            parse(&bundle(&large)),
            Err(BundleError::Certificate(_))
        ));
    }

    #[test]
    fn sigstore_needs_a_log_entry() {
        let with = |entries| {
            parse(&bundle(&format!(
                r#"{{"certificate":{{"rawBytes":"AAAA"}},"tlogEntries":{entries}}}"#
            )))
        };
        let none = Err(BundleError::Evidence(EvidenceError::NoLogEntry));
        assert_eq!(with("[]"), none);
        assert_eq!(with("null"), none);
        let malformed = with("[{}]").unwrap_err();
        assert!(matches!(
            malformed,
            BundleError::Evidence(EvidenceError::Json(_))
        ));
    }

    #[test]
    fn names_the_broken_rule() {
        let good = bundle(r#"{"publicKey":{"hint":"ab"}}"#);
        assert!(parse(&good).is_ok());
        let media = good.replace(MEDIA_TYPE, "application/json");
        assert_eq!(
            parse(&media).unwrap_err().to_string(),
            format!("the bundle's mediaType is \"application/json\", not \"{MEDIA_TYPE}\"")
        );
        assert!(matches!(parse(""), Err(BundleError::Json(_))));
        assert!(matches!(
            parse(&format!("{good}x")),
            Err(BundleError::Json(_))
        ));
        let hint = bundle(&format!(
            r#"{{"publicKey":{{"hint":"{}"}}}}"#,
            "a".repeat(MAX_HINT + 1)
        ));
        assert_eq!(
            parse(&hint),
            Err(BundleError::Hint {
                found: MAX_HINT + 1
            })
        );
        let bare = format!(
            r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{"publicKey":{{}}}}}}"#
        );
        assert_eq!(parse(&bare), Err(BundleError::NoEnvelope));
    }

    #[test]
    fn size_is_bounded() {
        let found = MAX_BUNDLE + 1;
        assert_eq!(
            Bundle::parse(&vec![0; found]),
            Err(BundleError::TooLarge { found })
        );
        assert!(matches!(
            Bundle::parse(&vec![0; MAX_BUNDLE]),
            Err(BundleError::Json(_))
        ));
    }

    #[test]
    fn a_known_member_twice_is_an_error() {
        let good = bundle(r#"{"publicKey":{"hint":"ab"}}"#);
        for twice in [
            good.replacen('{', &format!(r#"{{"mediaType":"{MEDIA_TYPE}","#), 1),
            good.replace(r#""hint":"ab""#, r#""hint":"ab","hint":"cd""#),
            good.replace(
                r#""payload":"e30=""#,
                r#""payload":"e30=","payload":"e30=""#,
            ),
            good.replace(r#""keyid":null"#, r#""sig":"AAEC""#),
        ] {
            let error = parse(&twice).unwrap_err().to_string();
            assert!(error.contains("duplicate field"), "{error}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_hurts() {
        let good = bundle(r#"{"publicKey":{"hint":"ab"}}"#);
        let depth = 1_000_000;
        let nested = "[".repeat(depth) + &"]".repeat(depth);
        // Unknown members are skipped without recursion; known ones have a type to break.
        assert!(parse(&good.replace("[1,2]", &nested)).is_ok());
        assert!(parse(&good.replace("{\"hint\":\"ab\"}", &nested)).is_err());
        assert!(parse(&nested).is_err());
        assert!(parse(&"{\"a\":".repeat(depth)).is_err());
    }

    #[test]
    fn base64_in_either_alphabet() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"] {
            assert_eq!(base64::decode(text).unwrap(), bytes);
        }
        // Two spellings of one value, or a mix of alphabets, would be sloppy.
        for text in ["+//+AR==", "+__+AQ==", "A", "AA\n==", " AAAA"] {
            assert!(base64::decode(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for material in [
            Material::Key {
                hint: Some("ab".into()),
            },
            Material::Key { hint: None },
            Material::Certificate {
                chain: vec![vec![1, 2], vec![3]],
            },
        ] {
            let bundle = Bundle::new(material, Envelope::new(b"{}".to_vec(), vec![1, 2, 3]));
            assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
        }
    }
}
