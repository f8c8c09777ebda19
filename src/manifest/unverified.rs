//! What a signature file says, for showing to people.
//!
//! Guarantees: nothing here turns into a [`VerifiedManifest`](super::VerifiedManifest). Doesn't:
//! check any signature.

use std::sync::Arc;

use super::{Manifest, ModelShape, VerifyManifestError};
use crate::digest::{Algorithm, Digest};
use crate::name::FileName;
use crate::oms::bundle::{Bundle, Material};
use crate::oms::statement::Statement;

/// What a signature file says, with no signature checked: for showing to people, and for nothing
/// else.
#[derive(Debug, Clone)]
pub struct UnverifiedManifest {
    manifest: Manifest,
    material: Material,
    payload_digest: Digest,
}

impl UnverifiedManifest {
    /// Reads the bytes of a signature file and believes them. A file that is called `.`, as
    /// Python's `model_signing` calls the only one of a model that is no directory, goes by the
    /// model's name.
    ///
    /// # Errors
    /// [`VerifyManifestError`] if the file is malformed or what it says isn't the manifest of a
    /// model.
    pub fn parse_without_verifying(
        bundle: impl Into<Arc<[u8]>>,
    ) -> Result<Self, VerifyManifestError> {
        let bundle = Bundle::take(bundle.into())?;
        let payload = bundle.envelope().unverified_payload();
        let payload_digest = Algorithm::Sha256.hash(payload);
        let statement = Statement::parse_any(payload)?;
        let shape = FileName::new(statement.subject_name())
            .map_or(ModelShape::Directory, ModelShape::SingleFile);
        let manifest = Manifest::from_statement(statement, &shape)?;
        let (material, _) = bundle.into_parts();
        Ok(Self {
            manifest,
            material,
            payload_digest,
        })
    }

    /// What the file says the model is.
    pub fn claimed_manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the file says about its signer, and so how it would have to be verified.
    pub fn claimed_material(&self) -> &Material {
        &self.material
    }

    /// SHA-256 of the payload, by whichever signer: what a signer can be limited to once what is in
    /// it was looked at ([`crate::oms::trust_store`]).
    pub fn payload_digest(&self) -> Digest {
        self.payload_digest
    }
}
