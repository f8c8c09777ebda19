//! Proving a file without reading all of it.
//!
//! Guarantees: in this order, a file is proved by its signature, by a table of the store, by being
//! small enough to be its own proof, or by a table that is shipped with the model. A binding of the
//! store is for content too large to be checked directly, so it never takes the place of a direct
//! check that fails. At most one chunk and the file's table are read. Doesn't: make a full pass.

use std::sync::Arc;

use super::last_chunk;
use crate::manifest::FileIndex;
use crate::name::Escaped;
use crate::reading::chunk::Key;
use crate::reading::fetch::Shared;
use crate::reading::source::{SourceError, SourceFile};
use crate::reading::table::{Candidate, ChunkTable, ProvedLength, TableStore, shipped};
use crate::reading::violation::ReadError;

/// What was found at hand.
pub(super) enum AtHand {
    Table(ChunkTable),
    Length(ProvedLength),
    /// Only a full pass can tell.
    Nothing,
}

/// Proves files of a model without reading all of any.
pub(super) struct AtHandProver {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Option<Arc<TableStore>>,
}

impl AtHandProver {
    /// Proves a file, or if that suffices its length, without reading all of it, if that is
    /// possible.
    pub(super) fn prove(&self, index: FileIndex, wants_table: bool) -> Result<AtHand, ReadError> {
        let file = self.shared.file(index);
        if let Some(table) = ChunkTable::of_signed(&file.content) {
            return Ok(AtHand::Table(table));
        }
        if let Some(store) = &self.store {
            let bound = if wants_table {
                store.load(&file.content).map(AtHand::Table)
            } else {
                store.proved_len(&file.content).map(AtHand::Length)
            };
            if let Some(found) = bound {
                return Ok(found);
            }
        }
        let source = self.shared.source.open(&file.name);
        let source = source.map_err(|error| self.source_error(index, 0, error))?;
        let claimed = source
            .len()
            .map_err(|error| self.source_error(index, 0, error.into()))?;
        if let Some(candidate) = Candidate::whole(&file.content, claimed) {
            return self
                .prove_length(index, candidate, &*source)
                .map(AtHand::Table);
        }
        let load = || shipped::load(&*self.shared.source, &file.content, claimed);
        let Some(candidate) = load() else {
            return Ok(AtHand::Nothing);
        };
        let is_signed = file.content.len().is_some();
        if is_signed && self.store.is_none() {
            let believed = candidate.believe_signed_length();
            return Ok(believed.map_or(AtHand::Nothing, AtHand::Table));
        }
        // Where the length is signed, this is for the store alone, which keeps what was seen.
        if let Ok(table) = self.prove_length(index, candidate, &*source) {
            self.save(&table);
            return Ok(AtHand::Table(table));
        }
        let signed = is_signed.then(load).flatten();
        let believed = signed.and_then(Candidate::believe_signed_length);
        Ok(believed.map_or(AtHand::Nothing, AtHand::Table))
    }

    /// Whether the table of a file, whose length was signed, can be had without a full pass, as far
    /// as headers tell. The file itself isn't opened.
    pub(super) fn is_announced(&self, index: FileIndex) -> bool {
        let content = &self.shared.file(index).content;
        ChunkTable::of_signed(content).is_some()
            || self.store.as_ref().is_some_and(|store| store.has(content))
            || shipped::is_announced(&*self.shared.source, content)
    }

    /// Proves a claimed length by verifying the last chunk, which is kept: it is about to be read.
    fn prove_length(
        &self,
        index: FileIndex,
        candidate: Candidate,
        source: &dyn SourceFile,
    ) -> Result<ChunkTable, ReadError> {
        let shared = &self.shared;
        let chunk = candidate.digests().chunks().last();
        let (table, bytes) =
            last_chunk::prove_length(self.shared.file(index), candidate, source, &shared.buffers)?;
        shared.counters.source_bytes.add(bytes.len() as u64);
        shared.counters.verified_bytes.add(bytes.len() as u64);
        shared.cache.insert(Key { file: index, chunk }, bytes, 0);
        Ok(table)
    }

    /// Keeps a table for the next reader. Doing without is slower and no less safe.
    pub(super) fn save(&self, table: &ChunkTable) {
        if let Some(store) = &self.store
            && let Err(error) = store.save(table)
        {
            self.shared.counters.unkept_tables.add(1);
            let path = Escaped::path(store.directory());
            tracing::warn!(
                %path,
                %error,
                "chunk table not kept: the next mount will prove it again"
            );
        }
    }

    /// What a source said, of bytes before `end`.
    pub(super) fn source_error(&self, index: FileIndex, end: u64, error: SourceError) -> ReadError {
        ReadError::Source {
            file: self.shared.file(index).name.clone(),
            range: 0..end,
            error,
        }
    }
}
