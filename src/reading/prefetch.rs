//! Verifying ahead of sequential readers.
//!
//! Guarantees: what is read ahead of a stream is bounded in bytes, by what the stream has consumed
//! and by a share of the cache; a few random reads never start it; work that the reader has overtaken
//! is dropped. Doesn't: report what it finds: a chunk that fails is left to whoever asks for it,
//! who reads it anew and gets the error.
//!
//! Two things are done for a stream:
//! - Where requests are small or the source takes its time, chunks are verified into the cache ahead
//!   of it. A mount by an ordinary user has requests of 128 KiB, and a source of some milliseconds
//!   needs many reads in flight.
//! - Where requests are small, the source is fast, and half of the cores have nothing to do, verified pages
//!   are [pushed](super::push) into the page cache ahead of it: then reader and verification don't wait
//!   for one another. Many streams keep the cores busy by themselves, and a request is cheaper than a push.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::push::{Pushes, SEGMENT, segment_end};
use super::reader::OpenFile;
use crate::threads::ThreadPool;

/// Streams followed in a file: engines read one from up to sixteen threads.
const MAX_STREAMS: usize = 16;

/// Largest request where the kernel's read-ahead wasn't raised (`VM_READAHEAD_PAGES`).
const SMALL_REQUEST: u64 = 128 << 10;

/// Bytes that a stream has to consume before anything is read ahead of it, by whether the kernel's
/// read-ahead is small or raised. The kernel reads ahead of a single read by itself; only
/// what comes after shows that there is a stream, and reading a little of a file stays cheap.
const PATIENCE_SMALL: u64 = 1 << 20;
const PATIENCE_LARGE: u64 = 2 << 20;

/// Most bytes ahead of all streams of a file: at 5 ms a read and 1 MiB each, 6 GB/s.
const MAX_WINDOW: u64 = 32 << 20;

/// The same where the source has everything in memory: enough to keep the cores busy, and little
/// enough to stay in their caches.
const FAST_WINDOW: u64 = 2 * SEGMENT;

/// Bytes that one job reads: what the kernel asks for at a time, so that a request is answered from
/// one buffer.
const STEP: u64 = 1 << 20;

/// Streams that are pushed for at a time, on however many cores: what a stream is held for occupies a
/// thread that answers requests.
const MAX_PUSHED: usize = 8;

/// Jobs done that are remembered: as many as fit into the window.
const MAX_FINISHED: usize = (MAX_WINDOW / STEP) as usize;

/// Jobs under way that wait for the source most of the time.
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

/// What to verify ahead of a stream. It may reach beyond the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ahead {
    range: Range<u64>,
    /// Whether to push it; otherwise it goes into the cache.
    push: bool,
    /// Whether the source is expected to have them in memory.
    fast: bool,
}

/// Requests looked back on to tell how many streams there are: the kernel sends a few of one
/// stream in a row.
const LOOK_BACK: usize = 16;

/// The streams of all files that were seen last.
#[derive(Debug)]
pub(super) struct Activity {
    seen: Mutex<Seen>,
    /// Streams at a time that pages may be pushed for.
    pushed: usize,
}

#[derive(Debug, Default)]
struct Seen {
    /// Streams, by number; zero is none.
    last: [u64; LOOK_BACK],
    requests: usize,
    streams: u64,
}

impl Activity {
    /// On a machine with so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self {
            seen: Mutex::default(),
            pushed: (cores / 2).min(MAX_PUSHED),
        }
    }

    /// A number for a new stream.
    fn new_stream(&self) -> u64 {
        let mut seen = self.lock();
        seen.streams += 1;
        seen.streams
    }

    /// Takes note of a request of `stream`; how many streams there are now.
    fn saw(&self, stream: u64) -> usize {
        let mut seen = self.lock();
        let place = seen.requests % LOOK_BACK;
        seen.requests += 1;
        seen.last[place] = stream;
        let last = &seen.last;
        let is_first = |&at: &usize| last[at] != 0 && !last[..at].contains(&last[at]);
        (0..LOOK_BACK).filter(is_first).count()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sequential reader.
#[derive(Debug, Clone)]
struct Stream {
    /// Its number in [`Activity`].
    number: u64,
    /// Where its next request is expected.
    next: u64,
    /// Bytes that it has come over so far.
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
    activity: Arc<Activity>,
    clock: u64,
    window: u64,
    /// Whether pages can be pushed at all.
    can_push: bool,
    /// What was verified ahead last, and no reader has come over yet.
    finished: VecDeque<Range<u64>>,
    /// What is being pushed.
    pub(super) pushes: Pushes,
}

impl Streams {
    /// Of a file whose chunks go to a cache of `cache` bytes. A chunk read ahead can keep a whole
    /// [`STEP`] of memory in use, so the cache has to be much larger than the window.
    pub(super) fn new(cache: usize, activity: Arc<Activity>, can_push: bool) -> Self {
        Self {
            all: Vec::new(),
            activity,
            clock: 0,
            window: (cache as u64 / 16).min(MAX_WINDOW) / STEP * STEP,
            can_push,
            finished: VecDeque::new(),
            pushes: Pushes::default(),
        }
    }

    /// Takes in a request, and says what is to be verified ahead now.
    pub(super) fn observe(&mut self, request: Range<u64>, met: Met) -> Option<Ahead> {
        self.clock += 1;
        let clock = self.clock;
        let len = request.end - request.start;
        // Several requests of a stream are under way at a time and may arrive in any order.
        let slack = 8 * len;
        let known = self.all.iter_mut().find(|stream| {
            let from = stream.next.saturating_sub(slack);
            // Of what was pushed, only beginnings of segments are asked for.
            let to = stream.ahead.max(stream.next + slack);
            (from..=to).contains(&request.start)
        });
        let Some(stream) = known else {
            let stream = Stream {
                number: self.activity.new_stream(),
                next: request.end,
                consumed: len,
                ahead: request.end,
                largest: len,
                waits: met == Met::Waiting,
                wasted: 0,
                used: clock,
            };
            self.activity.saw(stream.number);
            if self.all.len() < MAX_STREAMS {
                self.all.push(stream);
            } else if let Some(oldest) = self.all.iter_mut().min_by_key(|stream| stream.used) {
                *oldest = stream;
            }
            return None;
        };
        let streams = self.activity.saw(stream.number);
        stream.used = clock;
        stream.consumed += len.max(request.end.saturating_sub(stream.next));
        stream.largest = stream.largest.max(len);
        match met {
            Met::Cached | Met::Underway => {}
            Met::Fresh => {
                // It was there, and gone before it was asked for.
                let in_it =
                    |range: &Range<u64>| range.start <= request.start && request.end <= range.end;
                if request.start >= stream.next && self.finished.iter().any(in_it) {
                    stream.wasted += 1;
                }
                stream.waits = false;
            }
            Met::Waiting => stream.waits = true,
        }
        let passed = stream.next..request.end;
        self.finished
            .retain(|range| range.end <= passed.start || range.end > passed.end);
        stream.next = stream.next.max(request.end);
        stream.ahead = stream.ahead.max(stream.next);
        let small = stream.largest <= SMALL_REQUEST;
        if !(small || stream.waits) {
            return None;
        }
        let push = self.can_push && small && !stream.waits && streams <= self.activity.pushed;
        let patience = if small {
            PATIENCE_SMALL
        } else {
            PATIENCE_LARGE
        };
        let earned = stream.consumed.saturating_sub(patience);
        let (ahead, next, wasted) = (stream.ahead, stream.next, stream.wasted);
        let fast = !stream.waits;
        let most = if fast { FAST_WINDOW } else { MAX_WINDOW };
        // Those that are still moving share the window. Pushed ones are few.
        let moving = |stream: &&Stream| clock - stream.used < 16 * MAX_STREAMS as u64;
        let live = if push {
            1
        } else {
            self.all.iter().filter(moving).count() as u64
        };
        let share = self.window.min(most) / live.max(1);
        let share = share.checked_shr(wasted / 4).unwrap_or(0);
        let reach = earned.min(share);
        // The kernel has asked for what comes next, or is about to: a push takes a lead.
        let lead = segment_end(if ahead > next {
            ahead
        } else {
            next + SEGMENT / 4
        });
        let (start, end) = if push {
            (lead, segment_end(next + reach))
        } else {
            // Whole steps, so that jobs and requests cut the file in the same places.
            (ahead, (next + reach) / STEP * STEP)
        };
        if reach == 0 || end <= start {
            return None;
        }
        if let Some(stream) = self.all.iter_mut().find(|stream| stream.used == clock) {
            stream.ahead = end;
        }
        if push {
            self.pushes.queue(&(start..end));
        }
        Some(Ahead {
            range: start..end,
            push,
            fast,
        })
    }

    /// Takes note that all of `range` was verified ahead.
    fn finish(&mut self, range: Range<u64>) {
        if self.finished.len() == MAX_FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back(range);
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
    range: Range<u64>,
    push: bool,
}

impl Job {
    fn run(self, file: &OpenFile) {
        let Self { range, push } = self;
        let start = range.start;
        let done = if push {
            let Some(_pushing) = Pushing::begin(file, start) else {
                return;
            };
            let awaited = |_| file.streams().pushes.is_running(start);
            file.prefetch(range.clone(), true, awaited)
        } else {
            file.prefetch(range.clone(), false, |at| file.streams().awaits(at))
        };
        if done {
            file.streams().finish(range);
        }
    }
}

/// A segment being pushed, to whose end readers may be waiting, also if it is a panic.
struct Pushing<'a> {
    file: &'a OpenFile,
    start: u64,
}

impl<'a> Pushing<'a> {
    /// None where it isn't to be pushed any more.
    fn begin(file: &'a OpenFile, start: u64) -> Option<Self> {
        let begun = file.streams().pushes.begin(start);
        begun.then_some(Self { file, start })
    }
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.file.end_push(self.start);
    }
}

/// Threads that verify ahead.
pub(super) struct Prefetcher {
    /// For jobs that keep a core busy.
    computing: ThreadPool,
    /// For jobs that wait for the source most of the time.
    waiting: ThreadPool,
}

impl Prefetcher {
    /// On a machine with so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self {
            computing: ThreadPool::new("ahead", cores),
            waiting: ThreadPool::new("prefetch", MAX_THREADS),
        }
    }

    /// Has a part of `file` verified, soon.
    pub(super) fn schedule(&self, file: &Arc<OpenFile>, ahead: &Ahead) {
        let pool = if ahead.fast {
            &self.computing
        } else {
            &self.waiting
        };
        let step = if ahead.push { SEGMENT } else { STEP };
        let end = ahead.range.end.min(file.len());
        let mut start = ahead.range.start;
        while start < end {
            let next = ((start / step + 1) * step).min(end);
            let job = Job {
                range: start..next,
                push: ahead.push,
            };
            let index = file.index() as u64;
            let file = Arc::downgrade(file);
            pool.run(index, move || {
                if let Some(file) = file.upgrade() {
                    job.run(&file);
                }
            });
            start = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SMALL: u64 = 128 << 10;
    const CACHE: usize = 256 << 20;

    fn streams(cache: usize) -> Streams {
        Streams::new(cache, activity(), false)
    }

    /// Of a machine that has cores to push for one stream.
    fn activity() -> Arc<Activity> {
        Arc::new(Activity::new(2))
    }

    /// With a page sink.
    fn pushing(activity: &Arc<Activity>) -> Streams {
        Streams::new(CACHE, Arc::clone(activity), true)
    }

    /// Reads `range` in requests of `step` bytes; what was scheduled.
    fn read(streams: &mut Streams, range: Range<u64>, step: u64, met: Met) -> Vec<Ahead> {
        (range.start..range.end)
            .step_by(usize::try_from(step).unwrap())
            .filter_map(|start| streams.observe(start..start + step, met))
            .collect()
    }

    fn bytes(scheduled: &[Ahead]) -> u64 {
        let len = |ahead: &Ahead| ahead.range.end - ahead.range.start;
        scheduled.iter().map(len).sum()
    }

    #[test]
    fn a_slow_stream_is_read_ahead_without_gaps_and_within_the_window() {
        for step in [SMALL, MIB] {
            let mut streams = streams(CACHE);
            let mut end = 0;
            for start in (0..256 * MIB).step_by(usize::try_from(step).unwrap()) {
                if let Some(ahead) = streams.observe(start..start + step, Met::Waiting) {
                    assert!(
                        ahead.range.start == end || end == 0,
                        "{ahead:?} after {end}"
                    );
                    assert!(!ahead.fast);
                    end = ahead.range.end;
                    assert!(end <= start + step + streams.window);
                }
            }
            assert!(end > 256 * MIB, "still running at the end, at {end}");
        }
    }

    #[test]
    fn what_the_kernel_reads_ahead_of_one_read_starts_nothing() {
        let mut large = streams(CACHE);
        assert!(read(&mut large, 0..2 * MIB, MIB, Met::Waiting).is_empty());
        let mut small = streams(CACHE);
        assert!(read(&mut small, 0..MIB, SMALL, Met::Fresh).is_empty());
    }

    #[test]
    fn a_fast_source_and_a_large_read_ahead_need_no_help() {
        for mut streams in [streams(CACHE), pushing(&activity())] {
            assert!(read(&mut streams, 0..256 * MIB, MIB, Met::Fresh).is_empty());
        }
    }

    #[test]
    fn random_reads_start_nothing() {
        let mut streams = streams(CACHE);
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
        let mut streams = streams(CACHE);
        let mut ends = [0; 16];
        for step in 0..512 {
            for (stream, end) in (0..).zip(&mut ends) {
                let start = stream * 1024 * MIB + step * SMALL;
                if let Some(ahead) = streams.observe(start..start + SMALL, Met::Fresh) {
                    *end = ahead.range.end;
                    assert!(*end - start <= 2 * MIB);
                }
            }
        }
        assert!(ends.iter().all(|&end| end > 0), "{ends:?}");
    }

    #[test]
    fn a_small_cache_is_not_overrun_and_none_means_nothing_ahead() {
        let mut small = streams(16 << 20);
        let scheduled = read(&mut small, 0..64 * MIB, MIB, Met::Waiting);
        assert!(!scheduled.is_empty());
        assert!(bytes(&scheduled) <= 63 * MIB);
        let mut none = streams(0);
        assert!(read(&mut none, 0..64 * MIB, MIB, Met::Waiting).is_empty());
    }

    #[test]
    fn it_stops_where_what_it_read_is_gone_when_it_is_wanted() {
        let mut streams = streams(CACHE);
        let mut scheduled = Vec::new();
        for start in (0..64 * MIB).step_by(128 << 10) {
            if let Some(ahead) = streams.observe(start..start + SMALL, Met::Fresh) {
                streams.finish(ahead.range.clone());
                scheduled.push(ahead);
            }
        }
        assert!(bytes(&scheduled) < 16 * MIB, "{}", bytes(&scheduled));
    }

    #[test]
    fn what_a_reader_has_come_over_is_not_wasted_when_it_is_read_again() {
        let mut streams = pushing(&activity());
        for _ in 0..8 {
            let mut pushed = 0;
            let mut start = 0;
            while start < 32 * MIB {
                if let Some(ahead) = streams.observe(start..start + SMALL, Met::Fresh) {
                    pushed += bytes(std::slice::from_ref(&ahead));
                    streams.finish(ahead.range.clone());
                    start = ahead.range.end;
                } else {
                    start += SMALL;
                }
            }
            assert!(pushed > 8 * MIB, "{pushed}");
        }
    }

    #[test]
    fn it_goes_on_where_the_reader_was_faster() {
        let mut streams = streams(CACHE);
        let scheduled = read(&mut streams, 0..64 * MIB, SMALL, Met::Fresh);
        assert!(bytes(&scheduled) > 60 * MIB, "{}", bytes(&scheduled));
    }

    #[test]
    fn what_was_overtaken_is_not_awaited() {
        let mut streams = streams(CACHE);
        read(&mut streams, 0..32 * MIB, MIB, Met::Waiting);
        assert!(!streams.awaits(31 * MIB));
        assert!(streams.awaits(32 * MIB));
        assert!(!streams.awaits(128 * MIB));
    }

    #[test]
    fn a_push_takes_a_lead_and_goes_on_from_segment_to_segment() {
        let mut streams = pushing(&activity());
        let mut scheduled = read(&mut streams, 0..4 * MIB, SMALL, Met::Fresh);
        let first = scheduled.first().unwrap().clone();
        assert!(first.push && first.fast);
        assert!(first.range.start.is_multiple_of(SEGMENT), "{first:?}");
        // From here on only what was kept back is asked for.
        let mut start = first.range.start;
        while start < 256 * MIB {
            scheduled.extend(streams.observe(start..start + (64 << 10), Met::Cached));
            start += SEGMENT;
        }
        let mut end = first.range.start;
        for ahead in &scheduled {
            assert!(ahead.push);
            assert_eq!((ahead.range.start, ahead.range.end % SEGMENT), (end, 0));
            end = ahead.range.end;
        }
        assert!((256 * MIB..=256 * MIB + FAST_WINDOW + SEGMENT).contains(&end));
    }

    #[test]
    fn nothing_is_pushed_for_two_streams_or_from_a_slow_source() {
        let shared = activity();
        let (mut one, mut other) = (pushing(&shared), pushing(&shared));
        for start in (0..64 * MIB).step_by(128 << 10) {
            for streams in [&mut one, &mut other] {
                let ahead = streams.observe(start..start + SMALL, Met::Fresh);
                assert!(ahead.is_none_or(|ahead| !ahead.push));
            }
        }
        // The other has ended.
        let scheduled = read(&mut one, 64 * MIB..96 * MIB, SMALL, Met::Fresh);
        assert!(scheduled.last().unwrap().push);
        let mut slow = pushing(&activity());
        let scheduled = read(&mut slow, 0..64 * MIB, SMALL, Met::Waiting);
        assert!(scheduled.iter().all(|ahead| !ahead.push && !ahead.fast));
    }

    #[test]
    fn streams_are_counted_by_what_was_seen_last() {
        let activity = activity();
        let [one, other] = [activity.new_stream(), activity.new_stream()];
        assert_eq!(activity.saw(one), 1);
        assert_eq!(activity.saw(other), 2);
        for _ in 1..LOOK_BACK {
            assert_eq!(activity.saw(one), 2);
        }
        assert_eq!(activity.saw(one), 1);
    }
}
