//! A model whose signature was verified, before anything is said about its content.
//!
//! Guarantees: the signature holds, and is by a signer who is trusted for what was opened, whatever
//! its path leads to by now. Doesn't: say that the directory has the signed names, or content;
//! [`SignedModel::name_differences`] and [`whole::verify`](crate::reading::whole::verify) do.

use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::options::OpenOptions;
use crate::fs::TrustDecision;
use crate::manifest::VerifiedManifest;
use crate::name::FileName;
use crate::oms::trust::Trust;
use crate::oms::trust_store::{SignerName, TrustStore};
use crate::reading::location::ModelLocation;
use crate::reading::whole::verify::{Difference, Unsigned, verify_names};
use crate::reading::{Links, LocalDirectory, Scan};

/// Who decides whether a signature counts.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Trusted<'a> {
    /// One signer, for whatever was signed.
    Signer(&'a Trust),
    /// The signers of a store, each for the models that the store says.
    Store(&'a TrustStore),
}

impl<'a> From<&'a Trust> for Trusted<'a> {
    fn from(trust: &'a Trust) -> Self {
        Self::Signer(trust)
    }
}

impl<'a> From<&'a TrustStore> for Trusted<'a> {
    fn from(store: &'a TrustStore) -> Self {
        Self::Store(store)
    }
}

/// A model with a signature that holds, and what lies in its directory.
#[derive(Debug)]
pub struct SignedModel {
    location: ModelLocation,
    manifest: Arc<VerifiedManifest>,
    /// The signer's name in a trust store, and the file that it stands in.
    trusted_as: Option<(SignerName, Arc<Path>)>,
    directory: Arc<LocalDirectory>,
    scan: Scan,
    pub(super) options: OpenOptions,
}

impl SignedModel {
    /// Verifies the signature of the model at `path` and lists its directory. Reads no content.
    ///
    /// # Errors
    /// [`OpenError`], but for [`OpenError::Differs`] and [`OpenError::Store`].
    pub fn open<'a>(
        path: impl AsRef<Path>,
        trust: impl Into<Trusted<'a>>,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        let location = ModelLocation::find(path.as_ref(), options.signature.as_deref())?;
        Self::at(location, trust, options)
    }

    /// The same for a model that was found already, with its signature.
    ///
    /// # Errors
    /// As [`SignedModel::open`].
    pub fn at<'a>(
        location: ModelLocation,
        trust: impl Into<Trusted<'a>>,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        let ignored = location.ignored(&options.ignore_paths)?;
        let bundle = location.read_signature()?;
        let shape = location.shape();
        let (manifest, trusted_as) = match trust.into() {
            Trusted::Signer(trust) => (VerifiedManifest::verify(bundle, trust, &shape)?, None),
            Trusted::Store(store) => {
                // Of what was opened: what the path leads to by now is another question.
                let model = location.resolved();
                let (manifest, signer) =
                    VerifiedManifest::verify_with_store(bundle, store, &model, &shape)?;
                (
                    manifest,
                    Some((signer.name().clone(), signer.file().into())),
                )
            }
        };
        if let Some(ignored) = manifest.ignored_annotations() {
            tracing::warn!("annotations {ignored}; the listed digest counts");
        }
        for entry in manifest.unusable_ignore_paths() {
            tracing::debug!(%entry, "signed ignore path without effect: not a path in the model");
        }
        for name in &ignored {
            if location.lacks(name) && manifest.file(name.as_str()).is_none() {
                warn_of_absent(name);
            }
        }
        let manifest = manifest.without(&ignored);
        let links = if manifest.allow_symlinks() {
            Links::Follow
        } else {
            Links::Refuse
        };
        let directory = location.open(links)?;
        let scan = location.scan_signed(&directory, &manifest, &ignored)?;
        Ok(Self {
            location,
            manifest: Arc::new(manifest),
            trusted_as,
            directory: Arc::new(directory),
            scan,
            options,
        })
    }

    /// Where the model and its signature lie.
    pub fn location(&self) -> &ModelLocation {
        &self.location
    }

    /// What was signed, and by whom.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The same, shared.
    pub fn shared_manifest(&self) -> &Arc<VerifiedManifest> {
        &self.manifest
    }

    /// The signer's name in the trust store, where that decided.
    pub fn trusted_as(&self) -> Option<&SignerName> {
        self.trusted_as.as_ref().map(|(name, _)| name)
    }

    /// How the signer came to be trusted.
    pub fn trust_decision(&self) -> TrustDecision {
        let entry = self.trusted_as.as_ref();
        TrustDecision::new(
            self.manifest.signer(),
            entry.map(|(name, file)| (name, &**file)),
        )
    }

    /// Where content comes from. The adversary owns it, and may change it at any moment.
    pub fn directory(&self) -> &Arc<LocalDirectory> {
        &self.directory
    }

    /// What lies in the directory, with the lengths that it claims.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// What is missing, of the wrong type, or there without being signed.
    pub fn name_differences(&self) -> Vec<Difference> {
        verify_names(&self.manifest, &self.scan, self.options.unsigned)
    }

    /// What is signed and was to be left out. A mount hides it and says so; a model without it
    /// isn't verified.
    pub fn left_out_differences(&self) -> Vec<Difference> {
        let left_out = self.manifest.left_out().iter().cloned();
        left_out.map(Difference::LeftOut).collect()
    }

    /// How many files are there that aren't signed.
    pub fn unsigned_files(&self) -> usize {
        let differences = verify_names(&self.manifest, &self.scan, Unsigned::Refuse);
        let is_unsigned = |it: &&Difference| matches!(it, Difference::Unsigned(_));
        differences.iter().filter(is_unsigned).count()
    }

    /// Who signed, with the name in the trust store where that decided.
    pub fn signer(&self) -> String {
        let signer = self.manifest.signer();
        match self.trusted_as() {
            Some(name) => format!("\"{name}\", {signer}"),
            None => signer.to_string(),
        }
    }

    /// Bytes of the signed files, as far as the directory tells.
    pub fn claimed_bytes(&self) -> u64 {
        let files = self.manifest.indexed();
        files
            .filter_map(|(index, file)| self.scan.len_of_signed(index, &file.name))
            .fold(0, u64::saturating_add)
    }
}

/// Logs that nothing has the name of a path to ignore.
#[doc(hidden)]
pub fn warn_of_absent(name: &FileName) {
    tracing::warn!(
        path = %name,
        "nothing in the model has this name, which is to be ignored (paths are exact: they have no \
         patterns)"
    );
}
