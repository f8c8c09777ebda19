//! Whom to believe.
//!
//! Guarantees: a [`Trust`] holds nothing that came from a bundle. Doesn't: say where it came from;
//! the trust store and the command line do.

use super::bundle::Method;
use super::method::certificate::{Anchors, When};
use super::method::key::PublicKey;
use super::method::sigstore::trusted_root::TrustedRoot;
pub use super::signer::{CertificateTime, Signer};

/// Who may have signed. The one form of it, wherever it comes from: a trust store, or a caller.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The holder of this key.
    Key(PublicKey),
    /// The holders of a certificate for signing that a path leads from to one of these.
    Certificate {
        /// The trusted certificates.
        anchors: Anchors,
        /// When the certificates of the path have to be valid.
        when: When,
    },
    /// Those whom a Sigstore instance knew by this identity.
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
            Self::Certificate { .. } => Method::Certificate,
            Self::Sigstore { .. } => Method::Sigstore,
        }
    }
}
