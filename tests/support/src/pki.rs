//! Certificates for tests: any shape, right or wrong.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA256_ASN1_SIGNING,
    ECDSA_P521_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::der::asn1::{Any, BitString, OctetString, SetOfVec, Utf8StringRef};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

pub const DAY: i64 = 24 * 60 * 60;

/// How a certificate is signed: the kind of key and the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    P256(u16),
    P384(u16),
    P521(u16),
    Rsa(u16),
    Pss(u16),
    Ed25519,
}

enum Private {
    Ecdsa(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

pub struct Key {
    private: Private,
    pub spki: Vec<u8>,
    scheme: Scheme,
}

impl Scheme {
    /// Whether signing needs the `openssl` program.
    pub fn needs_openssl(self) -> bool {
        ecdsa(self).is_none() && matches!(self, Self::P256(_) | Self::P384(_))
    }
}

impl Key {
    pub fn new(scheme: Scheme) -> Self {
        let (private, spki) = match scheme {
            Scheme::P256(_) | Scheme::P384(_) | Scheme::P521(_) => {
                let curve = match scheme {
                    Scheme::P256(_) => &ECDSA_P256_SHA256_ASN1_SIGNING,
                    Scheme::P384(_) => &ECDSA_P384_SHA384_ASN1_SIGNING,
                    _ => &ECDSA_P521_SHA512_ASN1_SIGNING,
                };
                let pair = EcdsaKeyPair::generate(curve).unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
                (Private::Ecdsa(pkcs8), spki.as_ref().to_vec())
            }
            Scheme::Rsa(_) | Scheme::Pss(_) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let spki = spki.as_ref().to_vec();
                (Private::Rsa(Box::new(pair)), spki)
            }
            Scheme::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let spki = spki.as_ref().to_vec();
                (Private::Ed25519(Box::new(pair)), spki)
            }
        };
        Self {
            private,
            spki,
            scheme,
        }
    }

    /// The private key in PKCS #8, where it is an EC key.
    pub fn pkcs8_pem(&self) -> String {
        match &self.private {
            Private::Ecdsa(pkcs8) => pem::encode(&pem::Pem::new("PRIVATE KEY", pkcs8.clone())),
            _ => panic!("not an EC key"),
        }
    }

    fn sign(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ecdsa(pkcs8) => match (ecdsa(scheme), scheme) {
                (Some(algorithm), _) => EcdsaKeyPair::from_pkcs8(algorithm, pkcs8)
                    .unwrap()
                    .sign(&random, message)
                    .unwrap()
                    .as_ref()
                    .to_vec(),
                (None, Scheme::P256(bits) | Scheme::P384(bits)) => {
                    sign_with_openssl(pkcs8, bits, message)
                }
                _ => panic!("{scheme:?}"),
            },
            Private::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match scheme {
                    Scheme::Rsa(256) => &RSA_PKCS1_SHA256,
                    Scheme::Rsa(384) => &RSA_PKCS1_SHA384,
                    Scheme::Rsa(512) => &RSA_PKCS1_SHA512,
                    Scheme::Pss(256) => &RSA_PSS_SHA256,
                    Scheme::Pss(384) => &RSA_PSS_SHA384,
                    Scheme::Pss(512) => &RSA_PSS_SHA512,
                    _ => panic!("{scheme:?}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// What can be signed here; the rest needs the `openssl` program.
fn ecdsa(scheme: Scheme) -> Option<&'static EcdsaSigningAlgorithm> {
    Some(match scheme {
        Scheme::P256(256) => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Scheme::P384(384) => &ECDSA_P384_SHA384_ASN1_SIGNING,
        Scheme::P521(256) => &ECDSA_P521_SHA256_ASN1_SIGNING,
        Scheme::P521(384) => &ECDSA_P521_SHA384_ASN1_SIGNING,
        Scheme::P521(512) => &ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => return None,
    })
}

fn sign_with_openssl(pkcs8: &[u8], bits: u16, message: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let output = Command::new("openssl")
        .args(["dgst", &format!("-sha{bits}"), "-sign"])
        .arg(file(
            "key",
            pem::encode(&pem::Pem::new("PRIVATE KEY", pkcs8)).as_bytes(),
        ))
        .arg(file("message", message))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn algorithm(scheme: Scheme) -> AlgorithmIdentifierOwned {
    let sha2 = |bits| match bits {
        256 => "2.16.840.1.101.3.4.2.1",
        384 => "2.16.840.1.101.3.4.2.2",
        _ => "2.16.840.1.101.3.4.2.3",
    };
    let ecdsa = |bits| match bits {
        256 => "1.2.840.10045.4.3.2",
        384 => "1.2.840.10045.4.3.3",
        _ => "1.2.840.10045.4.3.4",
    };
    let (oid, parameters) = match scheme {
        Scheme::P256(bits) | Scheme::P384(bits) | Scheme::P521(bits) => (ecdsa(bits), None),
        Scheme::Rsa(256) => ("1.2.840.113549.1.1.11", Some(Any::null())),
        Scheme::Rsa(384) => ("1.2.840.113549.1.1.12", Some(Any::null())),
        Scheme::Rsa(_) => ("1.2.840.113549.1.1.13", Some(Any::null())),
        Scheme::Pss(bits) => {
            // RFC 4055, section 3.1.
            let hash = AlgorithmIdentifierOwned {
                oid: oid(sha2(bits)),
                parameters: Some(Any::null()),
            };
            let mask = AlgorithmIdentifierOwned {
                oid: oid("1.2.840.113549.1.1.8"),
                parameters: Some(Any::from_der(&hash.to_der().unwrap()).unwrap()),
            };
            let salt = u8::try_from(bits / 8).unwrap();
            let tagged = |tag: u8, inner: Vec<u8>| {
                let mut out = vec![0xa0 | tag, u8::try_from(inner.len()).unwrap()];
                out.extend(inner);
                out
            };
            let fields = [
                tagged(0, hash.to_der().unwrap()),
                tagged(1, mask.to_der().unwrap()),
                tagged(2, salt.to_der().unwrap()),
            ]
            .concat();
            let parameters = Any::new(x509_cert::der::Tag::Sequence, fields).unwrap();
            ("1.2.840.113549.1.1.10", Some(parameters))
        }
        Scheme::Ed25519 => ("1.3.101.112", None),
    };
    AlgorithmIdentifierOwned {
        oid: self::oid(oid),
        parameters,
    }
}

pub fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

pub fn name(common_name: &str) -> Name {
    RdnSequence(vec![RelativeDistinguishedName::from(
        SetOfVec::try_from(vec![x509_cert::attr::AttributeTypeAndValue {
            oid: oid("2.5.4.3"),
            value: Any::from(Utf8StringRef::new(common_name).unwrap()),
        }])
        .unwrap(),
    )])
}

/// What a certificate says.
#[derive(Clone)]
pub struct Spec<'a> {
    pub subject: String,
    pub key: &'a Key,
    pub issuer: String,
    pub issuer_key: &'a Key,
    pub scheme: Scheme,
    /// Seconds from [`now`].
    pub valid: (i64, i64),
    pub ca: Option<bool>,
    pub path_len: Option<u8>,
    pub key_usage: Option<FlagSet<KeyUsages>>,
    pub extended_key_usage: Option<(bool, &'static str)>,
    /// Identifier, critical, value in DER.
    pub extra: Vec<(&'static str, bool, Vec<u8>)>,
    pub version: Version,
    /// Whether it has key identifiers. OpenSSL needs them where a name issues to itself.
    pub identifiers: bool,
    pub flip_signature: bool,
}

impl<'a> Spec<'a> {
    pub fn authority(subject: &str, key: &'a Key, issuer: &str, issuer_key: &'a Key) -> Self {
        Self {
            subject: subject.into(),
            key,
            issuer: issuer.into(),
            issuer_key,
            scheme: issuer_key.scheme,
            valid: (-DAY, DAY),
            ca: Some(true),
            path_len: None,
            key_usage: Some(KeyUsages::KeyCertSign.into()),
            extended_key_usage: None,
            extra: Vec::new(),
            version: Version::V3,
            identifiers: true,
            flip_signature: false,
        }
    }

    pub fn root(subject: &str, key: &'a Key) -> Self {
        Self::authority(subject, key, subject, key)
    }

    pub fn leaf(subject: &str, key: &'a Key, issuer: &str, issuer_key: &'a Key) -> Self {
        Self {
            ca: Some(false),
            key_usage: Some(KeyUsages::DigitalSignature.into()),
            ..Self::authority(subject, key, issuer, issuer_key)
        }
    }

    /// With something else said.
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut add = |oid, critical, value: Vec<u8>| {
            extensions.push(Extension {
                extn_id: oid,
                critical,
                extn_value: OctetString::new(value).unwrap(),
            });
        };
        if let Some(ca) = self.ca {
            let constraints = BasicConstraints {
                ca,
                path_len_constraint: self.path_len,
            };
            add(BasicConstraints::OID, true, constraints.to_der().unwrap());
        }
        if let Some(usage) = self.key_usage {
            add(KeyUsage::OID, true, KeyUsage(usage).to_der().unwrap());
        }
        if let Some((critical, purpose)) = self.extended_key_usage {
            let usage = ExtendedKeyUsage(vec![oid(purpose)]);
            add(ExtendedKeyUsage::OID, critical, usage.to_der().unwrap());
        }
        if self.identifiers {
            let id = |key: &Key| {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.spki);
                OctetString::new(&hash.as_ref()[..20]).unwrap()
            };
            let authority = AuthorityKeyIdentifier {
                key_identifier: Some(id(self.issuer_key)),
                ..AuthorityKeyIdentifier::default()
            };
            let subject = id(self.key).to_der().unwrap();
            add(oid("2.5.29.14"), false, subject);
            add(
                AuthorityKeyIdentifier::OID,
                false,
                authority.to_der().unwrap(),
            );
        }
        for (extension, critical, value) in &self.extra {
            add(oid(extension), *critical, value.clone());
        }
        let time = |offset: i64| {
            let at = i64::try_from(seconds(now())).unwrap() + offset;
            let at = UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap());
            Time::try_from(at).unwrap()
        };
        let tbs_certificate = TbsCertificate {
            version: self.version,
            serial_number: SerialNumber::new(&[1]).unwrap(),
            signature: algorithm(self.scheme),
            issuer: name(&self.issuer),
            validity: Validity {
                not_before: time(self.valid.0),
                not_after: time(self.valid.1),
            },
            subject: name(&self.subject),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&self.key.spki).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: (!extensions.is_empty()).then_some(extensions),
        };
        let mut signature = self
            .issuer_key
            .sign(self.scheme, &tbs_certificate.to_der().unwrap());
        if self.flip_signature {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        Certificate {
            tbs_certificate,
            signature_algorithm: algorithm(self.scheme),
            signature: BitString::from_bytes(&signature).unwrap(),
        }
        .to_der()
        .unwrap()
    }
}

/// The moment that certificates are made for.
pub fn now() -> SystemTime {
    static NOW: std::sync::OnceLock<SystemTime> = std::sync::OnceLock::new();
    *NOW.get_or_init(|| UNIX_EPOCH + Duration::from_secs(seconds(SystemTime::now())))
}

/// Seconds from [`now`], as RFC 3339 writes the moment.
pub fn moment(offset: i64) -> String {
    let at = i64::try_from(seconds(now())).unwrap() + offset;
    jiff::Timestamp::from_second(at).unwrap().to_string()
}

/// A bundle of the method `certificate` with other certificates, the leaf first. Its signature
/// isn't over them: so one by a key whose certificate has expired is made while it is valid.
pub fn with_chain(bundle: &[u8], chain: &[&[u8]]) -> Vec<u8> {
    let mut bundle: serde_json::Value = serde_json::from_slice(bundle).unwrap();
    let certificates: Vec<_> = chain
        .iter()
        .map(|der| serde_json::json!({ "rawBytes": STANDARD.encode(der) }))
        .collect();
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = certificates.into();
    bundle.to_string().into_bytes()
}

pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn pem_file<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for der in certificates {
        let block = pem::encode(&pem::Pem::new("CERTIFICATE", der));
        writeln!(text, "{block}").unwrap();
    }
    text
}
