//! Where chunk tables go that fall out of hashing: the index store of this host, and the model
//! itself.

use model_fs::files::Directory;
use model_fs::manifest::Manifest;
use model_fs::name::Escaped;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::table::shipped;
use model_fs::reading::{ChunkTable, TableStore};

use crate::exit::Failure;

/// Where they go.
pub(crate) struct Tables<'a> {
    store: Option<TableStore>,
    ship_to: Option<&'a Directory>,
}

impl<'a> Tables<'a> {
    /// Into a store, and into the model where they are to be shipped with it and can be.
    pub(crate) fn new(
        store: Option<TableStore>,
        location: &'a ModelLocation,
        ship: bool,
    ) -> Result<Self, Failure> {
        let ship_to = if ship { shelf(location)? } else { None };
        Ok(Self { store, ship_to })
    }

    /// Writes one. A store without room is no failure, a model without room is.
    pub(crate) fn keep(&self, table: &ChunkTable) -> std::io::Result<()> {
        if let Some(store) = &self.store
            && let Err(error) = store.save(table)
        {
            tracing::warn!(%error, "chunk table not kept on this host");
        }
        match self.ship_to {
            Some(root) => shipped::save(root, table),
            None => Ok(()),
        }
    }

    /// Removes those of an earlier state of the model, which nothing refers to any more.
    pub(crate) fn remove_others(&self, location: &ModelLocation, manifest: &Manifest) {
        // Beside a single file are the tables of others.
        if let Some(root) = self.ship_to
            && !location.shape().is_single_file()
            && let Err(error) = shipped::remove_others(root, manifest)
        {
            tracing::warn!(%error, "old chunk tables in {} stay", shipped::DIRECTORY);
        }
    }
}

/// Where tables that travel with the model go, if they can be written there.
fn shelf(location: &ModelLocation) -> Result<Option<&Directory>, Failure> {
    match shipped::check(location.directory()) {
        Ok(()) => Ok(Some(location.directory())),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let path = location.root().join(shipped::DIRECTORY);
            let error = anyhow::Error::new(error).context(Escaped::path(&path).to_string());
            Err(Failure::from(error).with_hint(
                "chunk tables are written there: take it away, or sign with --no-tables".to_owned(),
            ))
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "chunk tables can't be written into the model: other hosts will read all of it \
                 once before they can mount it lazily"
            );
            Ok(None)
        }
    }
}
