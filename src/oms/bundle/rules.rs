//! Signature files that obey the rules.

use std::borrow::Cow;
use std::sync::Arc;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

use super::error::BundleError;
use super::evidence::Evidence;
use super::material::Material;
use super::wire::{
    MAX_BUNDLE, MAX_CERTIFICATE, MAX_CERTIFICATES, MAX_ESCAPED, MAX_HINT, MEDIA_TYPE, RawBundle,
    RawCertificate, RawMaterial, WireBundle, WireCertificate, WireChain, WireKey, WireMaterial,
};
use crate::name::Escaped;
use crate::oms::dsse::{Envelope, RawEnvelope};
use crate::oms::wire::{base64, strict};

/// A signature file, validated and not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    material: Material,
    envelope: Envelope,
}

impl Bundle {
    /// A bundle to be written.
    pub(in crate::oms) fn new(material: Material, envelope: Envelope) -> Self {
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
    pub(crate) fn into_parts(self) -> (Material, Envelope) {
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
            dsse_envelope: self.envelope.to_wire(""),
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

#[cfg(test)]
mod tests {
    use super::super::{EvidenceError, Method};
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
