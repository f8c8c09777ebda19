//! Getting a chunk that failed after all: by a second read, or from a second place.
//!
//! Guarantees: what is had that way is verified as any other chunk, by the same digest and the same
//! constructor, so a place that lies changes nothing. A chunk that fails is read once more, past
//! what is kept in memory, from the file that has the name now: the one that is held may have been
//! replaced by a good copy, or be a stale handle of a network file system. If it is the same file
//! and now has the signed bytes, that was an error of the transfer, and is told as one. Then each
//! second place is asked, and what it gives is told as repaired. Doesn't: write anything anywhere,
//! or report what fails for good.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::FileChunks;
use crate::chunk::{ChunkIndex, Run};
use crate::reading::chunk::VerifiedBytes;
use crate::reading::reports::{RecoveredBy, Recovery};
use crate::reading::source::{Caching, SourceFile};
use crate::reading::violation::ReadError;
use crate::sync::{read, write};

type Verified = Result<VerifiedBytes, ReadError>;

/// What is said where the bytes were in memory, and a waiting read found others.
const IN_MEMORY: &str = "what the source had in memory isn't what was signed";

impl FileChunks {
    /// Puts into `results`, those of `run`, what can be had of the chunks that failed.
    pub(super) fn recover(&self, run: Run, results: &mut [Verified]) {
        self.read_again(run, results);
        self.repair(run, results);
    }

    /// Reads each failing chunk once more. A source that couldn't be read isn't asked again unless
    /// it can be opened anew.
    fn read_again(&self, run: Run, results: &mut [Verified]) {
        let held = Arc::clone(&read(&self.held));
        let fresh = self.shared.source.open(&self.shared.file(self.index).name);
        let fresh = fresh.ok();
        let is_same = fresh.as_ref().is_none_or(|fresh| is_same(&**fresh, &*held));
        // What another file has in memory is no worse than what it has on disk.
        let caching = if is_same {
            Caching::Renew
        } else {
            Caching::Drop
        };
        let source = fresh.as_ref().unwrap_or(&held);
        for (chunk, result) in run.iter().zip(results) {
            let Err(error) = result else { continue };
            let is_violation = matches!(error, ReadError::Violation(_));
            if fresh.is_none() && !is_violation {
                continue;
            }
            let again = self.verify_from(&**source, Run::of(chunk), caching).pop();
            if let Some(Ok(bytes)) = again {
                if is_same && is_violation {
                    self.tell(chunk, RecoveredBy::SecondRead, &error.reason());
                }
                *result = Ok(bytes);
                *write(&self.held) = Arc::clone(source);
            }
        }
    }

    /// Asks the second places for what still fails, until one has it.
    fn repair(&self, run: Run, results: &mut [Verified]) {
        let first = run.first().get();
        for place in &self.shared.places {
            let failing = run.iter().zip(&*results).filter(|(_, it)| it.is_err());
            let failing: Vec<ChunkIndex> = failing.map(|(chunk, _)| chunk).collect();
            if failing.is_empty() {
                return;
            }
            let Ok(file) = place.source.open(&self.shared.file(self.index).name) else {
                continue;
            };
            for run in self.runs(failing) {
                let there = self.verify_from(&*file, run, Caching::Drop);
                for (chunk, found) in run.iter().zip(there) {
                    let slot = usize::try_from(chunk.get() - first).ok();
                    let result = slot.and_then(|slot| results.get_mut(slot));
                    if let (Some(result), Ok(bytes)) = (result, found)
                        && let Err(error) = &*result
                    {
                        let by = RecoveredBy::Place(place.name.clone());
                        self.tell(chunk, by, &error.reason());
                        *result = Ok(bytes);
                    }
                }
            }
        }
    }

    /// Notes that the source has other bytes in memory than were signed, in the chunk at `offset`.
    /// A read that waits finds out what is the matter.
    pub(super) fn note_suspect(&self, offset: u64) {
        let chunk = self.chunks().spanning(offset, 1).first().get();
        self.suspect.store(chunk + 1, Ordering::Relaxed);
    }

    /// Tells of a transfer error if a waiting read has found right what wasn't, in memory.
    pub(super) fn clear_suspect(&self, run: Run, results: &[Verified]) {
        let suspect = self.suspect.load(Ordering::Relaxed);
        if suspect == 0 {
            return;
        }
        let relaxed = Ordering::Relaxed;
        for (chunk, result) in run.iter().zip(results) {
            let is_it = chunk.get() + 1 == suspect;
            let take = || self.suspect.compare_exchange(suspect, 0, relaxed, relaxed);
            if is_it && take().is_ok() && result.is_ok() {
                self.tell(chunk, RecoveredBy::SecondRead, IN_MEMORY);
            }
        }
    }

    fn tell(&self, chunk: ChunkIndex, by: RecoveredBy, reason: &str) {
        self.shared.reports.recoveries.record(&Recovery {
            file: self.shared.file(self.index).name.clone(),
            range: self.chunks().range(chunk),
            by,
            reason: reason.to_owned(),
        });
    }
}

/// Whether these are one file. Where the source doesn't tell, they are taken for one: better an
/// event too many.
fn is_same(a: &dyn SourceFile, b: &dyn SourceFile) -> bool {
    a.identity() == b.identity()
}
