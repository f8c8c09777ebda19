//! Making a full pass over one file, for as long as it is wanted.
//!
//! Guarantees: a pass ends soon after no caller wants it any more, or the reader is stopped. It
//! reads nothing beyond a signed length, and begins again where another file has taken the name or
//! the length has changed: the right bytes may be back. A pass over a second place is made only
//! where the source has the file wrong, and held against the same digests. Doesn't: decide when
//! passes are made; `queue` does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Opening;
use super::at_hand::{Asked, AtHand};
use super::queue::{Progress, with_own_threads};
use crate::manifest::{FileIndex, ManifestFile};
use crate::reading::source::{FileIdentity, Source, SourceError, SourceFile};
use crate::reading::table::full_pass::{self, Observer};
use crate::reading::table::{ChunkTable, proof};
use crate::reading::violation::ReadError;

/// How often a pass looks whether it is still wanted, and whether the file is still there.
const CHECK: Duration = Duration::from_millis(100);

/// How often a pass begins again because the file was replaced.
const MAX_ATTEMPTS: u32 = 100;

impl Opening {
    /// Proves a file by hashing all of it; where the source has it wrong, or not at all, by what
    /// the second places have.
    pub(super) fn full_pass(
        &self,
        index: FileIndex,
        pass: u64,
        progress: &Progress,
    ) -> Result<ChunkTable, ReadError> {
        let over = |source| self.pass_over(source, index, pass, progress);
        let errors = match over(&*self.shared.source) {
            Err(errors) => errors,
            Ok(table) => return Ok(table),
        };
        let stopped = |errors: &[ReadError]| {
            let is_stopped = |it: &ReadError| matches!(it, ReadError::Stopped { .. });
            errors.iter().any(is_stopped)
        };
        if !stopped(&errors) {
            for place in &self.shared.places {
                // Its table, if it has one, spares the pass.
                let proved = match self.at_hand.prove_from(Asked::Place(place), index) {
                    Ok(AtHand::Table(table)) => Ok(table),
                    Ok(AtHand::Length(_) | AtHand::Nothing) => over(&*place.source),
                    Err(error) => Err(vec![error]),
                };
                match proved {
                    Ok(table) => {
                        if let Some(error) = errors.first() {
                            self.at_hand.tell_proof(&table, index, place, error);
                        }
                        return Ok(table);
                    }
                    Err(errors) if stopped(&errors) => return Err(self.shared.stopped(index)),
                    Err(_) => {}
                }
            }
        }
        let mut errors = errors.into_iter();
        let first = errors
            .next()
            .unwrap_or_else(|| self.shared.abandoned(index));
        // The first is reported as all errors are.
        errors.for_each(|error| self.shared.reports.report(&error));
        Err(first)
    }

    /// Proves a file by hashing all that `source` has of it. Begins again where another file has
    /// taken its place, or it has another length: the right bytes may be back.
    fn pass_over(
        &self,
        source: &dyn Source,
        index: FileIndex,
        pass: u64,
        progress: &Progress,
    ) -> Result<ChunkTable, Vec<ReadError>> {
        let file = self.shared.file(index);
        let unread = |error: SourceError| vec![self.at_hand.source_error(index, 0, error)];
        for _ in 0..MAX_ATTEMPTS {
            // A source may keep us waiting for that, too.
            progress.begins_read();
            let opened = source.open(&file.name);
            progress.ends_read();
            let opened = opened.map_err(unread)?;
            let claim = Claim::of(&*opened);
            let claim = claim.map_err(|error| unread(error.into()))?;
            let observer = PassObserver {
                opening: self,
                source,
                index,
                pass,
                progress,
                claim,
                checked: Mutex::new(Instant::now()),
                unwanted: AtomicBool::new(false),
                outdated: AtomicBool::new(false),
            };
            let proved = self.hash(file, &*opened, &observer);
            if proved.is_ok() {
                return proved;
            }
            // What differs from what was signed may no longer be what has the name.
            observer.check();
            if observer.is_ended() {
                return Err(vec![self.shared.stopped(index)]);
            }
            if !observer.outdated.load(Ordering::Relaxed) {
                return proved;
            }
        }
        let error = format!("it was replaced {MAX_ATTEMPTS} times while it was read");
        Err(unread(std::io::Error::other(error).into()))
    }

    /// Hashes a file and compares it with what was signed.
    fn hash(
        &self,
        file: &ManifestFile,
        source: &dyn SourceFile,
        observer: &PassObserver<'_>,
    ) -> Result<ChunkTable, Vec<ReadError>> {
        let bytes = observer.claim.len;
        observer.check();
        if observer.cancelled() {
            return Err(vec![self.shared.stopped(observer.index)]);
        }
        // Nothing has to be hashed to know that bytes are missing.
        if let Some(signed) = file.content.len().filter(|&signed| bytes < signed)
            && let Some(violation) = proof::length_violation(file, signed, bytes)
        {
            return Err(vec![violation.into()]);
        }
        tracing::info!(file = %file.name, bytes, "full pass: no chunk table is proved yet");
        let plan = proof::plan_of(&file.content);
        let len = plan.len.map_or(bytes, |signed| signed.min(bytes));
        observer.progress.begins(observer.index, len);
        let hash = || full_pass::hash_file(source, &plan, observer);
        let hashed = with_own_threads(len, observer.progress, hash).map_err(|error| {
            let error = error.into();
            vec![self.at_hand.source_error(observer.index, bytes, error)]
        })?;
        self.shared.counters.full_passes.add(1);
        proof::prove(file, hashed)
            .map_err(|violations| violations.into_iter().map(ReadError::from).collect())
    }
}

/// What a source says of the file that has a name: which one it is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    identity: Option<FileIdentity>,
    /// Bytes.
    len: u64,
}

impl Claim {
    fn of(file: &dyn SourceFile) -> std::io::Result<Self> {
        Ok(Self {
            identity: file.identity(),
            len: file.len()?,
        })
    }
}

/// Counts what a full pass does, and ends it when the reader stops, when no caller waits any more,
/// or when it reads what no longer has the file's name or length.
struct PassObserver<'a> {
    opening: &'a Opening,
    source: &'a dyn Source,
    index: FileIndex,
    pass: u64,
    progress: &'a Progress,
    claim: Claim,
    checked: Mutex<Instant>,
    unwanted: AtomicBool,
    outdated: AtomicBool,
}

impl PassObserver<'_> {
    fn check(&self) {
        if !self.opening.is_pass_wanted(self.index, self.pass) {
            self.unwanted.store(true, Ordering::Relaxed);
        }
        let name = &self.opening.shared.file(self.index).name;
        let now = self.source.open(name);
        // What can't be looked at may still be read.
        if let Ok(now) = now
            && let Ok(now) = Claim::of(&*now)
            && now != self.claim
        {
            self.outdated.store(true, Ordering::Relaxed);
        }
    }

    /// Whether no caller wants the pass any more, or the reader is stopped.
    fn is_ended(&self) -> bool {
        self.opening.shared.is_stopped() || self.unwanted.load(Ordering::Relaxed)
    }
}

impl Observer for PassObserver<'_> {
    fn hashed(&self, bytes: u64) {
        self.opening.shared.counters.full_pass_bytes.add(bytes);
        self.progress.hashed(bytes);
        // One of the hashing threads at a time, and not for each block.
        if let Ok(mut checked) = self.checked.try_lock()
            && checked.elapsed() >= CHECK
        {
            *checked = Instant::now();
            self.check();
        }
    }

    fn reads(&self, begins: bool) {
        if begins {
            self.progress.begins_read();
        } else {
            self.progress.ends_read();
        }
    }

    fn cancelled(&self) -> bool {
        self.is_ended() || self.outdated.load(Ordering::Relaxed)
    }
}
