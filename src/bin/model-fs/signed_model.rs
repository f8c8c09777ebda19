//! A model whose signature was verified, as every verb but `sign` and `inspect` begins.

use std::sync::Arc;

use model_fs::manifest::VerifiedManifest;
use model_fs::name::{Escaped, FileName};
use model_fs::oms::trust_store::SignerName;
use model_fs::reading::whole::verify::{self, Unsigned};
use model_fs::reading::location::ModelLocation;
use model_fs::reading::{Links, LocalDirectory, Scan};

use crate::args::{IgnoreArgs, ModelArgs, TrustArgs};
use crate::exit::Failure;
use crate::findings::content_failure;
use crate::trust::{Trusted, load_trust, not_trusted};

/// Hidden files named in a status, which is of limited size.
const HIDDEN_NAMED: usize = 8;

/// A model with a good signature, and what lies in its directory.
pub(crate) struct SignedModel {
    pub(crate) location: ModelLocation,
    pub(crate) manifest: Arc<VerifiedManifest>,
    /// The signer's name in the trust store, where that decided.
    pub(crate) trusted_as: Option<SignerName>,
    pub(crate) directory: Arc<LocalDirectory>,
    pub(crate) scan: Scan,
    /// What to make of files that aren't signed.
    pub(crate) unsigned: Unsigned,
}

impl SignedModel {
    /// Verifies the signature and lists the directory. Reads no content.
    pub(crate) fn open(
        model: &ModelArgs,
        ignore: &IgnoreArgs,
        trust: TrustArgs,
    ) -> Result<Self, Failure> {
        let location = ModelLocation::find(&model.model, model.signature.as_deref())?;
        let ignored = location.ignored(&ignore.ignore_paths)?;
        // Before the signature is read: it may be large.
        let trust = load_trust(trust.chosen())?;
        let bundle = location.read_signature()?;
        let (manifest, trusted_as) = match trust {
            Trusted::Flags(trust) => (
                VerifiedManifest::verify(bundle, &trust, location.shape())?,
                None,
            ),
            Trusted::Store(store) => {
                // Of what was opened: what the path leads to by now is another question.
                let (manifest, name) = VerifiedManifest::verify_with_store(
                    bundle,
                    &store,
                    &location.resolved(),
                    location.shape(),
                )
                .map_err(not_trusted)?;
                (manifest, Some(name))
            }
        };
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
            unsigned: if ignore.ignore_unsigned_files {
                Unsigned::Ignore
            } else {
                Unsigned::Refuse
            },
        })
    }

    /// What is missing, of the wrong type, or there without being signed.
    pub(crate) fn name_failures(&self) -> Vec<verify::Difference> {
        verify::verify_names(&self.manifest, &self.scan, self.unsigned)
    }

    /// What is signed and was to be left out. A mount hides it and says so; a model without it
    /// isn't verified.
    pub(crate) fn left_out_failures(&self) -> Vec<verify::Difference> {
        let left_out = self.manifest.left_out().iter().cloned();
        left_out.map(verify::Difference::LeftOut).collect()
    }

    /// That every signed name is there, and no other.
    pub(crate) fn require_names(&self) -> Result<(), Failure> {
        let failures = self.name_failures();
        if failures.is_empty() {
            return Ok(());
        }
        let only_unsigned = failures
            .iter()
            .all(|failure| matches!(failure, verify::Difference::Unsigned(_)));
        let hint = only_unsigned.then(|| {
            "remove these files, or leave them out with --ignore-paths or --ignore-unsigned-files"
                .to_owned()
        });
        Err(content_failure(&failures).with_hint(hint))
    }

    /// The first of the signed files that are left out, for messages.
    pub(crate) fn hidden_names(&self) -> Vec<String> {
        let left_out = self.manifest.left_out().iter().take(HIDDEN_NAMED);
        left_out
            .map(|name| Escaped::bounded(name.as_str()).to_string())
            .collect()
    }

    /// How many files are there that aren't signed.
    pub(crate) fn unsigned_files(&self) -> usize {
        verify::verify_names(&self.manifest, &self.scan, Unsigned::Refuse)
            .iter()
            .filter(|failure| matches!(failure, verify::Difference::Unsigned(_)))
            .count()
    }

    /// Who signed, by the name in the trust store too where that decided.
    pub(crate) fn signer(&self) -> String {
        let signer = self.manifest.signer();
        match &self.trusted_as {
            Some(name) => format!("\"{name}\", {signer}"),
            None => signer.to_string(),
        }
    }

    /// Bytes of the signed files, as far as the directory tells.
    pub(crate) fn claimed_bytes(&self) -> u64 {
        let files = self.manifest.indexed();
        files
            .filter_map(|(index, file)| self.scan.len_of_signed(index, &file.name))
            .fold(0, u64::saturating_add)
    }
}

/// Nothing has the name of a path to ignore.
pub(crate) fn warn_of_absent(name: &FileName) {
    tracing::warn!(
        path = %name,
        "nothing in the model has this name, which is to be ignored (paths are exact: they have no \
         patterns)"
    );
}
