//! What is wrong with a certificate, or a file of them.

use crate::name::Escaped;
use crate::oms::bundle::MAX_CERTIFICATE;

/// Largest PEM file of certificates, in bytes. The store of a whole operating system is a quarter.
pub const MAX_PEM: usize = 1 << 20;

/// Most trusted certificates together.
pub const MAX_ANCHORS: usize = 1024;

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
