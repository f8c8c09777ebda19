//! Verifying ahead of sequential readers.
//!
//! Guarantees: what is read ahead of a stream is bounded in bytes, by what the stream has consumed
//! and by a share of the cache; a few random reads never start it; work that the reader has overtaken
//! is dropped. Doesn't: report what it finds: a chunk that fails is left to whoever asks for it,
//! who reads it anew and gets the error. Doesn't: do anything for readers whom the kernel's own
//! read-ahead serves well from a source in memory.
//!
//! Where the kernel reads ahead megabytes and the source is fast, requests come early enough by
//! themselves. This is for the rest: a mount by an ordinary user, for whom the kernel reads ahead
//! 128 KiB, and sources that take milliseconds to answer, which need many reads in flight.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::reader::OpenFile;

/// Streams followed in a file: engines read one from up to sixteen threads.
const MAX_STREAMS: usize = 16;

/// Largest request where the kernel's read-ahead wasn't raised (`VM_READAHEAD_PAGES`).
const SMALL_REQUEST: u64 = 128 << 10;

/// Bytes that a stream has to consume before anything is read ahead of it, by whether the kernel's
/// read-ahead is small or raised. The kernel reads up to 8 MiB ahead of a single read by itself; only
/// what comes after shows that there is a stream, and reading a little of a file stays cheap.
const PATIENCE_SMALL: u64 = 1 << 20;
const PATIENCE_LARGE: u64 = 8 << 20;

/// Most bytes ahead of all streams of a file: at 5 ms a read and 1 MiB each, 6 GB/s.
const MAX_WINDOW: u64 = 32 << 20;

/// The same where the source has everything in memory: enough to keep the cores busy, and little
/// enough to stay in their caches.
const FAST_WINDOW: u64 = 4 << 20;

/// Bytes that one job reads: what the kernel asks for at a time, so that a request is answered from
/// one buffer.
const STEP: u64 = 1 << 20;

/// Jobs under way. Each waits for the source most of the time.
const MAX_THREADS: usize = 32;

/// How a request was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// From the cache.
    Cached,
    /// By reading from a source that didn't have to be waited for.
    Fresh,
    /// Not yet: somebody is verifying it already.
    Underway,
    /// Not yet: the source has to be waited for.
    Waiting,
}

/// One sequential reader.
#[derive(Debug, Clone)]
struct Stream {
    /// Where its next request is expected.
    next: u64,
    /// Bytes asked for so far.
    consumed: u64,
    /// End of what was scheduled ahead.
    ahead: u64,
    /// Its largest request.
    largest: u64,
    /// Whether its source makes it wait.
    waits: bool,
    /// Times that something scheduled was gone when it was asked for.
    wasted: u32,
    /// When it was last seen.
    used: u64,
}

/// The sequential readers of one file.
#[derive(Debug)]
pub(super) struct Streams {
    all: Vec<Stream>,
    clock: u64,
    window: u64,
}

impl Streams {
    /// Of a file whose chunks go to a cache of `cache` bytes. A chunk read ahead can keep a whole
    /// [`STEP`] of memory in use, so the cache has to be much larger than the window.
    pub(super) fn new(cache: usize) -> Self {
        Self {
            all: Vec::new(),
            clock: 0,
            window: (cache as u64 / 16).min(MAX_WINDOW) / STEP * STEP,
        }
    }

    /// Takes in a request, and says which bytes are to be verified ahead now. They may reach beyond
    /// the end of the file.
    pub(super) fn observe(&mut self, request: Range<u64>, met: Met) -> Option<Range<u64>> {
        self.clock += 1;
        let clock = self.clock;
        let len = request.end - request.start;
        // Several requests of a stream are under way at a time and may arrive in any order.
        let slack = 8 * len;
        let known = self.all.iter_mut().find(|stream| {
            let from = stream.next.saturating_sub(slack);
            (from..=stream.next + slack).contains(&request.start)
        });
        let Some(stream) = known else {
            let stream = Stream {
                next: request.end,
                consumed: len,
                ahead: request.end,
                largest: len,
                waits: met == Met::Waiting,
                wasted: 0,
                used: clock,
            };
            if self.all.len() < MAX_STREAMS {
                self.all.push(stream);
            } else if let Some(oldest) = self.all.iter_mut().min_by_key(|stream| stream.used) {
                *oldest = stream;
            }
            return None;
        };
        stream.used = clock;
        stream.consumed += len;
        stream.largest = stream.largest.max(len);
        match met {
            Met::Cached | Met::Underway => {}
            Met::Fresh => {
                // It was evicted before it was asked for, if it was there.
                if request.end <= stream.ahead && request.start >= stream.next {
                    stream.wasted += 1;
                }
                stream.waits = false;
            }
            Met::Waiting => stream.waits = true,
        }
        stream.next = stream.next.max(request.end);
        stream.ahead = stream.ahead.max(stream.next);
        let small = stream.largest <= SMALL_REQUEST;
        if !(small || stream.waits) {
            return None;
        }
        let patience = if small {
            PATIENCE_SMALL
        } else {
            PATIENCE_LARGE
        };
        let earned = stream.consumed.saturating_sub(patience);
        let (start, next, wasted) = (stream.ahead, stream.next, stream.wasted);
        let most = if stream.waits {
            MAX_WINDOW
        } else {
            FAST_WINDOW
        };
        // Those that are still moving share the window.
        let live = self
            .all
            .iter()
            .filter(|stream| clock - stream.used < 16 * MAX_STREAMS as u64)
            .count() as u64;
        let share = self.window.min(most) / live.max(1);
        let share = share.checked_shr(wasted / 4).unwrap_or(0);
        // Whole steps, so that jobs and requests cut the file in the same places.
        let end = (next + earned.min(share)) / STEP * STEP;
        if end <= start {
            return None;
        }
        if let Some(stream) = self.all.iter_mut().find(|stream| stream.used == clock) {
            stream.ahead = end;
        }
        Some(start..end)
    }

    /// Whether a reader is still on its way to this place.
    fn awaits(&self, offset: u64) -> bool {
        self.all
            .iter()
            .any(|stream| (stream.next..stream.ahead).contains(&offset))
    }
}

/// A part of a file to verify ahead.
struct Job {
    file: Weak<OpenFile>,
    range: Range<u64>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    filled: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Threads that verify ahead, started as they are needed.
pub(super) struct Prefetcher {
    queue: Arc<Queue>,
}

impl Prefetcher {
    pub(super) fn new() -> Self {
        Self {
            queue: Arc::default(),
        }
    }

    /// Has `range` of `file` verified into the cache, soon.
    pub(super) fn schedule(&self, file: &Arc<OpenFile>, range: Range<u64>) {
        let range = range.start..range.end.min(file.len());
        let mut jobs = self.queue.lock();
        let mut start = range.start;
        while start < range.end {
            let end = ((start / STEP + 1) * STEP).min(range.end);
            jobs.waiting.push_back(Job {
                file: Arc::downgrade(file),
                range: start..end,
            });
            start = end;
        }
        let wanted_wakes = jobs.waiting.len().min(jobs.idle);
        let wanted = jobs.waiting.len().saturating_sub(jobs.idle);
        for _ in 0..wanted.min(MAX_THREADS.saturating_sub(jobs.threads)) {
            let queue = Arc::clone(&self.queue);
            let spawned = std::thread::Builder::new()
                .name("prefetch".to_owned())
                .spawn(move || queue.work());
            // Without more threads there is less read ahead, and nothing else amiss.
            if spawned.is_err() {
                break;
            }
            jobs.threads += 1;
        }
        drop(jobs);
        // One for each job: waking all would cost more than what they do.
        for _ in 0..wanted_wakes {
            self.queue.filled.notify_one();
        }
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            let Some(file) = job.file.upgrade() else {
                continue;
            };
            let awaited = |offset| file.streams().awaits(offset);
            let work = std::panic::AssertUnwindSafe(|| file.prefetch(job.range, awaited));
            if std::panic::catch_unwind(work).is_err() {
                tracing::error!("reading ahead failed: this is a bug in model-fs");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if jobs.closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            jobs.idle += 1;
            jobs = self
                .filled
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const CACHE: usize = 256 << 20;

    /// Reads `range` in requests of `step` bytes; what was scheduled.
    fn read(streams: &mut Streams, range: Range<u64>, step: u64, met: Met) -> Vec<Range<u64>> {
        (range.start..range.end)
            .step_by(usize::try_from(step).unwrap())
            .filter_map(|start| streams.observe(start..start + step, met))
            .collect()
    }

    fn bytes(scheduled: &[Range<u64>]) -> u64 {
        scheduled.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn a_slow_stream_is_read_ahead_without_gaps_and_within_the_window() {
        for step in [128 << 10, MIB] {
            let mut streams = Streams::new(CACHE);
            let mut ahead = 0;
            for start in (0..256 * MIB).step_by(usize::try_from(step).unwrap()) {
                if let Some(range) = streams.observe(start..start + step, Met::Waiting) {
                    assert!(
                        range.start == ahead || ahead == 0,
                        "{range:?} after {ahead}"
                    );
                    ahead = range.end;
                    assert!(ahead <= start + step + streams.window);
                }
            }
            assert!(ahead > 256 * MIB, "still running at the end, at {ahead}");
        }
    }

    #[test]
    fn what_the_kernel_reads_ahead_of_one_read_starts_nothing() {
        let mut streams = Streams::new(CACHE);
        assert!(read(&mut streams, 0..8 * MIB, MIB, Met::Waiting).is_empty());
        let mut streams = Streams::new(CACHE);
        assert!(read(&mut streams, 0..MIB, 128 << 10, Met::Fresh).is_empty());
    }

    #[test]
    fn a_fast_source_and_a_large_read_ahead_need_no_help() {
        let mut streams = Streams::new(CACHE);
        assert!(read(&mut streams, 0..256 * MIB, MIB, Met::Fresh).is_empty());
    }

    #[test]
    fn random_reads_start_nothing() {
        let mut streams = Streams::new(CACHE);
        let mut offset = 1;
        for _ in 0..100_000 {
            offset = offset * 48_271 % 0x7fff_ffff;
            let start = offset % 262_144 * 4096;
            assert_eq!(streams.observe(start..start + 4096, Met::Waiting), None);
        }
        assert!(streams.all.len() <= MAX_STREAMS);
    }

    #[test]
    fn sixteen_streams_in_one_file_share_the_window() {
        let mut streams = Streams::new(CACHE);
        let mut ahead = [0; 16];
        for step in 0..512 {
            for (stream, ahead) in (0..).zip(&mut ahead) {
                let start = stream * 1024 * MIB + step * (128 << 10);
                if let Some(range) = streams.observe(start..start + (128 << 10), Met::Fresh) {
                    *ahead = range.end;
                    assert!(range.end - start <= 2 * MIB);
                }
            }
        }
        assert!(ahead.iter().all(|&ahead| ahead > 0), "{ahead:?}");
    }

    #[test]
    fn a_small_cache_is_not_overrun_and_none_means_nothing_ahead() {
        let mut streams = Streams::new(16 << 20);
        let scheduled = read(&mut streams, 0..64 * MIB, MIB, Met::Waiting);
        assert!(!scheduled.is_empty());
        assert!(bytes(&scheduled) <= 57 * MIB);
        let mut streams = Streams::new(0);
        assert!(read(&mut streams, 0..64 * MIB, MIB, Met::Waiting).is_empty());
    }

    #[test]
    fn it_stops_where_what_it_read_is_gone_when_it_is_wanted() {
        let mut streams = Streams::new(CACHE);
        let step = 128 << 10;
        let scheduled = read(&mut streams, 0..64 * MIB, step, Met::Fresh);
        assert!(bytes(&scheduled) < 48 * MIB, "{}", bytes(&scheduled));
    }

    #[test]
    fn what_was_overtaken_is_not_awaited() {
        let mut streams = Streams::new(CACHE);
        read(&mut streams, 0..32 * MIB, MIB, Met::Waiting);
        assert!(!streams.awaits(31 * MIB));
        assert!(streams.awaits(32 * MIB));
        assert!(!streams.awaits(128 * MIB));
    }
}
