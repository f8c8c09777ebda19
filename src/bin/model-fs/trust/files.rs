//! The files of the trust store.

use std::path::{Path, PathBuf};

use model_fs::oms::trust_store::{SYSTEM_FILE, TrustStore};

use crate::exit::Failure;

/// The files of the store that decides where the command line says nothing.
pub(crate) struct Files {
    /// `None` for a user without a home.
    pub(crate) user: Option<PathBuf>,
    pub(crate) system: PathBuf,
}

impl Files {
    /// Those of the user who runs this, and of the system.
    pub(crate) fn of_the_user() -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let (config, home) = (variable("XDG_CONFIG_HOME"), variable("HOME"));
        Self {
            user: TrustStore::user_file(config.as_deref(), home.as_deref()),
            system: SYSTEM_FILE.into(),
        }
    }

    /// What both say: the user's file first, then the system's.
    pub(crate) fn load(&self) -> Result<TrustStore, Failure> {
        let files = self.user.iter().chain([&self.system]);
        Ok(TrustStore::load(files)?)
    }

    /// The file that a change is made in.
    pub(crate) fn changed(&self, system: bool) -> Result<&Path, Failure> {
        if system {
            return Ok(&self.system);
        }
        self.user.as_deref().ok_or_else(|| {
            Failure::from(anyhow::anyhow!(
                "HOME isn't set, so the trust store has no place"
            ))
            .with_hint("set HOME, or change the system's with --system".to_owned())
        })
    }
}
