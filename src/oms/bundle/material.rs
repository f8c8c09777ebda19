//! What a bundle says about its signer, and by which method.

use std::fmt;

use super::evidence::Evidence;

/// How a bundle was signed (OMS v1.0, 4.1): the name of a method, and nothing that is claimed or
/// proved under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// With a bare EC key.
    Key,
    /// With a key that an X.509 certificate names.
    Certificate,
    /// With a short-lived Sigstore certificate, logged.
    Sigstore,
}

impl Method {
    /// The name in the OMS specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Sigstore => "sigstore",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the bundle says about its signer, in its own bytes. Claims, every one:
/// [`Claim`](crate::oms::claim::Claim) shows them to people, and what was proved of them is a
/// [`Signer`](crate::oms::trust::Signer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A bare key.
    Key {
        /// Which key: see [`crate::oms::key::PublicKey::hint`]. Older bundles have none.
        hint: Option<String>,
    },
    /// A certificate chain.
    Certificate {
        /// DER, the leaf first; at least one.
        chain: Vec<Vec<u8>>,
    },
    /// A Sigstore certificate.
    Sigstore {
        /// DER of the leaf.
        certificate: Vec<u8>,
        /// Log entries and time stamps.
        evidence: Evidence,
    },
}

impl Material {
    /// The method that this material belongs to.
    pub const fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
            Self::Certificate { .. } => Method::Certificate,
            Self::Sigstore { .. } => Method::Sigstore,
        }
    }
}
