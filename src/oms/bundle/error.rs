//! What is wrong with a signature file.

use super::evidence::EvidenceError;
use super::wire::{MAX_BUNDLE, MAX_CERTIFICATES, MAX_ESCAPED, MAX_HINT, MEDIA_TYPE};
use crate::name::Escaped;
use crate::oms::dsse::DsseError;

/// A signature file that isn't an OMS bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Larger than [`MAX_BUNDLE`].
    #[error("the signature file has {found} bytes, at most {MAX_BUNDLE} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Larger than [`MAX_ESCAPED`], with escapes.
    #[error("the signature file has JSON escapes, and more than {MAX_ESCAPED} bytes")]
    Escapes,
    /// Not JSON, or not of this form. Escaped.
    #[error("not an OMS signature (damaged, or not a Sigstore bundle in JSON): {0}")]
    Json(Escaped),
    /// Another media type.
    #[error("the bundle's mediaType is \"{0}\", not \"{MEDIA_TYPE}\"")]
    MediaType(Escaped),
    /// None of the three kinds of material.
    #[error(
        "the bundle's verificationMaterial has none of publicKey, x509CertificateChain, certificate"
    )]
    NoMaterial,
    /// More than one kind of material.
    #[error(
        "the bundle's verificationMaterial has more than one of publicKey, \
         x509CertificateChain, certificate"
    )]
    SeveralMaterials,
    /// A hint longer than [`MAX_HINT`].
    #[error("the bundle's key hint has {found} bytes, at most {MAX_HINT} are allowed")]
    Hint {
        /// Bytes found.
        found: usize,
    },
    /// A chain of nothing.
    #[error("the bundle's x509CertificateChain has no certificates")]
    EmptyChain,
    /// A chain longer than [`MAX_CERTIFICATES`].
    #[error("the bundle has {found} certificates, at most {MAX_CERTIFICATES} are allowed")]
    LongChain {
        /// Certificates found.
        found: usize,
    },
    /// A certificate that isn't one; the text says why.
    #[error("a certificate in the bundle {0}")]
    Certificate(&'static str),
    /// Bad log entries or time stamps.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// No envelope.
    #[error("the bundle has no dsseEnvelope")]
    NoEnvelope,
    /// A bad envelope.
    #[error(transparent)]
    Envelope(#[from] DsseError),
}
