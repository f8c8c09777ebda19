//! A model whose signature was verified, as every verb but `sign` and `inspect` begins.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use model_fs::files::{self, Directory, read_given};
use model_fs::manifest::{VerifiedManifest, VerifyWithStoreError};
use model_fs::name::{Escaped, FileName};
use model_fs::oms::certificate::{Anchors, Certificate};
use model_fs::oms::key::{MAX_PEM, PublicKey};
use model_fs::oms::sigstore::trusted_root::{MAX_TRUSTED_ROOT, TrustedRoot};
use model_fs::oms::trust::Trust;
use model_fs::oms::trust_store::{SignerName, TrustStore};
use model_fs::reading::check::{self, Unsigned};
use model_fs::reading::location::ModelLocation;
use model_fs::reading::{IndexStore, IndexStoreError, Links, LocalDirectory, Scan};

use super::trust::load_store;
use crate::cli::{self, IgnoreArgs, ModelArgs, TrustArgs};
use crate::exit::{Exit, Failure};

/// Failures listed for people; `verify --json` has more.
const LISTED: usize = 20;

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
                VerifiedManifest::verify(bundle, &trust, &location.shape())
                    .map_err(|error| Failure::new(Exit::Signature, error))?,
                None,
            ),
            Trusted::Store(store) => {
                // Of what was opened: what the path leads to by now is another question.
                let (manifest, name) = VerifiedManifest::verify_with_store(
                    bundle,
                    &store,
                    &location.resolved(),
                    &location.shape(),
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
    pub(crate) fn name_failures(&self) -> Vec<check::Failure> {
        check::check_names(&self.manifest, &self.scan, self.unsigned)
    }

    /// What is signed and was to be left out. A mount hides it and says so; a model without it isn't
    /// verified.
    pub(crate) fn left_out_failures(&self) -> Vec<check::Failure> {
        let left_out = self.manifest.left_out().iter().cloned();
        left_out.map(check::Failure::LeftOut).collect()
    }

    /// That every signed name is there, and no other.
    pub(crate) fn require_names(&self) -> Result<(), Failure> {
        let failures = self.name_failures();
        if failures.is_empty() {
            return Ok(());
        }
        let only_unsigned = failures
            .iter()
            .all(|failure| matches!(failure, check::Failure::Unsigned(_)));
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

    /// How many files are there that nobody signed.
    pub(crate) fn unsigned_files(&self) -> usize {
        check::check_names(&self.manifest, &self.scan, Unsigned::Refuse)
            .iter()
            .filter(|failure| matches!(failure, check::Failure::Unsigned(_)))
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
        let files = self.manifest.files().iter().enumerate();
        files
            .filter_map(|(index, file)| self.scan.len_of_signed(index, &file.name))
            .fold(0, u64::saturating_add)
    }
}

/// Bytes of some files of a scan.
pub(crate) fn total_bytes<'a>(scan: &Scan, names: impl Iterator<Item = &'a FileName>) -> u64 {
    names
        .filter_map(|name| scan.len_of(name))
        .fold(0, u64::saturating_add)
}

/// A number of files, in words.
pub(crate) fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

/// What some failures mean for the model.
pub(crate) fn verdict(failures: &[check::Failure]) -> &'static str {
    match exit_for(failures) {
        Exit::Content => "the model doesn't match its signature",
        _ => "could not read all of the model; nothing was found to be wrong so far",
    }
}

/// What is wrong, and the exit code for it.
pub(crate) fn content_failure(failures: &[check::Failure]) -> Failure {
    let exit = exit_for(failures);
    let mut message = verdict(failures).to_owned();
    for failure in failures.iter().take(LISTED) {
        message.push('\n');
        message.push_str(&failure.to_string());
    }
    if let Some(more) = failures.len().checked_sub(LISTED + 1) {
        let _ = write!(message, "\n… and {} more", more + 1);
    }
    let left_out = |failure: &check::Failure| matches!(failure, check::Failure::LeftOut(_));
    let hint = failures.iter().any(left_out).then(|| {
        "--ignore-paths leaves out what isn't signed; a mount may hide signed files, too".to_owned()
    });
    Failure::new(exit, anyhow::Error::msg(message)).with_hint(hint)
}

/// Exit code 4 needs content that was seen and is wrong: a disk or a permission in the way says
/// nothing about who changed what.
pub(crate) fn exit_for(failures: &[check::Failure]) -> Exit {
    let unreadable =
        |failure: &check::Failure| matches!(failure, check::Failure::Unreadable { .. });
    match failures {
        [] => Exit::Done,
        failures if failures.iter().all(unreadable) => Exit::Failed,
        _ => Exit::Content,
    }
}

/// Who decides whether a signature counts.
enum Trusted {
    Flags(Trust),
    Store(TrustStore),
}

/// The trust that the command line asks for.
fn load_trust(chosen: cli::Trust) -> Result<Trusted, Failure> {
    match chosen {
        cli::Trust::Store => Ok(Trusted::Store(load_store()?)),
        cli::Trust::PublicKey(path) => {
            let pem = read_pem(&path, "public key")?;
            let key = PublicKey::from_pem(&pem)
                .with_context(|| format!("public key {}", Escaped::path(&path)))?;
            Ok(Trusted::Flags(Trust::Key(key)))
        }
        cli::Trust::CertificateChain(paths) => {
            let mut certificates = Vec::new();
            for path in paths {
                let pem = read_pem(&path, "certificate")?;
                let read = Certificate::from_pem(&pem)
                    .with_context(|| format!("certificate {}", Escaped::path(&path)))?;
                certificates.extend(read);
            }
            let anchors = Anchors::new(certificates).map_err(anyhow::Error::new)?;
            Ok(Trusted::Flags(Trust::Certificate(anchors)))
        }
        cli::Trust::Identity {
            identity,
            provider,
            trust_config,
        } => {
            let trusted_root = match trust_config {
                None => TrustedRoot::public_good(),
                Some(path) => {
                    let context = || format!("trust configuration {}", Escaped::path(&path));
                    let json = read_given(&path, MAX_TRUSTED_ROOT).with_context(context)?;
                    TrustedRoot::from_json(&json).with_context(context)?
                }
            };
            Ok(Trusted::Flags(Trust::Sigstore {
                identity,
                identity_provider: provider,
                trusted_root,
            }))
        }
    }
}

/// Exit code 3: who signed, as claimed, why those whom it might be by don't vouch for it, and what
/// would trust them.
fn not_trusted(error: VerifyWithStoreError) -> Failure {
    match error {
        VerifyWithStoreError::Nobody { claim, refused } => {
            let hint = format!("to trust them: {}", claim.trust_command());
            let mut message = VerifyWithStoreError::Nobody {
                claim,
                refused: Vec::new(),
            }
            .to_string();
            for (name, error) in refused.iter().take(LISTED) {
                let _ = write!(message, "\nnot by \"{name}\": {error}");
            }
            Failure::new(Exit::Signature, anyhow::Error::msg(message)).with_hint(hint)
        }
        other => Failure::new(Exit::Signature, other),
    }
}

/// Reads a PEM file of bounded size.
pub(crate) fn read_pem(path: &Path, what: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let bytes =
        read_given(path, MAX_PEM).with_context(|| format!("{what} {}", Escaped::path(path)))?;
    Ok(zeroize::Zeroizing::new(bytes))
}

/// Nothing has the name of a path to ignore.
pub(crate) fn warn_of_absent(name: &FileName) {
    tracing::warn!(
        path = %name,
        "nothing in the model has this name, which is to be ignored (paths are exact: they have no patterns)"
    );
}

/// The index store: the one asked for, which must work, or the usual one, without which everything
/// works too.
pub(crate) fn open_store(
    asked_for: Option<&Path>,
    model: &ModelLocation,
) -> Result<Option<IndexStore>, Failure> {
    let usual = IndexStore::default_directory();
    // In the background, a relative path would mean another place.
    let directory = &std::path::absolute(asked_for.unwrap_or(&usual))?;
    let nearest = files::nearest(directory);
    // Whoever owns the model could delete or replace a store that lies in it. Nothing is made before
    // that is known.
    if let Ok((nearest, _)) = &nearest
        && model.contains(nearest)?
    {
        return Err(Failure::from(anyhow::anyhow!(
            "index store {} lies in the model that it is about",
            Escaped::path(directory)
        ))
        .with_hint("choose another directory with --index-dir".to_owned()));
    }
    let opened = nearest
        .and_then(|(nearest, missing)| make_all(nearest, &missing))
        .map_err(|error| IndexStoreError::Io {
            path: directory.clone(),
            error,
        })
        .and_then(IndexStore::open_in);
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) if asked_for.is_some() => Err(Failure::from(anyhow::Error::new(error))),
        Err(error) => {
            tracing::warn!(%error, "no index store: what is proved now is forgotten at the end");
            Ok(None)
        }
    }
}

/// Makes directories for their owner only, each in the one before.
fn make_all(nearest: Directory, missing: &[std::ffi::OsString]) -> std::io::Result<Directory> {
    missing
        .iter()
        .try_fold(nearest, |directory, name| directory.make(name, 0o700))
}
