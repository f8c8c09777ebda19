//! The manifest that counts: of a signature that holds.
//!
//! Guarantees: a [`VerifiedManifest`] is what a trusted signer signed. Its fields are private to
//! this file, and only [`VerifiedManifest::new`], private too, fills them in; it takes the proof: a
//! [`VerifiedStatement`], whose fields are private to *its* file, in which only a signature check
//! makes one. So the claim can be read in two files, and the compiler keeps it:
//!
//! ```compile_fail,E0451
//! use model_fs::manifest::VerifiedManifest;
//! fn by_hand(taken: VerifiedManifest) -> VerifiedManifest {
//!     VerifiedManifest { ..taken }
//! }
//! ```
//!
//! ```compile_fail,E0624
//! use model_fs::manifest::{ModelShape, VerifiedManifest};
//! use model_fs::oms::verify::VerifiedStatement;
//! fn by_the_constructor(proof: VerifiedStatement) -> VerifiedManifest {
//!     VerifiedManifest::new(proof, &ModelShape::Directory).unwrap()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use model_fs::oms::verify::VerifiedStatement;
//! fn by_hand(taken: VerifiedStatement) -> VerifiedStatement {
//!     VerifiedStatement { ..taken }
//! }
//! ```
//!
//! ```compile_fail,E0277
//! use model_fs::manifest::{Manifest, VerifiedManifest};
//! fn by_promotion(manifest: Manifest) -> VerifiedManifest {
//!     manifest.into()
//! }
//! ```
//!
//! What is signed can't be changed through it, since it dereferences to its [`Manifest`] for
//! reading only:
//!
//! ```compile_fail,E0594
//! use model_fs::manifest::{Manifest, VerifiedManifest};
//! fn by_exchange(verified: &mut VerifiedManifest, other: Manifest) {
//!     **verified = other;
//! }
//! ```
//!
//! What does compile is to be given one, and to look at it:
//!
//! ```
//! use model_fs::manifest::{Manifest, VerifiedManifest};
//! use model_fs::oms::verify::VerifiedStatement;
//! fn signed(verified: &VerifiedManifest, proof: &VerifiedStatement) -> usize {
//!     let manifest: &Manifest = verified;
//!     manifest.files().len() + proof.payload().len()
//! }
//! ```
//!
//! Doesn't: look at any file of the model.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::trusted_signers::{self, VerifyWithStoreError};
use super::{Manifest, ModelShape, VerifyManifestError};
use crate::digest::Digest;
use crate::name::FileName;
use crate::oms::trust::{Signer, Trust};
use crate::oms::trust_store::{ModelContext, TrustStore, TrustedSigner};
use crate::oms::verify::{VerifiedStatement, verify_any, verify_file};

/// A manifest with the signature of a trusted signer, verified; see the head of this file.
#[derive(Clone)]
pub struct VerifiedManifest {
    manifest: Manifest,
    signer: Signer,
    payload_digest: Digest,
    bundle: Arc<[u8]>,
    /// Signed, and taken out of `manifest` by [`VerifiedManifest::without`]. Sorted.
    left_out: Vec<FileName>,
}

impl VerifiedManifest {
    /// Validates what was signed.
    fn new(proof: VerifiedStatement, shape: &ModelShape) -> Result<Self, VerifyManifestError> {
        Ok(Self {
            manifest: Manifest::from_statement(proof.parse()?, shape)?,
            signer: proof.signer().clone(),
            payload_digest: proof.payload_digest(),
            bundle: proof.into_bundle(),
            left_out: Vec::new(),
        })
    }

    /// Verifies the bytes of a signature file, and then validates what was signed: a directory, or
    /// a single file.
    ///
    /// # Errors
    /// [`VerifyManifestError`] if the signature is malformed or not by a trusted signer, or if what
    /// was signed isn't the manifest of a model.
    pub fn verify(
        bundle: impl Into<Arc<[u8]>>,
        trust: &Trust,
        shape: &ModelShape,
    ) -> Result<Self, VerifyManifestError> {
        Self::new(verify_file(bundle.into(), trust)?, shape)
    }

    /// Verifies the bytes of a signature file against all signers whom a store trusts for the model
    /// at `model` (an absolute path, links resolved), and then validates what was signed: a
    /// directory, or a single file. Gives the signer that matched too: the first in the order of
    /// the store.
    ///
    /// # Errors
    /// [`VerifyWithStoreError`] if no signer who is trusted for this model signed, or if what was
    /// signed isn't the manifest of a model.
    pub fn verify_with_store<'a>(
        bundle: impl Into<Arc<[u8]>>,
        store: &'a TrustStore,
        model: &Path,
        shape: &ModelShape,
    ) -> Result<(Self, &'a TrustedSigner), VerifyWithStoreError> {
        let trusted = store.signers().map(|signer| (signer, signer.trust()));
        let (proof, signers) = verify_any(bundle.into(), trusted)?.into_parts();
        let mut verified = Self::new(proof, shape)?;
        let context = ModelContext {
            path: model,
            name: verified.manifest.subject_name(),
            payload_digest: &verified.payload_digest,
            root_digest: &verified.manifest.root_digest(),
        };
        let (trusted, signer) = trusted_signers::choose(signers, &context)?;
        verified.signer = signer;
        Ok((verified, trusted))
    }

    /// What was signed, without the files that are one of `ignored` or beneath one. What is left
    /// out is neither checked nor served; [`left_out`](Self::left_out) names it.
    #[must_use]
    pub fn without(mut self, ignored: &[FileName]) -> Self {
        let is_ignored = |name: &FileName| ignored.iter().any(|ignored| name.is_within(ignored));
        let left_out = &mut self.left_out;
        self.manifest.files.retain(|file| {
            let keep = !is_ignored(&file.name);
            if !keep {
                left_out.push(file.name.clone());
            }
            keep
        });
        left_out.sort_unstable();
        self
    }

    /// The signed files that were taken out by [`without`](Self::without), by name. A model isn't
    /// verified while there are any: what is signed has to be there.
    pub fn left_out(&self) -> &[FileName] {
        &self.left_out
    }

    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// SHA-256 of the signed payload: of everything that was signed, names and all, where the root
    /// digest covers the digests of contents alone. It stays the same
    /// [without](VerifiedManifest::without) some files.
    pub fn payload_digest(&self) -> Digest {
        self.payload_digest
    }

    /// The exact bytes of the signature file that was verified.
    pub fn bundle(&self) -> &Arc<[u8]> {
        &self.bundle
    }
}

/// What was signed, less what was [left out](VerifiedManifest::without).
impl Deref for VerifiedManifest {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

impl fmt::Debug for VerifiedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedManifest")
            .field("manifest", &self.manifest)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}
