//! X.509 certificates (RFC 5280), as far as the OMS method `certificate` needs them.
//!
//! Guarantees: a [`Certificate`] is well-formed DER whose extensions occur once each; those that
//! decide what it may do are decoded. [`Certificate::is_signed_by`] checks the bytes that were
//! decoded, and accepts no signature by a broken hash or a short key. Files and numbers are
//! bounded.
//!
//! Doesn't: decide whom to trust; [`super::chain`] does. Nor does it ask whether a certificate was
//! revoked: verification works without a network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName,
};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::bundle::MAX_CERTIFICATE;
use super::key::{self, Curve, KeyError, PublicKey};
use super::pem_file;
use crate::digest::Algorithm;
use crate::name::Escaped;

/// Largest PEM file of certificates, in bytes. The store of a whole operating system is a quarter.
pub const MAX_PEM: usize = 1 << 20;

/// Most trusted certificates together.
pub const MAX_ANCHORS: usize = 1024;

/// Most extensions in one certificate. Those in use have about ten.
pub const MAX_EXTENSIONS: usize = 64;

pub(super) const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
pub(super) const TIME_STAMPING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A certificate, decoded.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    /// The bytes that its signature is over, as they stand in `der`: encoding them anew would not
    /// give them back where an encoder wrote out a default.
    tbs: Vec<u8>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
    /// In DER.
    subject: Vec<u8>,
    /// In DER.
    issuer: Vec<u8>,
    /// In DER.
    spki: Vec<u8>,
    key_algorithm: AlgorithmIdentifierOwned,
    shown_subject: Escaped,
    shown_issuer: Escaped,
    not_before: Time,
    not_after: Time,
    fingerprint: String,
    extensions: Extensions,
}

/// The extensions that are understood (RFC 5280, section 4.2.1).
#[derive(Default)]
struct Extensions {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    has_name_constraints: bool,
    /// A critical one that isn't understood.
    unknown_critical: Option<ObjectIdentifier>,
}

impl Certificate {
    /// Decodes DER.
    ///
    /// # Errors
    /// [`CertificateError`] if it is too large or not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::LargeCertificate { found: der.len() });
        }
        Self::decode(der).ok_or(CertificateError::Malformed)
    }

    fn decode(der: &[u8]) -> Option<Self> {
        let decoded = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = SliceReader::new(der)
            .and_then(|mut reader| {
                reader.sequence(|fields| {
                    let tbs = fields.tlv_bytes()?.to_vec();
                    fields.tlv_bytes()?;
                    fields.tlv_bytes()?;
                    Ok(tbs)
                })
            })
            .ok()?;
        let fields = decoded.tbs_certificate;
        // RFC 5280, section 4.1.1.2: the same algorithm, where it is signed and where it isn't.
        if decoded.signature_algorithm != fields.signature {
            return None;
        }
        Some(Self(Arc::new(Inner {
            extensions: Extensions::decode(fields.extensions.as_deref().unwrap_or_default())?,
            fingerprint: Algorithm::Sha256.hash(der).to_hex(),
            der: der.to_vec(),
            tbs,
            signature_algorithm: decoded.signature_algorithm,
            signature: decoded.signature.as_bytes()?.to_vec(),
            subject: fields.subject.to_der().ok()?,
            issuer: fields.issuer.to_der().ok()?,
            spki: fields.subject_public_key_info.to_der().ok()?,
            key_algorithm: fields.subject_public_key_info.algorithm,
            shown_subject: Escaped::bounded(&fields.subject.to_string()),
            shown_issuer: Escaped::bounded(&fields.issuer.to_string()),
            not_before: fields.validity.not_before,
            not_after: fields.validity.not_after,
        })))
    }

    /// The certificates of a PEM file, in its order; at least one. Other blocks and text are passed
    /// over.
    ///
    /// # Errors
    /// [`CertificateError`] if the file is too large, has no certificate, or one that isn't.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if pem.len() > MAX_PEM {
            return Err(CertificateError::TooLarge { found: pem.len() });
        }
        let blocks = pem_file::blocks(pem).ok_or(CertificateError::Pem)?;
        let certificates = blocks
            .iter()
            .filter(|block| matches!(block.tag(), "CERTIFICATE" | "X509 CERTIFICATE"))
            .map(|block| Self::from_der(block.contents()))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(CertificateError::NotFound {
                found: key::found(&blocks),
            });
        }
        Ok(certificates)
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Its subject as RFC 4514 writes it, escaped.
    pub fn subject(&self) -> &Escaped {
        &self.0.shown_subject
    }

    /// Its issuer as RFC 4514 writes it, escaped.
    pub fn issuer(&self) -> &Escaped {
        &self.0.shown_issuer
    }

    /// The lowercase hexadecimal SHA-256 of its DER, by which people compare certificates.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The first moment of its validity, as RFC 3339 writes it.
    pub fn not_before(&self) -> String {
        self.0.not_before.to_string()
    }

    /// The last moment of its validity, as RFC 3339 writes it.
    pub fn not_after(&self) -> String {
        self.0.not_after.to_string()
    }

    /// Its key.
    ///
    /// # Errors
    /// [`KeyError`] if it isn't one that OMS signs with.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki(&self.0.spki)
    }

    /// Whether its subject is its issuer (RFC 5280, section 3.2, "self-issued").
    pub(super) fn is_self_issued(&self) -> bool {
        self.0.subject == self.0.issuer
    }

    /// Whether `issuer` has the name that this certificate gives as its issuer's. The names are
    /// compared byte for byte: certificate authorities copy theirs.
    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.0.issuer == issuer.0.subject
    }

    /// Whether it certifies the same key of the same holder.
    pub(super) fn is_for_same_key(&self, other: &Self) -> bool {
        self.0.subject == other.0.subject && self.0.spki == other.0.spki
    }

    /// Whether the key of `issuer` made the signature on this certificate.
    ///
    /// Accepted are ECDSA on the curves of OMS, RSA of 2048 to 8192 bits (PKCS #1 v1.5, and PSS
    /// with one hash throughout and a salt of its length), each with SHA-256, -384 or -512; and
    /// Ed25519.
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        let Some(algorithm) = verification(&self.0.signature_algorithm, &issuer.0.key_algorithm)
        else {
            return false;
        };
        UnparsedPublicKey::new(algorithm, &issuer.0.spki)
            .verify(&self.0.tbs, &self.0.signature)
            .is_ok()
    }

    /// The rules for every certificate of a path: valid at a moment, which is given since the Unix
    /// epoch, and without demands that aren't understood.
    pub(super) fn check(&self, at: Duration) -> Result<(), CertificateRule> {
        if at < self.0.not_before.to_unix_duration() {
            return Err(CertificateRule::NotYetValid {
                from: self.not_before(),
            });
        }
        // The last moment is a whole second, and belongs to the validity (section 4.1.2.5).
        if at.as_secs() > self.0.not_after.to_unix_duration().as_secs() {
            return Err(CertificateRule::Expired {
                since: self.not_after(),
            });
        }
        self.check_understood()
    }

    /// That it makes no demands that aren't understood.
    pub(super) fn check_understood(&self) -> Result<(), CertificateRule> {
        match self.0.extensions.unknown_critical {
            Some(oid) => Err(CertificateRule::CriticalExtension(oid.to_string())),
            None => Ok(()),
        }
    }

    /// The rules for a certificate that models are signed with. OMS asks for a key usage of
    /// `digitalSignature` or an extended key usage of `codeSigning`; and where a certificate states
    /// either of them, critical or not, it limits what the key is for (RFC 5280, sections 4.2.1.3
    /// and 4.2.1.12: "only for one of the purposes indicated"). So each that is stated must allow
    /// it, and one must be stated.
    pub(super) fn check_signer(&self) -> Result<(), CertificateRule> {
        let extensions = &self.0.extensions;
        let for_signatures = extensions
            .key_usage
            .as_ref()
            .map(KeyUsage::digital_signature);
        let for_code = extensions
            .extended_key_usage
            .as_ref()
            .is_some_and(names_code_signing);
        if for_signatures != Some(true) && !for_code {
            return Err(CertificateRule::NotForSigning);
        }
        if for_signatures == Some(false) {
            return Err(CertificateRule::NoDigitalSignature);
        }
        self.check_purpose(CODE_SIGNING)
    }

    /// That its extended key usage, where it states one, includes `purpose` or any purpose. What an
    /// issuer states limits what it issues, as every verifier in use reads it.
    pub(super) fn check_purpose(&self, purpose: ObjectIdentifier) -> Result<(), CertificateRule> {
        match &self.0.extensions.extended_key_usage {
            Some(usage) if !usage.0.contains(&purpose) && !names_any_purpose(usage) => {
                Err(CertificateRule::OtherPurposes(match purpose {
                    TIME_STAMPING => "timeStamping",
                    _ => "codeSigning",
                }))
            }
            _ => Ok(()),
        }
    }

    /// The rules for a certificate of a time stamping authority (RFC 3161, section 2.3): its
    /// extended key usage names `timeStamping`, and its key usage, where it states one,
    /// `digitalSignature`.
    pub(super) fn check_time_stamper(&self) -> Result<(), CertificateRule> {
        self.check_understood()?;
        let extensions = &self.0.extensions;
        let purposes = extensions.extended_key_usage.as_ref();
        if !purposes.is_some_and(|usage| usage.0.contains(&TIME_STAMPING)) {
            return Err(CertificateRule::OtherPurposes("timeStamping"));
        }
        match &extensions.key_usage {
            Some(usage) if !usage.digital_signature() => Err(CertificateRule::NoDigitalSignature),
            _ => Ok(()),
        }
    }

    /// The rules for a certificate that others are issued with (RFC 5280, section 6.1.4, (k) to
    /// (n)), of which `below` come between it and the leaf, not counting self-issued ones. Where it
    /// states an extended key usage, that must allow what the leaf is for.
    pub(super) fn check_issuer(
        &self,
        below: usize,
        purpose: ObjectIdentifier,
    ) -> Result<(), CertificateRule> {
        let extensions = &self.0.extensions;
        let constraints = match &extensions.basic_constraints {
            Some(constraints) if constraints.ca => constraints,
            _ => return Err(CertificateRule::NotAnAuthority),
        };
        if extensions
            .key_usage
            .as_ref()
            .is_some_and(|usage| !usage.key_cert_sign())
        {
            return Err(CertificateRule::NoCertSign);
        }
        if let Some(limit) = constraints.path_len_constraint
            && below > usize::from(limit)
        {
            return Err(CertificateRule::PathLength { limit });
        }
        // Not evaluated, so nothing may depend on them, whether marked critical or not.
        if extensions.has_name_constraints {
            return Err(CertificateRule::NameConstraints);
        }
        self.check_purpose(purpose)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.subject())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self}, {})", self.fingerprint())
    }
}

impl Extensions {
    /// `None` if one occurs twice, or one that is understood is malformed.
    fn decode(raw: &[x509_cert::ext::Extension]) -> Option<Self> {
        if raw.len() > MAX_EXTENSIONS {
            return None;
        }
        let mut extensions = Self::default();
        for (index, extension) in raw.iter().enumerate() {
            let oid = extension.extn_id;
            if raw[..index].iter().any(|before| before.extn_id == oid) {
                return None;
            }
            let value = extension.extn_value.as_bytes();
            match oid {
                BasicConstraints::OID => {
                    extensions.basic_constraints = Some(BasicConstraints::from_der(value).ok()?);
                }
                KeyUsage::OID => {
                    extensions.key_usage = Some(KeyUsage::from_der(value).ok()?);
                }
                ExtendedKeyUsage::OID => {
                    extensions.extended_key_usage = Some(ExtendedKeyUsage::from_der(value).ok()?);
                }
                NameConstraints::OID => extensions.has_name_constraints = true,
                // Names and policies are asked of nobody here, so any will do (section 6.1.1:
                // every policy is acceptable).
                SubjectAltName::OID | CertificatePolicies::OID => {}
                _ if extension.critical && extensions.unknown_critical.is_none() => {
                    extensions.unknown_critical = Some(oid);
                }
                _ => {}
            }
        }
        Some(extensions)
    }
}

fn names_code_signing(usage: &ExtendedKeyUsage) -> bool {
    usage.0.contains(&CODE_SIGNING)
}

fn names_any_purpose(usage: &ExtendedKeyUsage) -> bool {
    usage.0.contains(&ANY_EXTENDED_KEY_USAGE)
}

/// How to check a signature that is said to be made with `signature`, by a key of the kind `key`.
fn verification(
    signature: &AlgorithmIdentifierOwned,
    key: &AlgorithmIdentifierOwned,
) -> Option<&'static dyn VerificationAlgorithm> {
    // RFC 4055, section 5: the parameters are NULL. Some leave them out.
    let no_parameters = signature.parameters.as_ref().is_none_or(Any::is_null);
    match key.oid {
        key::RSA_ENCRYPTION => match signature.oid {
            SHA256_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA256),
            SHA384_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA384),
            SHA512_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA512),
            RSASSA_PSS => pss(signature.parameters.as_ref()?),
            _ => None,
        },
        key::ID_EC_PUBLIC_KEY => {
            let named = key.parameters.as_ref()?.decode_as().ok();
            let curve = key::curve(key.oid, named).ok()?;
            // RFC 5758, section 3.2: the parameters are absent.
            if signature.parameters.is_some() {
                return None;
            }
            Some(match (curve, signature.oid) {
                (Curve::P256, ECDSA_WITH_SHA256) => &sig::ECDSA_P256_SHA256_ASN1,
                (Curve::P256, ECDSA_WITH_SHA384) => &sig::ECDSA_P256_SHA384_ASN1,
                (Curve::P256, ECDSA_WITH_SHA512) => &sig::ECDSA_P256_SHA512_ASN1,
                (Curve::P384, ECDSA_WITH_SHA256) => &sig::ECDSA_P384_SHA256_ASN1,
                (Curve::P384, ECDSA_WITH_SHA384) => &sig::ECDSA_P384_SHA384_ASN1,
                (Curve::P384, ECDSA_WITH_SHA512) => &sig::ECDSA_P384_SHA512_ASN1,
                (Curve::P521, ECDSA_WITH_SHA256) => &sig::ECDSA_P521_SHA256_ASN1,
                (Curve::P521, ECDSA_WITH_SHA384) => &sig::ECDSA_P521_SHA384_ASN1,
                (Curve::P521, ECDSA_WITH_SHA512) => &sig::ECDSA_P521_SHA512_ASN1,
                _ => return None,
            })
        }
        // RFC 8410, section 3: no parameters.
        key::ID_ED25519 if signature.oid == key::ID_ED25519 && signature.parameters.is_none() => {
            Some(&sig::ED25519)
        }
        _ => None,
    }
}

/// The parameters of PSS in the one form for each hash that is in use: that hash for the message
/// and the mask, and a salt as long as it (RFC 4055, section 3.1).
fn pss(parameters: &Any) -> Option<&'static dyn VerificationAlgorithm> {
    /// DER, less the outermost tag and length. `hash` is the last arc of the hash's identifier
    /// (2.16.840.1.101.3.4.2.x).
    const fn form(hash: u8, salt: u8) -> [u8; 52] {
        [
            0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            hash, 0x05, 0x00, // hashAlgorithm
            0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
            0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash,
            0x05, 0x00, // maskGenAlgorithm, MGF1
            0xa2, 0x03, 0x02, 0x01, salt, // saltLength
        ]
    }
    let value = parameters.value();
    if value == form(1, 32) {
        Some(&sig::RSA_PSS_2048_8192_SHA256)
    } else if value == form(2, 48) {
        Some(&sig::RSA_PSS_2048_8192_SHA384)
    } else if value == form(3, 64) {
        Some(&sig::RSA_PSS_2048_8192_SHA512)
    } else {
        None
    }
}

/// Certificates that are trusted to say who may sign: whom each of them issued a certificate to,
/// through others or not, or who holds its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors(Arc<[Certificate]>);

impl Anchors {
    /// Trusts certificates.
    ///
    /// # Errors
    /// [`CertificateError::NotFound`] for none, [`CertificateError::TooMany`] above [`MAX_ANCHORS`].
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, CertificateError> {
        match certificates.len() {
            0 => Err(CertificateError::NotFound {
                found: Escaped::new("no file"),
            }),
            found if found > MAX_ANCHORS => Err(CertificateError::TooMany { found }),
            _ => Ok(Self(certificates.into())),
        }
    }

    /// Trusts the certificates of PEM files, all of them in each.
    ///
    /// # Errors
    /// [`CertificateError`] as [`Certificate::from_pem`] and [`Anchors::new`] have it.
    pub fn from_pem<P: AsRef<[u8]>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, CertificateError> {
        let mut certificates = Vec::new();
        for file in files {
            certificates.extend(Certificate::from_pem(file.as_ref())?);
            if certificates.len() > MAX_ANCHORS {
                break;
            }
        }
        Self::new(certificates)
    }

    /// The trusted certificates; at least one.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }
}

/// A certificate, or a file of them, that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file larger than [`MAX_PEM`].
    #[error("the certificate file has {found} bytes, at most {MAX_PEM} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// A certificate larger than [`MAX_CERTIFICATE`].
    #[error("a certificate has {found} bytes, at most {MAX_CERTIFICATE} are allowed")]
    LargeCertificate {
        /// Bytes found.
        found: usize,
    },
    /// A PEM block is damaged.
    #[error("the certificate file has a damaged PEM block")]
    Pem,
    /// No certificate is there.
    #[error("the certificate file has no CERTIFICATE block (found: {found})")]
    NotFound {
        /// The labels found, escaped.
        found: Escaped,
    },
    /// More than [`MAX_ANCHORS`].
    #[error("there are more than {MAX_ANCHORS} trusted certificates ({found} or more)")]
    TooMany {
        /// Certificates read.
        found: usize,
    },
    /// Not a certificate in DER, or with an extension twice or malformed.
    #[error("a certificate is malformed")]
    Malformed,
}

/// The rules that a certificate may break by itself or by its place in a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRule {
    /// `notBefore`.
    #[error("it is not valid before {from}")]
    NotYetValid {
        /// Its first moment.
        from: String,
    },
    /// `notAfter`.
    #[error("it expired at {since}")]
    Expired {
        /// Its last moment.
        since: String,
    },
    /// A critical extension that isn't understood (RFC 5280, section 4.2).
    #[error("it has the critical extension {0}, which is not supported")]
    CriticalExtension(String),
    /// The leaf has neither use that OMS asks for.
    #[error(
        "it is not for signing: it has neither the key usage digitalSignature \
         nor the extended key usage codeSigning"
    )]
    NotForSigning,
    /// A key usage without `digitalSignature`.
    #[error("its key usage does not include digitalSignature")]
    NoDigitalSignature,
    /// An extended key usage without the purpose that is named.
    #[error("its extended key usage does not include {0}")]
    OtherPurposes(&'static str),
    /// An issuer that is no authority.
    #[error("it issued a certificate and is not a certificate authority (CA:TRUE)")]
    NotAnAuthority,
    /// An issuer whose key isn't for certificates.
    #[error("it issued a certificate and its key usage lacks keyCertSign")]
    NoCertSign,
    /// Too many authorities beneath an issuer.
    #[error("its path length constraint allows at most {limit} authorities beneath it")]
    PathLength {
        /// The number that it allows.
        limit: u8,
    },
    /// An issuer with constraints that aren't evaluated.
    #[error("it has name constraints, which are not supported")]
    NameConstraints,
}
