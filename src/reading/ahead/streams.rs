//! Recognising sequential readers, and deciding what to verify ahead of them: policy alone.
//!
//! Guarantees: what is read ahead of a stream is bounded in bytes, by what the stream has consumed
//! and by a share of the cache, in whole steps and segments; a few random reads never start it.
//! Doesn't: read, verify or wait; [the folder](super) does what is planned here.
//!
//! Three things are done for a stream ([`Means`]). Where requests are small or the source takes its
//! time, chunks are verified into the cache ahead of it: a mount by an ordinary user has requests
//! of 128 KiB, and a source of some milliseconds needs many reads in flight. Where requests are
//! small, the source is fast, and half of the cores have nothing to do, pages are pushed into the
//! kernel's page cache: then reader and verification don't wait for one another. Many streams keep
//! the cores busy by themselves, and a request is cheaper than a push.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::recent::RecentStreams;
use super::segments::{SEGMENT, segment_end};

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
pub(super) const STEP: u64 = 1 << 20;

/// Finished jobs that are remembered: as many as fit into the window.
const MAX_FINISHED: usize = (MAX_WINDOW / STEP) as usize;

/// How a request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// From the cache.
    Cached,
    /// By reading from a source that didn't have to be waited for.
    Fresh,
    /// Not yet: another thread is verifying some of it.
    Underway,
    /// Not yet: the source has to be waited for.
    Waited,
}

/// How a part of a file is verified ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// From a source that is expected to have it in memory, into the kernel's page cache.
    Push,
    /// From such a source, into the chunk cache.
    Memory,
    /// From a source that has to be waited for, into the chunk cache.
    Source,
}

/// What to verify ahead of a stream. It may reach beyond the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) range: Range<u64>,
    pub(super) means: Means,
}

/// One sequential reader.
#[derive(Debug, Clone)]
struct Stream {
    /// Its number in [`RecentStreams`].
    number: u64,
    /// Where its next request is expected.
    next: u64,
    /// Bytes that it has passed so far.
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
    recent: Arc<RecentStreams>,
    /// Requests so far.
    clock: u64,
    window: u64,
    /// Streams at a time that pages may be pushed for.
    most_pushed: usize,
    /// What was verified ahead last, and no reader has passed yet.
    finished: VecDeque<Range<u64>>,
}

impl Streams {
    /// Of a file whose chunks go to a cache of `cache` bytes. A chunk read ahead can keep a whole
    /// [`STEP`] of memory in use, so the cache has to be much larger than the window.
    pub(super) fn new(cache: usize, recent: Arc<RecentStreams>, most_pushed: usize) -> Self {
        Self {
            all: Vec::new(),
            recent,
            clock: 0,
            window: (cache as u64 / 16).min(MAX_WINDOW) / STEP * STEP,
            most_pushed,
            finished: VecDeque::new(),
        }
    }

    /// Takes note of a request, and says what is to be verified ahead now.
    pub(super) fn observe(&mut self, request: Range<u64>, served: Served) -> Option<Plan> {
        self.clock += 1;
        let Some(place) = self.find(&request) else {
            self.add(&request, served);
            return None;
        };
        let streams = self.recent.saw(self.all[place].number);
        self.advance(place, &request, served);
        let plan = self.plan(place, streams)?;
        self.all[place].ahead = plan.range.end;
        Some(plan)
    }

    /// The stream that a request belongs to.
    fn find(&self, request: &Range<u64>) -> Option<usize> {
        // Several requests of a stream are under way at a time and may arrive in any order.
        let slack = 8 * (request.end - request.start);
        self.all.iter().position(|stream| {
            let from = stream.next.saturating_sub(slack);
            // Of what was pushed, only beginnings of segments are asked for.
            let to = stream.ahead.max(stream.next + slack);
            (from..=to).contains(&request.start)
        })
    }

    /// Begins to follow a stream, in place of the one that was seen least recently if there are
    /// many.
    fn add(&mut self, request: &Range<u64>, served: Served) {
        let len = request.end - request.start;
        let stream = Stream {
            number: self.recent.new_stream(),
            next: request.end,
            consumed: len,
            ahead: request.end,
            largest: len,
            waits: served == Served::Waited,
            wasted: 0,
            used: self.clock,
        };
        self.recent.saw(stream.number);
        if self.all.len() < MAX_STREAMS {
            self.all.push(stream);
        } else if let Some(oldest) = self.all.iter_mut().min_by_key(|stream| stream.used) {
            *oldest = stream;
        }
    }

    /// Takes note of how far a stream has come.
    fn advance(&mut self, place: usize, request: &Range<u64>, served: Served) {
        let stream = &mut self.all[place];
        let len = request.end - request.start;
        stream.used = self.clock;
        stream.consumed += len.max(request.end.saturating_sub(stream.next));
        stream.largest = stream.largest.max(len);
        match served {
            Served::Cached | Served::Underway => {}
            Served::Fresh => {
                // It was there, and gone before it was asked for.
                let in_it =
                    |range: &Range<u64>| range.start <= request.start && request.end <= range.end;
                if request.start >= stream.next && self.finished.iter().any(in_it) {
                    stream.wasted += 1;
                }
                stream.waits = false;
            }
            Served::Waited => stream.waits = true,
        }
        let passed = stream.next..request.end;
        self.finished
            .retain(|range| range.end <= passed.start || range.end > passed.end);
        stream.next = stream.next.max(request.end);
        stream.ahead = stream.ahead.max(stream.next);
    }

    /// What to verify ahead of a stream, while so many streams are read.
    fn plan(&self, place: usize, streams: usize) -> Option<Plan> {
        let stream = &self.all[place];
        let is_small = stream.largest <= SMALL_REQUEST;
        let means = match (is_small, stream.waits) {
            (_, true) => Means::Source,
            (true, false) if streams <= self.most_pushed => Means::Push,
            (true, false) => Means::Memory,
            // The kernel reads ahead far enough.
            (false, false) => return None,
        };
        let patience = if is_small {
            PATIENCE_SMALL
        } else {
            PATIENCE_LARGE
        };
        let earned = stream.consumed.saturating_sub(patience);
        let reach = earned.min(self.share(stream, means));
        let (start, end) = if means == Means::Push {
            // The kernel has asked for what comes next, or is about to: a push takes a lead.
            let lead = if stream.ahead > stream.next {
                stream.ahead
            } else {
                stream.next + SEGMENT / 4
            };
            (segment_end(lead), segment_end(stream.next + reach))
        } else {
            // Whole steps, so that jobs and requests cut the file in the same places.
            (stream.ahead, (stream.next + reach) / STEP * STEP)
        };
        (reach > 0 && start < end).then_some(Plan {
            range: start..end,
            means,
        })
    }

    /// How far ahead a stream may be at most: those that are still moving share the window, and one
    /// whose work was wasted gets less and less.
    fn share(&self, stream: &Stream, means: Means) -> u64 {
        let most = if means == Means::Source {
            MAX_WINDOW
        } else {
            FAST_WINDOW
        };
        let moving = |stream: &&Stream| self.clock - stream.used < 16 * MAX_STREAMS as u64;
        let sharing = if means == Means::Push {
            // Pushed ones are few.
            1
        } else {
            self.all.iter().filter(moving).count() as u64
        };
        let share = self.window.min(most) / sharing.max(1);
        share.checked_shr(stream.wasted / 4).unwrap_or(0)
    }

    /// Takes note that all of `range` was verified ahead.
    pub(super) fn finish(&mut self, range: Range<u64>) {
        if self.finished.len() == MAX_FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back(range);
    }

    /// Whether a reader is still on its way to this place.
    pub(super) fn awaits(&self, offset: u64) -> bool {
        self.all
            .iter()
            .any(|stream| (stream.next..stream.ahead).contains(&offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SMALL: u64 = 128 << 10;
    const CACHE: usize = 256 << 20;

    fn streams(cache: usize) -> Streams {
        Streams::new(cache, recent(), 0)
    }

    fn recent() -> Arc<RecentStreams> {
        Arc::default()
    }

    /// On a machine that has cores to push for one stream.
    fn pushing(recent: &Arc<RecentStreams>) -> Streams {
        Streams::new(CACHE, Arc::clone(recent), 1)
    }

    /// Reads `range` in requests of `step` bytes; what was scheduled.
    fn read(streams: &mut Streams, range: Range<u64>, step: u64, served: Served) -> Vec<Plan> {
        (range.start..range.end)
            .step_by(usize::try_from(step).unwrap())
            .filter_map(|start| streams.observe(start..start + step, served))
            .collect()
    }

    fn bytes(scheduled: &[Plan]) -> u64 {
        let len = |plan: &Plan| plan.range.end - plan.range.start;
        scheduled.iter().map(len).sum()
    }

    #[test]
    fn a_slow_stream_is_read_ahead_without_gaps_and_within_the_window() {
        for step in [SMALL, MIB] {
            let mut streams = streams(CACHE);
            let mut end = 0;
            for start in (0..256 * MIB).step_by(usize::try_from(step).unwrap()) {
                if let Some(ahead) = streams.observe(start..start + step, Served::Waited) {
                    assert!(
                        ahead.range.start == end || end == 0,
                        "{ahead:?} after {end}"
                    );
                    assert_eq!(ahead.means, Means::Source);
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
        assert!(read(&mut large, 0..2 * MIB, MIB, Served::Waited).is_empty());
        let mut small = streams(CACHE);
        assert!(read(&mut small, 0..MIB, SMALL, Served::Fresh).is_empty());
    }

    #[test]
    fn a_fast_source_and_a_large_read_ahead_need_no_help() {
        for mut streams in [streams(CACHE), pushing(&recent())] {
            assert!(read(&mut streams, 0..256 * MIB, MIB, Served::Fresh).is_empty());
        }
    }

    #[test]
    fn random_reads_start_nothing() {
        let mut streams = streams(CACHE);
        let mut offset = 1;
        for _ in 0..100_000 {
            offset = offset * 48_271 % 0x7fff_ffff;
            let start = offset % 262_144 * 4096;
            assert_eq!(streams.observe(start..start + 4096, Served::Waited), None);
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
                if let Some(ahead) = streams.observe(start..start + SMALL, Served::Fresh) {
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
        let scheduled = read(&mut small, 0..64 * MIB, MIB, Served::Waited);
        assert!(!scheduled.is_empty());
        assert!(bytes(&scheduled) <= 63 * MIB);
        let mut none = streams(0);
        assert!(read(&mut none, 0..64 * MIB, MIB, Served::Waited).is_empty());
    }

    #[test]
    fn it_stops_where_what_it_read_is_gone_when_it_is_wanted() {
        let mut streams = streams(CACHE);
        let mut scheduled = Vec::new();
        for start in (0..64 * MIB).step_by(128 << 10) {
            if let Some(ahead) = streams.observe(start..start + SMALL, Served::Fresh) {
                streams.finish(ahead.range.clone());
                scheduled.push(ahead);
            }
        }
        assert!(bytes(&scheduled) < 16 * MIB, "{}", bytes(&scheduled));
    }

    #[test]
    fn what_a_reader_has_come_over_is_not_wasted_when_it_is_read_again() {
        let mut streams = pushing(&recent());
        for _ in 0..8 {
            let mut pushed = 0;
            let mut start = 0;
            while start < 32 * MIB {
                if let Some(ahead) = streams.observe(start..start + SMALL, Served::Fresh) {
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
        let scheduled = read(&mut streams, 0..64 * MIB, SMALL, Served::Fresh);
        assert!(bytes(&scheduled) > 60 * MIB, "{}", bytes(&scheduled));
    }

    #[test]
    fn what_was_overtaken_is_not_awaited() {
        let mut streams = streams(CACHE);
        read(&mut streams, 0..32 * MIB, MIB, Served::Waited);
        assert!(!streams.awaits(31 * MIB));
        assert!(streams.awaits(32 * MIB));
        assert!(!streams.awaits(128 * MIB));
    }

    #[test]
    fn a_push_takes_a_lead_and_goes_on_from_segment_to_segment() {
        let mut streams = pushing(&recent());
        let mut scheduled = read(&mut streams, 0..4 * MIB, SMALL, Served::Fresh);
        let first = scheduled.first().unwrap().clone();
        assert_eq!(first.means, Means::Push);
        assert!(first.range.start.is_multiple_of(SEGMENT), "{first:?}");
        // From here on only what was kept back is asked for.
        let mut start = first.range.start;
        while start < 256 * MIB {
            scheduled.extend(streams.observe(start..start + (64 << 10), Served::Cached));
            start += SEGMENT;
        }
        let mut end = first.range.start;
        for ahead in &scheduled {
            assert_eq!(ahead.means, Means::Push);
            assert_eq!((ahead.range.start, ahead.range.end % SEGMENT), (end, 0));
            end = ahead.range.end;
        }
        assert!((256 * MIB..=256 * MIB + FAST_WINDOW + SEGMENT).contains(&end));
    }

    #[test]
    fn nothing_is_pushed_for_two_streams_or_from_a_slow_source() {
        let shared = recent();
        let (mut one, mut other) = (pushing(&shared), pushing(&shared));
        for start in (0..64 * MIB).step_by(128 << 10) {
            for streams in [&mut one, &mut other] {
                let ahead = streams.observe(start..start + SMALL, Served::Fresh);
                assert!(ahead.is_none_or(|ahead| ahead.means != Means::Push));
            }
        }
        // The other has ended.
        let scheduled = read(&mut one, 64 * MIB..96 * MIB, SMALL, Served::Fresh);
        assert!(scheduled.last().unwrap().means == Means::Push);
        let mut slow = pushing(&recent());
        let scheduled = read(&mut slow, 0..64 * MIB, SMALL, Served::Waited);
        assert!(scheduled.iter().all(|ahead| ahead.means == Means::Source));
    }
}
