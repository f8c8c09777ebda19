//! What is wrong with a Sigstore bundle.

use sigstore_verify::Error;

use super::identity::CertificateRule;
use super::log::{self, EntryRule};
use crate::name::Escaped;
use crate::oms::statement::StatementError;

/// What the crate says, which quotes the bundle.
pub(super) fn escape(error: &dyn std::error::Error) -> Escaped {
    Escaped::bounded(&error.to_string())
}

/// A Sigstore bundle that doesn't verify. Texts of the bundle are escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigstoreError {
    /// Signed by another identity.
    #[error(
        "the model was signed by another identity: the bundle names \"{stated_identity}\" of \
         \"{stated_provider}\", trusted is \"{identity}\" of \"{identity_provider}\""
    )]
    OtherSigner {
        /// The bundle's identity, escaped.
        stated_identity: Escaped,
        /// The bundle's identity provider, escaped.
        stated_provider: Escaped,
        /// The trusted identity.
        identity: Escaped,
        /// The trusted identity provider.
        identity_provider: Escaped,
    },
    /// The certificate doesn't say clearly who holds its key.
    #[error("the bundle's certificate is not one of Sigstore: {0}")]
    Certificate(CertificateRule),
    /// The certificate isn't of a trusted authority, or wasn't valid when it was used.
    #[error("the bundle's certificate is not trusted: {0}")]
    Chain(Escaped),
    /// A log entry of a kind that is not known.
    #[error(
        "the log entry is of the kind \"{kind} {version}\", which cannot be verified yet; \
         supported are {}",
        log::KINDS
    )]
    Kind {
        /// The kind, escaped.
        kind: Escaped,
        /// The version, escaped.
        version: Escaped,
    },
    /// A log entry breaks a rule of ours.
    #[error("a log entry of the bundle is not valid: {0}")]
    Entry(EntryRule),
    /// The log doesn't vouch for the signature.
    #[error("a log entry of the bundle is not valid: {0}")]
    Log(Escaped),
    /// No trusted time, or a bad time stamp.
    #[error("the signing time is not proved: {0}")]
    Time(Escaped),
    /// The signature isn't by the certificate's key over that payload.
    #[error("the signature does not match the bundle's payload and certificate")]
    Signature,
    /// What was signed is not an OMS statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Anything else that `sigstore-verify` refuses.
    #[error("the Sigstore bundle is not valid: {0}")]
    Other(Escaped),
    /// `sigstore-verify` was content and had not checked everything. Never seen.
    #[error("the Sigstore bundle is not valid: {0} was not checked")]
    Incomplete(&'static str),
}

impl From<Error> for SigstoreError {
    fn from(error: Error) -> Self {
        let text = escape(&error);
        match error {
            Error::SignatureInvalid(_) => Self::Signature,
            Error::Certificate(_) => Self::Chain(text),
            Error::TransparencyLog(_) => Self::Log(text),
            Error::Timestamp(_) => Self::Time(text),
            _ => Self::Other(text),
        }
    }
}
