//! Whom to believe, and whom a signature turned out to be by.
//!
//! Guarantees: a [`Trust`] holds nothing that came from a bundle. Doesn't: say where it came from;
//! the trust store and the command line do.
//!
//! Both types are `non_exhaustive`.

use std::fmt;
use std::time::SystemTime;

use super::bundle::Method;
use super::certificate::Anchors;
use super::key::PublicKey;
use super::sigstore::trusted_root::TrustedRoot;
use crate::name::Escaped;

/// Who may have signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The holder of this key.
    Key(PublicKey),
    /// Whoever has a certificate for signing that a path leads from to one of these.
    Certificate(Anchors),
    /// Whoever a Sigstore instance knew by this identity.
    Sigstore {
        /// An email address or a URI, compared as a whole and byte for byte.
        identity: String,
        /// The URL of the OIDC provider that vouches for the identity, compared likewise.
        identity_provider: String,
        /// The instance.
        trusted_root: TrustedRoot,
    },
}

impl Trust {
    /// The method that a bundle must have been signed with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key(_) => Method::Key,
            Self::Certificate(_) => Method::Certificate,
            Self::Sigstore { .. } => Method::Sigstore,
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
            } => write!(
                f,
                "certificate \"{subject}\" (SHA-256 {fingerprint}) under \"{anchor}\""
            ),
            // Whoever chose an identity could not choose what it does to a terminal.
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
