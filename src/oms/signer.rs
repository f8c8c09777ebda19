//! Whom a signature turned out to be by.
//!
//! Guarantees: what is shown of a [`Signer`] is safe to show. Doesn't: prove anything by itself.
//! [`super::verify`] says what was proved, of the signer that it gives.

use std::fmt;
use std::time::SystemTime;

use super::bundle::Method;
use crate::name::Escaped;

/// Who signed, as far as verification proved it. It says less than a
/// [`Claim`](super::claim::Claim), and never anything that was only claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signer {
    /// The holder of a key.
    Key {
        /// The key, see [`super::key::PublicKey::hint`].
        hint: String,
    },
    /// The holder of a certificate's key.
    Certificate {
        /// The certificate's subject, escaped.
        subject: Escaped,
        /// The certificate, see [`super::certificate::Certificate::fingerprint`].
        fingerprint: String,
        /// The subject of the trusted certificate at the end of the path, escaped.
        anchor: Escaped,
        /// When the certificates were valid.
        time: CertificateTime,
    },
    /// An identity that Sigstore vouches for.
    Sigstore {
        /// An email address or a URI.
        identity: String,
        /// The URL of the OIDC provider.
        identity_provider: String,
        /// The number of the log entry, where the log signed it. The first, if there are several.
        log_index: Option<u64>,
        /// When the log took the entry, where the log signed it (Rekor v1). The earliest, if there
        /// are several.
        integrated_time: Option<SystemTime>,
        /// The earliest proved time at which the signature existed: of a log or a time stamp.
        signed_before: SystemTime,
    },
}

/// When the certificates that lead from a signer to a trusted one were found to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateTime {
    /// When they were verified.
    Now,
    /// At this moment, which the trust store has for the signer (`valid-at`).
    At(String),
    /// At some moment, which isn't that of the verification: the trust store pins the very payload.
    Pinned,
}

/// Goes on where the signer ends; nothing for [`CertificateTime::Now`].
impl fmt::Display for CertificateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => Ok(()),
            Self::At(moment) => write!(f, ", valid at {moment}"),
            Self::Pinned => f.write_str(", not valid now, its payload pinned"),
        }
    }
}

impl Signer {
    /// The method that the signature was made with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
            Self::Certificate { .. } => Method::Certificate,
            Self::Sigstore { .. } => Method::Sigstore,
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { hint } => write!(f, "key {hint}"),
            Self::Certificate {
                subject,
                fingerprint,
                anchor,
                time,
            } => write!(
                f,
                "certificate \"{subject}\" (SHA-256 {fingerprint}) under \"{anchor}\"{time}"
            ),
            // The signer chose the identity, and doesn't choose what it does to a terminal.
            Self::Sigstore {
                identity,
                identity_provider,
                ..
            } => write!(
                f,
                "Sigstore identity \"{}\" of \"{}\"",
                Escaped::bounded(identity),
                Escaped::bounded(identity_provider)
            ),
        }
    }
}
