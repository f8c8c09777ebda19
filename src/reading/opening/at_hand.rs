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
use crate::reading::fetch::{RepairPlace, Shared};
use crate::reading::reports::{RecoveredBy, Recovery};
use crate::reading::source::{Caching, SourceError, SourceFile};
use crate::reading::table::{Candidate, ChunkTable, ProvedLength, TableStore, shipped};
use crate::reading::violation::ReadError;

/// What was found at hand.
pub(super) enum AtHand {
    Table(ChunkTable),
    Length(ProvedLength),
    /// Only a full pass can tell.
    Nothing,
}

/// Where a proof is looked for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// In the source.
    Source,
    /// There once more, past what may be wrong in memory.
    SourceAgain,
    /// In a second place.
    Place(&'a RepairPlace),
}

/// Proves files of a model without reading all of any.
pub(super) struct AtHandProver {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Option<Arc<TableStore>>,
}

impl AtHandProver {
    /// Proves a file, or if that suffices its length, without reading all of it, if that is
    /// possible. Where the source has it wrong, or not at all, it is read once more, and then the
    /// second places are asked.
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
        let error = match self.prove_from(Asked::Source, index) {
            Err(error) => error,
            found => return found,
        };
        if matches!(error, ReadError::Violation(_))
            && let Ok(AtHand::Table(table)) = self.prove_from(Asked::SourceAgain, index)
        {
            self.shared.reports.recoveries.record(&Recovery {
                file: file.name.clone(),
                range: table.chunks().range(table.chunks().last()),
                by: RecoveredBy::SecondRead,
                reason: error.reason(),
            });
            return Ok(AtHand::Table(table));
        }
        let mut takes_pass = false;
        for place in &self.shared.places {
            match self.prove_from(Asked::Place(place), index) {
                Ok(AtHand::Table(table)) => {
                    self.tell_proof(&table, index, place, &error);
                    return Ok(AtHand::Table(table));
                }
                Ok(AtHand::Length(_)) | Err(_) => {}
                Ok(AtHand::Nothing) => takes_pass = true,
            }
        }
        if takes_pass {
            Ok(AtHand::Nothing)
        } else {
            Err(error)
        }
    }

    /// Proves a file by what one source has of it and beside it.
    pub(super) fn prove_from(
        &self,
        asked: Asked<'_>,
        index: FileIndex,
    ) -> Result<AtHand, ReadError> {
        let source = match asked {
            Asked::Source | Asked::SourceAgain => &*self.shared.source,
            Asked::Place(place) => &*place.source,
        };
        let file = self.shared.file(index);
        let opened = source.open(&file.name);
        let opened = opened.map_err(|error| self.source_error(index, 0, error))?;
        let claimed = opened
            .len()
            .map_err(|error| self.source_error(index, 0, error.into()))?;
        if let Some(candidate) = Candidate::whole(&file.content, claimed) {
            return self
                .prove_length(index, candidate, &*opened, asked)
                .map(AtHand::Table);
        }
        let load = || shipped::load(source, &file.content, claimed);
        let Some(candidate) = load() else {
            return Ok(AtHand::Nothing);
        };
        let is_signed = file.content.len().is_some();
        if is_signed && self.store.is_none() {
            let believed = candidate.believe_signed_length();
            return Ok(believed.map_or(AtHand::Nothing, AtHand::Table));
        }
        // Where the length is signed, this is for the store alone, which keeps what was seen.
        if let Ok(table) = self.prove_length(index, candidate, &*opened, asked) {
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

    /// Proves a claimed length by verifying the last chunk, which is kept: it is about to be
    /// read.
    fn prove_length(
        &self,
        index: FileIndex,
        candidate: Candidate,
        source: &dyn SourceFile,
        asked: Asked<'_>,
    ) -> Result<ChunkTable, ReadError> {
        let shared = &self.shared;
        let chunk = candidate.digests().chunks().last();
        let file = shared.file(index);
        let caching = match asked {
            Asked::Source | Asked::Place(_) => Caching::Drop,
            Asked::SourceAgain => Caching::Renew,
        };
        let (table, bytes) =
            last_chunk::prove_length(file, candidate, source, caching, &shared.buffers)?;
        shared.counters.source_bytes.add(bytes.len() as u64);
        shared.counters.verified_bytes.add(bytes.len() as u64);
        shared.counters.verified_chunks.add(1);
        // Whether the source has what a second place has is found out, and told, when it is read.
        if !matches!(asked, Asked::Place(_)) {
            shared.cache.insert(Key { file: index, chunk }, bytes, 0);
        }
        Ok(table)
    }

    /// Tells that a second place proved a file. Its chunks are another matter: each is read from
    /// the source first.
    pub(super) fn tell_proof(
        &self,
        table: &ChunkTable,
        index: FileIndex,
        place: &RepairPlace,
        error: &ReadError,
    ) {
        self.shared.reports.recoveries.record_proof(&Recovery {
            file: self.shared.file(index).name.clone(),
            range: 0..table.len(),
            by: RecoveredBy::Place(place.name.clone()),
            reason: error.reason(),
        });
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
