//! The store of proved tables that goes with a model.
//!
//! Guarantees: none lies in the model that it is about, whose owner could delete or replace it;
//! that is known before anything is made. Doesn't: take a store for more than a help. Without the
//! usual one, everything works, and files are proved again.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::files::{self, Directory};
use crate::name::Escaped;
use crate::reading::location::ModelLocation;
use crate::reading::{TableStore, TableStoreError};

/// Where what was proved is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StorePlace {
    /// In [`TableStore::default_directory`]; nowhere if that can't be used, which is logged.
    #[default]
    Usual,
    /// In this directory, which must be usable.
    At(PathBuf),
    /// Only in memory.
    Memory,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It would lie in the model that it is about.
    #[error("index store {} lies in the model that it is about", Escaped::path(.0))]
    InModel(PathBuf),
    /// It can't be found out where it lies.
    #[error("index store {}: {error}", Escaped::path(path))]
    Place {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It can't be used.
    #[error(transparent)]
    Unusable(#[from] TableStoreError),
}

/// Opens the store for a model, making it where it doesn't exist.
///
/// # Errors
/// [`StoreError`].
pub fn open_store(
    place: &StorePlace,
    model: &ModelLocation,
) -> Result<Option<TableStore>, StoreError> {
    let path = match place {
        StorePlace::Usual => TableStore::default_directory(),
        StorePlace::At(path) => path.clone(),
        StorePlace::Memory => return Ok(None),
    };
    // A process that goes into the background changes its directory.
    let path = std::path::absolute(&path).map_err(|error| StoreError::Place { path, error })?;
    let nearest = files::nearest(&path);
    if let Ok((nearest, _)) = &nearest {
        match model.contains(nearest) {
            Ok(false) => {}
            Ok(true) => return Err(StoreError::InModel(path)),
            Err(error) => return Err(StoreError::Place { path, error }),
        }
    }
    let opened = nearest
        .and_then(|(nearest, missing)| make_all(nearest, &missing))
        .map_err(|error| TableStoreError::Io { path, error })
        .and_then(TableStore::open_in);
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) if *place == StorePlace::Usual => {
            tracing::warn!(%error, "no index store: this model will be hashed again next time");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes directories for their owner only, each in the one before.
fn make_all(nearest: Directory, missing: &[OsString]) -> io::Result<Directory> {
    missing
        .iter()
        .try_fold(nearest, |directory, name| directory.make(name, 0o700))
}
