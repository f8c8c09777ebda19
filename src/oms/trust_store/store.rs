//! The trusted signers of several files together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::TrustStoreError;
use super::parse::{self, Entry};
use super::signer::{SignerName, TrustedSigner};

/// The system's file, after the user's own.
pub const SYSTEM_FILE: &str = "/etc/model-fs/trust.toml";

/// Who may sign; see the [module](super).
#[derive(Debug, Clone, Default)]
pub struct TrustStore {
    signers: Vec<TrustedSigner>,
    distrusted: Vec<Distrusted>,
    hidden: Vec<Hidden>,
}

/// A name that a file distrusts.
#[derive(Debug, Clone)]
pub struct Distrusted {
    /// The name.
    pub name: SignerName,
    /// The file that says so.
    pub file: Arc<Path>,
}

/// A signer that doesn't count, for an earlier file has its name.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// The signer.
    pub signer: TrustedSigner,
    /// The file that hides it.
    pub by: Arc<Path>,
}

impl TrustStore {
    /// Reads files. Where two have a signer of the same name, the earlier one's counts and hides
    /// the later: so a user can narrow, replace or distrust what the system trusts.
    ///
    /// # Errors
    /// [`TrustStoreError`] if a file is there and can't be relied on, or is malformed.
    pub fn load<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, TrustStoreError> {
        let mut store = Self::default();
        let mut taken: BTreeMap<SignerName, Arc<Path>> = BTreeMap::new();
        for path in paths {
            let file: Arc<Path> = path.as_ref().into();
            for entry in parse::read(&file)? {
                let before = taken.get(entry.name()).cloned();
                match (before, entry) {
                    (Some(by), Entry::Trusted(signer)) => {
                        let signer = *signer;
                        store.hidden.push(Hidden { signer, by });
                    }
                    (Some(_), Entry::Distrusted(_)) => {}
                    (None, Entry::Trusted(signer)) => {
                        taken.insert(signer.name().clone(), file.clone());
                        store.signers.push(*signer);
                    }
                    (None, Entry::Distrusted(name)) => {
                        taken.insert(name.clone(), file.clone());
                        let file = file.clone();
                        store.distrusted.push(Distrusted { name, file });
                    }
                }
            }
        }
        Ok(store)
    }

    /// The names that are distrusted.
    pub fn distrusted(&self) -> &[Distrusted] {
        &self.distrusted
    }

    /// The signers that don't count, for an earlier file trusts or distrusts their names.
    pub fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// The user's file: `$XDG_CONFIG_HOME/model-fs/trust.toml`, or in `$HOME/.config` where that is
    /// not set. Takes the values of the two variables; those that aren't absolute paths don't count
    /// (XDG Base Directory Specification).
    pub fn user_file(config_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
        config_home
            .filter(|path| path.is_absolute())
            .map(Path::to_owned)
            .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".config")))
            .map(|folder| folder.join("model-fs/trust.toml"))
    }

    /// The signers, in the order of the files and by name in each.
    pub fn signers(&self) -> impl Iterator<Item = &TrustedSigner> {
        self.signers.iter()
    }

    /// Whether it trusts no signer.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }
}
