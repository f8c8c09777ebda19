//! Whom to believe, and whom a signature turned out to be by.
//!
//! Guarantees: a [`Trust`] holds nothing that came from a bundle. Doesn't: say where it came from;
//! the trust store and the command line do.
//!
//! Both types are `non_exhaustive`: certificates and Sigstore identities join as variants.

use std::fmt;

use super::bundle::Method;
use super::key::PublicKey;

/// Who may have signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The holder of this key.
    Key(PublicKey),
}

impl Trust {
    /// The method that a bundle must have been signed with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key(_) => Method::Key,
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
}

impl Signer {
    /// The method that the signature was made with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { hint } => write!(f, "key {hint}"),
        }
    }
}
