//! Verifying ahead of sequential readers: into the chunk cache, or into the kernel's page cache.
//!
//! Guarantees: work that the reader has overtaken is dropped; what fails is left to the read that
//! asks for it, which reads it anew and gets the error. One lock and one condition variable for
//! each file: what is decided about its streams (`streams`) and its segments (`segments`) is
//! decided together. No claim is held while pages are pushed. Doesn't: decide what is read ahead,
//! or answer requests.

mod recent;
mod segments;
mod streams;

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use self::recent::RecentStreams;
use self::segments::{Arrival, SEGMENT, Segments, pushable};
use self::streams::{Means, Plan, STEP, Served, Streams};
use super::chunk::VerifiedBytes;
use super::fetch::{Answer, FileChunks, NoAnswer, Wait};
use crate::chunk::{ChunkIndex, Run};
use crate::manifest::FileIndex;
use crate::sync::{lock, wait_while};
use crate::threads::ThreadPool;

/// Streams that are pushed for at a time, on however many cores: what a stream is held for occupies
/// a thread that answers requests.
const MAX_PUSHED: usize = 8;

/// Jobs under way that wait for the source most of the time.
const MAX_WAITING: usize = 32;

/// A page cache that takes verified bytes before a reader asks for them, as the kernel's does
/// (`FUSE_NOTIFY_STORE`).
pub trait PageSink: Send + Sync {
    /// Puts `bytes` at an offset of a file into the cache. Whether that was done. Waits for the
    /// answers to requests for these pages.
    fn push(&self, file: FileIndex, offset: u64, bytes: &VerifiedBytes) -> bool;
}

/// The threads that verify ahead, and what files share.
pub(super) struct Ahead {
    /// For jobs that keep a core busy.
    computing: ThreadPool,
    /// For jobs that wait for the source most of the time.
    waiting: ThreadPool,
    recent: Arc<RecentStreams>,
    /// Streams at a time that pages may be pushed for.
    most_pushed: usize,
    cache_bytes: usize,
    sink: OnceLock<Arc<dyn PageSink>>,
}

impl Ahead {
    /// On a machine with so many cores, with so large a chunk cache.
    pub(super) fn new(cores: usize, cache_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            computing: ThreadPool::new("ahead", cores),
            waiting: ThreadPool::new("prefetch", MAX_WAITING),
            recent: Arc::default(),
            most_pushed: (cores / 2).min(MAX_PUSHED),
            cache_bytes,
            sink: OnceLock::new(),
        })
    }

    /// Has pages pushed into `sink` for files that are opened from now on. Only the first counts.
    pub(super) fn push_into(&self, sink: Arc<dyn PageSink>) {
        let _ = self.sink.set(sink);
    }
}

/// What is verified ahead in one open file.
pub(super) struct FileAhead {
    chunks: Arc<FileChunks>,
    shared: Arc<Ahead>,
    sink: Option<Arc<dyn PageSink>>,
    /// Apart, since the reader's note of a file that was closed keeps the place of all else.
    state: Box<Mutex<State>>,
    /// Told when a push has ended, or goes no further.
    push_ended: Condvar,
}

#[derive(Debug)]
struct State {
    streams: Streams,
    segments: Segments,
}

impl FileAhead {
    pub(super) fn new(chunks: Arc<FileChunks>, shared: Arc<Ahead>) -> Arc<Self> {
        let sink = shared.sink.get().cloned();
        let most_pushed = sink.as_ref().map_or(0, |_| shared.most_pushed);
        let recent = Arc::clone(&shared.recent);
        Arc::new(Self {
            chunks,
            sink,
            state: Box::new(Mutex::new(State {
                streams: Streams::new(shared.cache_bytes, recent, most_pushed),
                segments: Segments::default(),
            })),
            push_ended: Condvar::new(),
            shared,
        })
    }

    /// The chunks of the file.
    pub(super) fn chunks(&self) -> &Arc<FileChunks> {
        &self.chunks
    }

    /// Takes in a request before it is answered. Whether it may be answered now.
    pub(super) fn arrive(&self, request: &Range<u64>) -> bool {
        let arrival = lock(&self.state).segments.arrive(request);
        if arrival == Arrival::EndsPush {
            self.push_ended.notify_all();
        }
        arrival != Arrival::Held
    }

    /// Waits while a request is held.
    pub(super) fn await_push(&self, request: &Range<u64>) {
        let state = lock(&self.state);
        let held = |state: &mut State| state.segments.holds(request);
        drop(wait_while(&self.push_ended, state, held));
    }

    /// Takes note of how a request was answered, and has verified ahead what its stream needs next.
    pub(super) fn observe(
        self: &Arc<Self>,
        request: Range<u64>,
        answer: &Result<Answer, NoAnswer>,
    ) {
        let served = match answer {
            Ok(Answer {
                from_cache: true, ..
            }) => Served::Cached,
            Ok(_) => Served::Fresh,
            Err(NoAnswer::Underway) => Served::Underway,
            Err(NoAnswer::NotNow | NoAnswer::Failed(_)) => Served::Waited,
        };
        let mut state = lock(&self.state);
        let plan = state.streams.observe(request, served);
        if let Some(plan) = &plan
            && plan.means == Means::Push
        {
            state.segments.queue(&plan.range);
        }
        drop(state);
        if let Some(plan) = plan {
            self.schedule(&plan);
        }
    }

    /// Hands a plan to threads, job by job.
    fn schedule(self: &Arc<Self>, plan: &Plan) {
        let threads = match plan.means {
            Means::Push | Means::Memory => &self.shared.computing,
            Means::Source => &self.shared.waiting,
        };
        let step = if plan.means == Means::Push {
            SEGMENT
        } else {
            STEP
        };
        let end = plan.range.end.min(self.chunks.chunks().file_len());
        let mut start = plan.range.start;
        while start < end {
            let next = ((start / step + 1) * step).min(end);
            let job = Plan {
                range: start..next,
                means: plan.means,
            };
            let file = Arc::downgrade(self);
            threads.run(self.chunks.index().number(), move || {
                if let Some(file) = file.upgrade() {
                    file.run(job);
                }
            });
            start = next;
        }
    }

    /// Does a job.
    fn run(&self, job: Plan) {
        let is_done = if job.means == Means::Push {
            let Some(pushing) = Pushing::begin(self, job.range.start) else {
                return;
            };
            self.push_range(&job.range, &pushing)
        } else {
            self.verify_range(&job.range)
        };
        if is_done {
            lock(&self.state).streams.finish(job.range);
        }
    }

    /// Verifies the chunks that begin in `range` into the cache, as long as a reader is on its way
    /// there. Whether all was done.
    fn verify_range(&self, range: &Range<u64>) -> bool {
        let chunks = self.chunks.chunks();
        let run = chunks.starting_in(range.start, range.end - range.start);
        let awaited = |chunk| {
            let start = chunks.range(chunk).start;
            lock(&self.state).streams.awaits(start)
        };
        if self.chunks.shared().is_stopped() {
            return false;
        }
        self.verify_into_cache(run.iter().filter(|&chunk| awaited(chunk)), None);
        run.iter().last().is_none_or(awaited)
    }

    /// Verifies chunks that aren't in the cache yet, and puts them there, and into `verified` if
    /// they are wanted.
    fn verify_into_cache(
        &self,
        wanted: impl Iterator<Item = ChunkIndex>,
        mut verified: Option<&mut Vec<(ChunkIndex, VerifiedBytes)>>,
    ) {
        let cache = &self.chunks.shared().cache;
        let is_missing = |&chunk: &ChunkIndex| cache.peek(self.chunks.key(chunk)).is_none();
        let missing: Vec<_> = wanted.filter(is_missing).collect();
        let mut claims = self.chunks.claim(missing.into_iter());
        for run in self.chunks.runs(claims.mine()) {
            let mut rest = run;
            // What is in memory is handed out before the source is waited for.
            for wait in [Wait::No, Wait::Yes] {
                if rest.is_empty() {
                    break;
                }
                let results = self.chunks.verify(rest, wait);
                let (tried, left) = rest.split_at(results.len() as u64);
                for (chunk, result) in tried.iter().zip(results) {
                    if let Ok(bytes) = result {
                        self.keep_ahead(chunk, &bytes);
                        claims.complete(chunk, Ok(bytes.clone()));
                        if let Some(verified) = &mut verified {
                            verified.push((chunk, bytes));
                        }
                    }
                }
                rest = left;
            }
        }
        claims.give_up();
    }

    /// Verifies and pushes the chunks that begin in a segment, as long as no request has come in
    /// between. Whether all was done.
    fn push_range(&self, segment: &Range<u64>, pushing: &Pushing<'_>) -> bool {
        let chunks = self.chunks.chunks();
        let run = chunks.starting_in(segment.start, segment.end - segment.start);
        if self.chunks.shared().is_stopped() {
            return false;
        }
        let Some(rest) = self.push_from_memory(run, segment, pushing) else {
            return false;
        };
        let wanted = rest.iter().filter(|_| pushing.is_wanted());
        let mut verified = Vec::new();
        self.verify_into_cache(wanted, Some(&mut verified));
        for (chunk, bytes) in verified {
            self.push(chunk, &bytes, segment, pushing);
        }
        rest.is_empty() || pushing.is_wanted()
    }

    /// Verifies and pushes chunks that the source has in memory, each while it is hot in the
    /// processor's caches. Gives the rest, from the first that isn't in memory; nothing where a
    /// request has come in between.
    fn push_from_memory(
        &self,
        run: Run,
        segment: &Range<u64>,
        pushing: &Pushing<'_>,
    ) -> Option<Run> {
        for (done, chunk) in (0..).zip(run.iter()) {
            if !pushing.is_wanted() {
                return None;
            }
            let cache = &self.chunks.shared().cache;
            if cache.peek(self.chunks.key(chunk)).is_some() {
                continue;
            }
            let mut claims = self.chunks.claim(std::iter::once(chunk));
            if claims.mine().is_empty() {
                // A reader needs it now.
                continue;
            }
            let verified = self.chunks.verify(Run::of(chunk), Wait::No).pop();
            let Some(Ok(bytes)) = verified else {
                claims.give_up();
                let (_, rest) = run.split_at(done);
                return Some(rest);
            };
            self.keep_ahead(chunk, &bytes);
            claims.complete(chunk, Ok(bytes.clone()));
            self.push(chunk, &bytes, segment, pushing);
        }
        Some(Run::new(0, 0))
    }

    fn keep_ahead(&self, chunk: ChunkIndex, bytes: &VerifiedBytes) {
        let shared = self.chunks.shared();
        shared.counters.prefetched_bytes.add(bytes.len() as u64);
        shared
            .cache
            .insert(self.chunks.key(chunk), bytes.clone(), 0);
    }

    /// Pushes what lies in `segment` of a chunk that is in the cache, out of which it goes with
    /// that but for what is kept back. No claims may be held.
    fn push(
        &self,
        chunk: ChunkIndex,
        bytes: &VerifiedBytes,
        segment: &Range<u64>,
        pushing: &Pushing<'_>,
    ) {
        let (Some(sink), shared) = (&self.sink, self.chunks.shared()) else {
            return;
        };
        let range = self.chunks.chunks().range(chunk);
        let within = range.start.max(segment.start)..range.end.min(segment.end);
        for part in pushable(&within) {
            if shared.is_stopped() || !pushing.is_wanted() {
                return;
            }
            let within_chunk = self.chunks.part_of(chunk, &part);
            let pushed = bytes.slice(within_chunk.clone());
            if !sink.push(self.chunks.index(), part.start, &pushed) {
                return;
            }
            shared.counters.pushed_bytes.add(pushed.len() as u64);
            // For the cache this was a delivery like any other.
            shared.cache.get(self.chunks.key(chunk), within_chunk.len());
        }
    }
}

/// A segment being pushed. Requests may be held until it ends, so it ends also with a panic.
struct Pushing<'a> {
    file: &'a FileAhead,
    start: u64,
}

impl<'a> Pushing<'a> {
    /// None where it isn't to be pushed any more.
    fn begin(file: &'a FileAhead, start: u64) -> Option<Self> {
        let begun = lock(&file.state).segments.begin(start);
        begun.then_some(Self { file, start })
    }

    /// Whether no request has come in between.
    fn is_wanted(&self) -> bool {
        lock(&self.file.state).segments.is_running(self.start)
    }
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        lock(&self.file.state).segments.end(self.start);
        self.file.push_ended.notify_all();
    }
}
