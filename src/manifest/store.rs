//! Verifies a signature against the trust store.

use std::path::Path;
use std::sync::Arc;

use super::{Manifest, VerifiedManifest, VerifyManifestError};
use crate::name::FileName;
use crate::oms::claim::Claim;
use crate::oms::trust_store::{ModelContext, SignerName, TrustStore, TrustedSigner};
use crate::oms::verify::{VerifyAnyError, VerifyError, verify_any};

impl VerifiedManifest {
    /// Verifies the bytes of a signature file against everybody whom a store trusts for the model at
    /// `model` (an absolute path, links resolved), and then validates what was signed: a directory, or
    /// with `single_file` the file of that name, see [`VerifiedManifest::verify_single_file`]. Gives
    /// the name of the signer that matched too: the first in the order of the store.
    ///
    /// # Errors
    /// [`VerifyWithStoreError`] if nobody trusted for this model signed, or if what was signed isn't
    /// the manifest of a model.
    pub fn verify_with_store(
        bundle: impl Into<Arc<[u8]>>,
        store: &TrustStore,
        model: &Path,
        single_file: Option<&FileName>,
    ) -> Result<(Self, SignerName), VerifyWithStoreError> {
        let trusted = store.signers().map(|signer| (signer, signer.trust()));
        let verified = verify_any(bundle.into(), trusted).map_err(|error| match error {
            VerifyAnyError::Bundle(error) => VerifyWithStoreError::Invalid(error.into()),
            VerifyAnyError::Nobody { claim, refused } => VerifyWithStoreError::Nobody {
                claim: Box::new(claim),
                refused: telling(refused),
            },
        })?;
        let statement = verified.statement.parse().map_err(|error| {
            VerifyWithStoreError::Invalid(VerifyManifestError::Statement(error))
        })?;
        let manifest = Manifest::from_statement(statement, single_file)
            .map_err(|error| VerifyWithStoreError::Invalid(VerifyManifestError::Manifest(error)))?;
        let context = ModelContext {
            path: model,
            name: manifest.subject_name(),
            root_digest: &manifest.root_digest(),
        };
        let allowed = verified
            .signers
            .iter()
            .find(|(trusted, _)| trusted.limits().allow(&context));
        match allowed {
            Some((trusted, signer)) => Ok((
                Self {
                    signer: signer.clone(),
                    manifest,
                    bundle: verified.statement.into_bundle(),
                    left_out: Vec::new(),
                },
                trusted.name().clone(),
            )),
            None => Err(VerifyWithStoreError::OtherModels {
                signers: verified
                    .signers
                    .iter()
                    .map(|(trusted, _)| trusted.name().clone())
                    .collect(),
            }),
        }
    }
}

/// The refusals that say something about the signature: not that it is simply by somebody else.
fn telling(refused: Vec<(&TrustedSigner, VerifyError)>) -> Vec<(SignerName, VerifyError)> {
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

/// Why a trust store gives no verified manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyWithStoreError {
    /// The signature file is malformed, or what a trusted signer signed isn't the manifest of a
    /// model.
    #[error(transparent)]
    Invalid(#[from] VerifyManifestError),
    /// Nobody trusted has signed.
    #[error("signed by nobody trusted: the bundle names {claim}")]
    Nobody {
        /// Who the bundle says it is by.
        claim: Box<Claim>,
        /// Why signers whom it might be by did not vouch for it, by their names in the store.
        refused: Vec<(SignerName, VerifyError)>,
    },
    /// Signed by somebody who is trusted for other models.
    #[error("signed by {}, who is not trusted for this model", list(signers))]
    OtherModels {
        /// The names in the store; at least one.
        signers: Vec<SignerName>,
    },
}

fn list(signers: &[SignerName]) -> String {
    let names: Vec<_> = signers.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
