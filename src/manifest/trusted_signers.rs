//! Decides between the signers of a trust store.
//!
//! Guarantees: the signer that [`choose`] gives is among those whose signature holds, and its
//! limits allow the model. Doesn't: verify anything, or make a verified manifest.

use crate::oms::claim::Claim;
use crate::oms::trust::Signer;
use crate::oms::trust_store::{ModelContext, SignerName, TrustedSigner};
use crate::oms::verify::{VerifyAnyError, VerifyError};

use super::VerifyManifestError;

/// The first of some signers, each of whom signed, whose limits allow a model.
pub(super) fn choose<'a>(
    signers: Vec<(&'a TrustedSigner, Signer)>,
    model: &ModelContext<'_>,
) -> Result<(&'a TrustedSigner, Signer), VerifyWithStoreError> {
    let names = signers.iter().map(|(trusted, _)| trusted.name().clone());
    let others = VerifyWithStoreError::OtherModels {
        signers: names.collect(),
    };
    signers
        .into_iter()
        .find(|(trusted, _)| trusted.limits().allow(model))
        .ok_or(others)
}

/// The refusals that say something about the signature, other than that it is by another signer.
fn informative_refusals(
    refused: Vec<(&TrustedSigner, VerifyError)>,
) -> Vec<(SignerName, VerifyError)> {
    refused
        .into_iter()
        .filter(|(_, error)| {
            !matches!(
                error,
                VerifyError::Method { .. } | VerifyError::OtherKey { .. }
            )
        })
        .map(|(signer, error)| (signer.name().clone(), error))
        .collect()
}

impl From<VerifyAnyError<&TrustedSigner>> for VerifyWithStoreError {
    fn from(error: VerifyAnyError<&TrustedSigner>) -> Self {
        match error {
            VerifyAnyError::Bundle(error) => Self::Invalid(error.into()),
            VerifyAnyError::Nobody { claim, refused } => Self::Nobody {
                claim: Box::new(claim),
                refused: informative_refusals(refused),
            },
        }
    }
}

/// Why a trust store gives no verified manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyWithStoreError {
    /// The signature file is malformed, or what a trusted signer signed isn't the manifest of a
    /// model.
    #[error(transparent)]
    Invalid(#[from] VerifyManifestError),
    /// No trusted signer has signed.
    #[error("not trusted: the signature claims to be by {claim}")]
    Nobody {
        /// Who the bundle says it is by.
        claim: Box<Claim>,
        /// Why signers whom it might be by did not vouch for it, by their names in the store.
        refused: Vec<(SignerName, VerifyError)>,
    },
    /// Signed by a signer who is trusted for other models.
    #[error("signed by {}, who is not trusted for this model", quoted(signers))]
    OtherModels {
        /// The names in the store; at least one.
        signers: Vec<SignerName>,
    },
}

fn quoted(signers: &[SignerName]) -> String {
    let names: Vec<_> = signers.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
