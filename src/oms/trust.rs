//! Whom to believe, and whom a signature turned out to be by.
//!
//! Guarantees: a [`Trust`] holds nothing that came from a bundle. Doesn't: say where it came from;
//! the trust store and the command line do.
//!
//! Both types are `non_exhaustive`: Sigstore identities join as variants.

use std::fmt;

use super::bundle::Method;
use super::certificate::Anchors;
use super::key::PublicKey;
use crate::name::Escaped;

/// Who may have signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The holder of this key.
    Key(PublicKey),
    /// Whoever has a certificate for signing that a path leads from to one of these.
    Certificate(Anchors),
}

impl Trust {
    /// The method that a bundle must have been signed with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key(_) => Method::Key,
            Self::Certificate(_) => Method::Certificate,
        }
    }
}

/// Who signed, as far as verification proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signer {
    /// The holder of a key.
    Key {
        /// The key, see [`PublicKey::hint`].
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
    },
}

impl Signer {
    /// The method that the signature was made with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
            Self::Certificate { .. } => Method::Certificate,
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
            } => write!(
                f,
                "certificate \"{subject}\" (SHA-256 {fingerprint}) under \"{anchor}\""
            ),
        }
    }
}
