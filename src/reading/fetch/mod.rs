//! Fetching: from a range of a file that is asked for to verified bytes.
//!
//! Guarantees: what is given is all of what was asked for, and the signed bytes; a chunk that
//! several threads ask for at a time is verified once. A read that may wait for its source and one
//! that may not are the same steps: look in the cache, claim what no other thread is verifying,
//! verify that, keep it and hand it out. Doesn't: read ahead, or say which errors are told;
//! [`FileChunks::read`] tells those of reads that may wait.

mod recover;
mod shared;
mod verify;

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

pub use self::shared::RepairPlace;
pub(super) use self::shared::Shared;
use super::chunk::{Claims, Key, VerifiedBytes};
use super::source::SourceFile;
use super::table::ChunkTable;
use super::violation::ReadError;
use crate::chunk::{ChunkIndex, Chunks, Run};
use crate::manifest::FileIndex;

/// Most bytes that one read asks of the source: a request of the kernel is at most 1 MiB unless an
/// administrator raised the limit, and may touch two more chunks.
const MAX_RUN: u64 = 4 << 20;

/// Most bytes that are read and verified on a thread that may not wait: about a millisecond of
/// SHA-256.
const MAX_NOW: u64 = 2 << 20;

/// Whether a read may wait for its source, and for other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only what is in the cache, or what the source has in memory.
    No,
    /// As long as it takes.
    Yes,
}

/// A range of a file that is asked for, cut at the end of the file, and the chunks that hold it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) range: Range<u64>,
    pub(super) run: Run,
}

impl Request {
    /// For `len` bytes from `offset`; `None` where there are none, at the end or beyond it.
    pub(super) fn new(chunks: &Chunks, offset: u64, len: usize) -> Option<Self> {
        let run = chunks.spanning(offset, len as u64);
        let end = offset.saturating_add(len as u64).min(chunks.file_len());
        (!run.is_empty()).then_some(Self {
            range: offset..end,
            run,
        })
    }

    /// Bytes asked for.
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What a read got.
pub(super) struct Answer {
    pub(super) bytes: VerifiedBytes,
    /// All of it was in the cache.
    pub(super) from_cache: bool,
}

/// Why a read got nothing.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Another thread is verifying some of it, which would have to be waited for.
    Underway,
    /// The source would have to be waited for; or something isn't as it should be, which a read
    /// that may wait finds out.
    NotNow,
    /// It can't be had.
    Failed(ReadError),
}

/// The chunks of one open file.
pub(super) struct FileChunks {
    index: FileIndex,
    table: Arc<ChunkTable>,
    /// Replaced when the file turns out to have been replaced beneath its name.
    held: RwLock<Arc<dyn SourceFile>>,
    /// One more than the chunk of which the source last had other bytes in memory; zero for none.
    suspect: AtomicU64,
    shared: Arc<Shared>,
}

impl FileChunks {
    pub(super) fn new(
        index: FileIndex,
        table: Arc<ChunkTable>,
        source: Arc<dyn SourceFile>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            index,
            table,
            held: RwLock::new(source),
            suspect: AtomicU64::new(0),
            shared,
        }
    }

    /// The position of the file in the manifest.
    pub(super) fn index(&self) -> FileIndex {
        self.index
    }

    /// The digests it is verified with.
    pub(super) fn table(&self) -> &ChunkTable {
        &self.table
    }

    /// How the file is cut.
    pub(super) fn chunks(&self) -> &Chunks {
        self.table.chunks()
    }

    /// What all files share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What the cache calls a chunk.
    pub(super) fn key(&self, chunk: ChunkIndex) -> Key {
        Key {
            file: self.index,
            chunk,
        }
    }

    /// Claims those of some chunks that no other thread is verifying.
    pub(super) fn claim(&self, chunks: impl Iterator<Item = ChunkIndex>) -> Claims<'_> {
        let keys = chunks.map(|chunk| self.key(chunk));
        let abandoned = self.shared.abandoned(self.index);
        self.shared.in_flight.claim(keys, abandoned)
    }

    /// Groups chunks into runs to read at once.
    pub(super) fn runs(&self, chunks: Vec<ChunkIndex>) -> Vec<Run> {
        let longest = (MAX_RUN / self.chunks().size()).max(1);
        Run::group(chunks, longest)
    }

    /// The part of a chunk that lies in `range`, counted from the start of the chunk.
    pub(super) fn part_of(&self, chunk: ChunkIndex, range: &Range<u64>) -> Range<usize> {
        let chunk = self.chunks().range(chunk);
        let start = range.start.max(chunk.start) - chunk.start;
        let end = range.end.min(chunk.end) - chunk.start;
        // Within a chunk, so within memory.
        usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)
    }

    /// The verified bytes of `request`, all of them.
    ///
    /// # Errors
    /// [`NoAnswer`]; with [`Wait::Yes`] only [`NoAnswer::Failed`], and then each error of its
    /// chunks was reported.
    pub(super) fn read(&self, request: &Request, wait: Wait) -> Result<Answer, NoAnswer> {
        if self.shared.is_stopped() {
            return Err(NoAnswer::Failed(self.shared.stopped(self.index)));
        }
        let bytes = self.chunks().bytes(request.run);
        if wait == Wait::No && bytes.end - bytes.start > MAX_NOW {
            return Err(NoAnswer::NotNow);
        }
        let cache = &self.shared.cache;
        let mut gathered = Gathered::new(request.run);
        for chunk in request.run.iter() {
            if let Some(bytes) = cache.peek(self.key(chunk)) {
                gathered.put(chunk, Found::Cached(bytes));
            }
        }
        let from_cache = gathered.is_complete();
        if from_cache {
            self.shared.counters.cache_hits.add(1);
        }
        // Again only for what another thread gave up, and then it is ours to claim.
        while !gathered.is_complete() {
            let mut claims = self.claim(gathered.missing());
            if wait == Wait::No && !claims.theirs.is_empty() {
                claims.give_up();
                return Err(NoAnswer::Underway);
            }
            self.verify_claimed(request, wait, &mut claims, &mut gathered);
            if wait == Wait::No {
                claims.give_up();
                if !gathered.is_complete() {
                    return Err(NoAnswer::NotNow);
                }
                break;
            }
            for (key, pending) in &claims.theirs {
                let found = match pending.wait() {
                    Some(Ok(bytes)) => Found::Cached(bytes),
                    Some(Err(error)) => Found::Fresh(Err(error)),
                    None => continue,
                };
                gathered.put(key.chunk, found);
            }
        }
        let bytes = self.join(request, gathered)?;
        Ok(Answer { bytes, from_cache })
    }

    /// Verifies what was claimed, keeps it as far as that is of use, and hands it out.
    fn verify_claimed(
        &self,
        request: &Request,
        wait: Wait,
        claims: &mut Claims<'_>,
        gathered: &mut Gathered,
    ) {
        // What was completed between looking and claiming is in the cache by now.
        for chunk in claims.mine() {
            if let Some(bytes) = self.shared.cache.peek(self.key(chunk)) {
                claims.complete(chunk, Ok(bytes.clone()));
                gathered.put(chunk, Found::Cached(bytes));
            }
        }
        let mut verified = Vec::new();
        for run in self.runs(claims.mine()) {
            let results = match wait {
                Wait::No => self.verify(run, Wait::No),
                Wait::Yes => self.verify_or_report(run),
            };
            let is_short = (results.len() as u64) < run.len();
            verified.extend(run.iter().zip(results));
            if is_short {
                break;
            }
            if wait == Wait::Yes {
                self.hand_out(request, true, claims, gathered, verified.drain(..));
            }
        }
        // What can't be delivered now is asked for again in a moment.
        let is_delivered = verified.len() == gathered.missing().count();
        self.hand_out(
            request,
            is_delivered,
            claims,
            gathered,
            verified.into_iter(),
        );
    }

    fn hand_out(
        &self,
        request: &Request,
        is_delivered: bool,
        claims: &mut Claims<'_>,
        gathered: &mut Gathered,
        verified: impl Iterator<Item = (ChunkIndex, Result<VerifiedBytes, ReadError>)>,
    ) {
        let Shared { cache, buffers, .. } = &*self.shared;
        for (chunk, result) in verified {
            if let Ok(bytes) = &result {
                let part = self.part_of(chunk, &request.range);
                let delivered = if is_delivered { part.len() } else { 0 };
                cache.insert_rest(self.key(chunk), bytes, delivered, buffers);
            }
            claims.complete(chunk, result.clone());
            gathered.put(chunk, Found::Fresh(result));
        }
    }

    /// Joins what is delivered, and counts it. What is missing between two parts must not be closed
    /// up, and a short read would tell the kernel that the file ends there: so it is all of what is
    /// wanted, or an error.
    fn join(&self, request: &Request, gathered: Gathered) -> Result<VerifiedBytes, NoAnswer> {
        let abandoned = || NoAnswer::Failed(self.shared.abandoned(self.index));
        let mut parts = Vec::with_capacity(gathered.found.len());
        for (chunk, found) in request.run.iter().zip(gathered.found) {
            let part = self.part_of(chunk, &request.range);
            let bytes = match found.ok_or_else(abandoned)? {
                Found::Cached(bytes) => {
                    // Says that this part is delivered.
                    self.shared.cache.get(self.key(chunk), part.len());
                    bytes
                }
                Found::Fresh(result) => result.map_err(NoAnswer::Failed)?,
            };
            parts.push(bytes.slice(part));
        }
        let bytes = VerifiedBytes::join(&parts, &self.shared.buffers);
        let len = bytes.len() as u64;
        if len != request.len() {
            return Err(abandoned());
        }
        self.shared.counters.delivered_bytes.add(len);
        Ok(bytes)
    }
}

/// What was found of some chunks so far.
struct Gathered {
    run: Run,
    found: Vec<Option<Found>>,
}

enum Found {
    /// It lies in the cache, or another thread has put it there.
    Cached(VerifiedBytes),
    /// It was verified for this request.
    Fresh(Result<VerifiedBytes, ReadError>),
}

impl Gathered {
    fn new(run: Run) -> Self {
        Self {
            run,
            found: run.iter().map(|_| None).collect(),
        }
    }

    fn put(&mut self, chunk: ChunkIndex, found: Found) {
        let place = chunk.get() - self.run.first().get();
        if let Some(slot) = usize::try_from(place)
            .ok()
            .and_then(|place| self.found.get_mut(place))
        {
            *slot = Some(found);
        }
    }

    fn missing(&self) -> impl Iterator<Item = ChunkIndex> {
        let all = self.run.iter().zip(&self.found);
        all.filter(|(_, found)| found.is_none())
            .map(|(chunk, _)| chunk)
    }

    fn is_complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }
}
