//! The index store that a command uses.

use std::path::Path;

use model_fs::model::{StorePlace, open_store as open_place};
use model_fs::name::Escaped;
use model_fs::reading::TableStore;
use model_fs::reading::location::ModelLocation;

use crate::exit::Failure;
use crate::hints;

/// The index store: the one asked for, which must work, or the usual one, without which everything
/// works too.
pub(crate) fn open_store(
    asked_for: Option<&Path>,
    model: &ModelLocation,
) -> Result<Option<TableStore>, Failure> {
    let store = open_place(&place(asked_for), model)?;
    store.iter().for_each(warn_of_old_tables);
    Ok(store)
}

/// Where the store is that `--index-dir` asks for, or doesn't.
pub(crate) fn place(asked_for: Option<&Path>) -> StorePlace {
    asked_for.map_or(StorePlace::Usual, |path| StorePlace::At(path.to_owned()))
}

/// Says, once for each store, that there are tables that are no longer believed.
pub(crate) fn warn_of_old_tables(store: &TableStore) {
    if store.tells_of_old_tables() {
        tracing::warn!(
            store = %Escaped::path(store.directory()),
            "chunk tables of an earlier release are no longer believed, so files may be hashed \
             once more; {}",
            hints::OLD_TABLES
        );
    }
}
