//! The index store that a command uses.

use std::path::Path;

use model_fs::files::{self, Directory};
use model_fs::name::Escaped;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::{TableStore, TableStoreError};

use crate::exit::Failure;
use crate::hints;

/// The index store: the one asked for, which must work, or the usual one, without which everything
/// works too.
pub(crate) fn open_store(
    asked_for: Option<&Path>,
    model: &ModelLocation,
) -> Result<Option<TableStore>, Failure> {
    let usual = TableStore::default_directory();
    // In the background, a relative path would mean another place.
    let directory = &std::path::absolute(asked_for.unwrap_or(&usual))?;
    let nearest = files::nearest(directory);
    // The model's owner could delete or replace a store that lies in it. Nothing is made before
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
        .map_err(|error| TableStoreError::Io {
            path: directory.clone(),
            error,
        })
        .and_then(TableStore::open_in);
    match opened {
        Ok(store) => {
            if store.newly_outdated() {
                tracing::warn!(
                    store = %Escaped::path(store.directory()),
                    "chunk tables of an earlier release are no longer believed, so files may be \
                     hashed once more; {}",
                    hints::OLD_TABLES
                );
            }
            Ok(Some(store))
        }
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
