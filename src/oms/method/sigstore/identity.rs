//! What a Sigstore certificate says about its holder (Fulcio, "Certificate specification" and
//! "OID information").
//!
//! Guarantees: a [`ClaimedIdentity`] is unambiguous. The certificate names one subject, as an email
//! address or a URI; one identity provider, the same in both extensions where it has both; none of
//! them empty. Its key may sign.
//!
//! Doesn't: say that the claims are true. Whether an authority made the certificate, for code
//! signing and at the right time, is checked by `sigstore-verify`, which itself takes the first of
//! several names, prefers the newer issuer extension whatever the older one says, and doesn't look
//! at the key usage.

use std::fmt;

use x509_cert::Certificate;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{KeyUsage, SubjectAltName};

use crate::name::Escaped;

/// The issuer as bare UTF-8 text. Deprecated by Fulcio, and still in every certificate of 2025.
const ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");

/// The issuer as a DER `UTF8String`.
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");

/// Who holds the key of a certificate, as the certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedIdentity {
    /// An email address or a URI. Hostile text.
    pub identity: String,
    /// The URL of the OIDC provider that vouched for the identity. Hostile text.
    pub identity_provider: String,
}

impl ClaimedIdentity {
    /// Reads the claims of a leaf certificate in DER.
    ///
    /// # Errors
    /// A [`CertificateRule`] if the certificate doesn't say clearly who holds its key.
    pub fn of(certificate: &[u8]) -> Result<Self, CertificateRule> {
        let certificate =
            Certificate::from_der(certificate).map_err(|_| CertificateRule::Malformed)?;
        check_key_usage(&certificate)?;
        Ok(Self {
            identity: identity(&certificate)?,
            identity_provider: issuer(&certificate)?,
        })
    }
}

impl fmt::Display for ClaimedIdentity {
    /// For people, escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sigstore identity \"{}\" of \"{}\"",
            Escaped::bounded(&self.identity),
            Escaped::bounded(&self.identity_provider)
        )
    }
}

fn check_key_usage(certificate: &Certificate) -> Result<(), CertificateRule> {
    let usage: Option<(bool, KeyUsage)> = extension(certificate.tbs_certificate.get())?;
    match usage {
        Some((_, usage)) if usage.digital_signature() => Ok(()),
        _ => Err(CertificateRule::KeyUsage),
    }
}

fn identity(certificate: &Certificate) -> Result<String, CertificateRule> {
    let names: Option<(bool, SubjectAltName)> = extension(certificate.tbs_certificate.get())?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    match names.as_slice() {
        [GeneralName::Rfc822Name(email)] if !email.as_str().is_empty() => {
            Ok(email.as_str().to_owned())
        }
        [GeneralName::UniformResourceIdentifier(uri)] if !uri.as_str().is_empty() => {
            Ok(uri.as_str().to_owned())
        }
        [_] => Err(CertificateRule::IdentityKind),
        names => Err(CertificateRule::Identities { found: names.len() }),
    }
}

fn issuer(certificate: &Certificate) -> Result<String, CertificateRule> {
    let (mut old, mut new) = (None, None);
    for extension in certificate
        .tbs_certificate
        .extensions
        .as_deref()
        .unwrap_or_default()
    {
        let value = extension.extn_value.as_bytes();
        let (seen, text) = match extension.extn_id {
            ISSUER => (&mut old, std::str::from_utf8(value).ok()),
            ISSUER_V2 => (
                &mut new,
                Utf8StringRef::from_der(value)
                    .ok()
                    .map(|text| text.as_str()),
            ),
            _ => continue,
        };
        let text = text
            .filter(|text| !text.is_empty())
            .ok_or(CertificateRule::MalformedIssuer)?;
        if seen.replace(text).is_some() {
            return Err(CertificateRule::Issuers);
        }
    }
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(CertificateRule::Issuers),
        (_, Some(issuer)) | (Some(issuer), None) => Ok(issuer.to_owned()),
        (None, None) => Err(CertificateRule::NoIssuer),
    }
}

/// An extension that may be absent, and must be well-formed and there once where it isn't.
fn extension<T>(found: der::Result<Option<T>>) -> Result<Option<T>, CertificateRule> {
    found.map_err(|_| CertificateRule::Malformed)
}

/// The rules for the certificate of a Sigstore bundle, beside those of its authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRule {
    /// Not a certificate, or with a malformed or repeated extension.
    #[error("it is not a well-formed X.509 certificate")]
    Malformed,
    /// No `digitalSignature`.
    #[error("its key usage does not include digital signatures")]
    KeyUsage,
    /// None, or several: which one signed would be a guess.
    #[error("it names {found} identities, exactly one is allowed")]
    Identities {
        /// Names found.
        found: usize,
    },
    /// A name of another kind, or an empty one.
    #[error("its identity is neither an email address nor a URI")]
    IdentityKind,
    /// Neither extension.
    #[error("it does not name an identity provider")]
    NoIssuer,
    /// Not UTF-8 text, or empty.
    #[error("its identity provider is not a text")]
    MalformedIssuer,
    /// The same extension twice, or two that differ.
    #[error("it names more than one identity provider")]
    Issuers,
}
