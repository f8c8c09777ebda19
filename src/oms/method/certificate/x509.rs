//! Certificates, decoded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::UnparsedPublicKey;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName,
};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::algorithms::verification;
use super::error::{CertificateError, MAX_PEM};
use crate::digest::Algorithm;
use crate::name::Escaped;
use crate::oms::bundle::MAX_CERTIFICATE;
use crate::oms::method::key::{KeyError, PublicKey};
use crate::oms::wire::pem_file;

/// Most extensions in one certificate. Those in use have about ten.
pub const MAX_EXTENSIONS: usize = 64;

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
pub(super) struct Extensions {
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) has_name_constraints: bool,
    /// A critical one that isn't understood.
    pub(super) unknown_critical: Option<ObjectIdentifier>,
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
                found: pem_file::found(&blocks),
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
    pub(in crate::oms) fn is_self_issued(&self) -> bool {
        self.0.subject == self.0.issuer
    }

    /// Whether `issuer` has the name that this certificate gives as its issuer's. The names are
    /// compared byte for byte: certificate authorities copy theirs.
    pub(in crate::oms) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.0.issuer == issuer.0.subject
    }

    /// Whether it certifies the same key of the same holder.
    pub(in crate::oms) fn is_for_same_key(&self, other: &Self) -> bool {
        self.0.subject == other.0.subject && self.0.spki == other.0.spki
    }

    /// Whether the key of `issuer` made the signature on this certificate.
    ///
    /// Accepted are ECDSA on the curves of OMS, RSA of 2048 to 8192 bits (PKCS #1 v1.5, and PSS
    /// with one hash throughout and a salt of its length), each with SHA-256, -384 or -512; and
    /// Ed25519.
    pub(in crate::oms) fn is_signed_by(&self, issuer: &Self) -> bool {
        let Some(algorithm) = verification(&self.0.signature_algorithm, &issuer.0.key_algorithm)
        else {
            return false;
        };
        UnparsedPublicKey::new(algorithm, &issuer.0.spki)
            .verify(&self.0.tbs, &self.0.signature)
            .is_ok()
    }

    /// The extensions that are understood.
    pub(super) fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The first and the last moment of its validity, since the Unix epoch.
    pub(super) fn validity(&self) -> (Duration, Duration) {
        let Inner {
            not_before,
            not_after,
            ..
        } = &*self.0;
        (not_before.to_unix_duration(), not_after.to_unix_duration())
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
                // Neither names nor policies are asked for here, so any will do (section 6.1.1:
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
