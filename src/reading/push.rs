//! Pushing: verified pages that go into the kernel's page cache before anybody asks for them.
//!
//! A reader who finds its pages there makes no request and doesn't wait. But then nobody learns how
//! far it has come either. So the first bytes of every [`SEGMENT`] stay out: where a reader asks
//! for those, which wait in the chunk cache, it has come to that segment, and more is verified ahead
//! of it.
//!
//! A page that a request is under way for is locked, and storing it waits for the answer to that
//! request (`fuse_notify_store`). Where the daemon is killed meanwhile, nobody gives the answer, and a
//! thread that waits so can't end either: the mount hangs until somebody breaks the connection. So who pushes
//! and who asks are kept apart, segment by segment ([`Pushes`]): where somebody asks, nothing is
//! pushed any more, and a reader who comes to a segment that is being pushed is held at its
//! beginning until that is done.
//!
//! There is no deadlock: who is held waits for a push into pages that nobody is known to ask for. If it is waiting
//! for a request that is yet to arrive, that one is taken in by a thread that never waits, and lets go who is held.
//!
//! Guarantees: only whole pages are pushed, none of them beyond the end of the file, and none at the
//! beginning of a segment. Doesn't: verify; only [`VerifiedBytes`] get here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::verified::VerifiedBytes;

/// Puts verified bytes at an offset of a file, given by its index in the manifest, into the page
/// cache of a mount. Whether that was done. Waits for requests for these pages.
pub type PageSink = Box<dyn Fn(usize, u64, &VerifiedBytes) -> bool + Send + Sync>;

/// Bytes after which a reader has to show itself. Reading them takes about as long as verifying
/// and pushing the next.
pub(super) const SEGMENT: u64 = 2 << 20;

/// Bytes at the beginning of each segment that aren't pushed: a usual chunk, so that one request
/// takes it out of the chunk cache. Also the largest page size of any machine.
const KEPT_BACK: u64 = 64 << 10;

static PAGE: LazyLock<u64> = LazyLock::new(|| rustix::param::page_size() as u64);

/// The end of the segment that `offset` lies in; itself, at the beginning of one.
pub(super) fn segment_end(offset: u64) -> u64 {
    offset.div_ceil(SEGMENT) * SEGMENT
}

/// The parts of the verified `range` of a file that may be pushed.
pub(super) fn parts(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let start = range.start.div_ceil(*PAGE) * *PAGE;
    let end = (range.end / *PAGE * *PAGE).max(start);
    (start / SEGMENT..end.div_ceil(SEGMENT))
        .map(move |segment| {
            let from = (segment * SEGMENT + KEPT_BACK).max(start);
            from..((segment + 1) * SEGMENT).min(end)
        })
        .filter(|part| !part.is_empty())
}

/// How far the segments of a file are that are to be pushed.
#[derive(Debug, Default)]
pub(super) struct Pushes(BTreeMap<u64, State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Running,
}

impl Pushes {
    /// Takes note that the segments in `range`, which begins and ends with one, are to be pushed.
    pub(super) fn queue(&mut self, range: &Range<u64>) {
        for start in segments(range) {
            self.0.entry(start).or_insert(State::Queued);
        }
    }

    /// Whether the segment at `start` is to be pushed now, which is then under way.
    pub(super) fn begin(&mut self, start: u64) -> bool {
        let state = self.0.get_mut(&start);
        state.is_some_and(|state| std::mem::replace(state, State::Running) == State::Queued)
    }

    /// Whether nobody has come in between.
    pub(super) fn is_running(&self, start: u64) -> bool {
        self.0.get(&start) == Some(&State::Running)
    }

    /// Takes note that the segment at `start` is pushed, or will never be.
    pub(super) fn end(&mut self, start: u64) {
        self.0.remove(&start);
    }

    /// Whether the answer to a request has to wait: where it asks for no more than the beginning of a segment that
    /// is being pushed.
    pub(super) fn hold(&self, request: &Range<u64>) -> bool {
        let start = request.start / SEGMENT * SEGMENT;
        self.is_running(start) && request.end <= start + KEPT_BACK
    }

    /// Takes in a request: unless its answer is to wait, nothing is pushed any more where it lies.
    pub(super) fn arrive(&mut self, request: &Range<u64>) -> Arrival {
        if self.0.is_empty() {
            return Arrival::Free;
        }
        if self.hold(request) {
            return Arrival::Held;
        }
        let before = self.0.len();
        for start in segments(request) {
            self.0.remove(&start);
        }
        if self.0.len() < before {
            Arrival::Instead
        } else {
            Arrival::Free
        }
    }
}

/// What a request means for what is being pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Nothing.
    Free,
    /// Its answer is to wait.
    Held,
    /// It is answered instead of a push, for which others may be waiting.
    Instead,
}

/// Where the segments begin that `range` touches.
fn segments(range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    (range.start / SEGMENT..range.end.div_ceil(SEGMENT)).map(|segment| segment * SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a range, as pairs.
    fn all(start: u64, end: u64) -> Vec<(u64, u64)> {
        parts(&(start..end))
            .map(|part| (part.start, part.end))
            .collect()
    }

    #[test]
    fn beginnings_of_segments_stay_out() {
        let page = *PAGE;
        assert_eq!(all(0, KEPT_BACK), []);
        assert_eq!(all(0, KEPT_BACK + page), [(KEPT_BACK, KEPT_BACK + page)]);
        assert_eq!(all(KEPT_BACK, SEGMENT), [(KEPT_BACK, SEGMENT)]);
        assert_eq!(all(SEGMENT, SEGMENT + KEPT_BACK), []);
        assert_eq!(
            all(0, 2 * SEGMENT),
            [(KEPT_BACK, SEGMENT), (SEGMENT + KEPT_BACK, 2 * SEGMENT)]
        );
    }

    #[test]
    fn only_whole_pages() {
        let page = *PAGE;
        let start = 3 * SEGMENT + KEPT_BACK;
        for (begin, end, from, to) in [
            (0, 2 * page, 0, 2 * page),
            (1, 2 * page, page, 2 * page),
            (0, 2 * page - 1, 0, page),
            (page - 1, 2 * page + 1, page, 2 * page),
        ] {
            let expected = [(start + from, start + to)];
            assert_eq!(all(start + begin, start + end), expected);
        }
        for (begin, end) in [(0, 0), (0, page - 1), (1, 2 * page - 1), (5, 6)] {
            assert_eq!(all(start + begin, start + end), []);
        }
    }

    #[test]
    fn where_somebody_asks_nothing_is_pushed() {
        let mut pushes = Pushes::default();
        pushes.queue(&(0..4 * SEGMENT));
        for start in [0, SEGMENT, 2 * SEGMENT] {
            assert!(pushes.begin(start));
            assert!(!pushes.begin(start), "begun once");
        }
        // Beginnings wait, and go on when the push is done.
        for request in [0..1, 0..KEPT_BACK, KEPT_BACK - 1..KEPT_BACK] {
            assert_eq!(pushes.arrive(&request), Arrival::Held);
        }
        assert!(pushes.is_running(0));
        pushes.end(0);
        assert!(!pushes.hold(&(0..KEPT_BACK)));
        // Whoever asks for more has it pushed no further.
        let more = SEGMENT..SEGMENT + KEPT_BACK + 1;
        assert_eq!(pushes.arrive(&more), Arrival::Instead);
        assert_eq!(pushes.arrive(&more), Arrival::Free);
        assert!(!pushes.is_running(SEGMENT));
        let both = 3 * SEGMENT - 1..3 * SEGMENT + 1;
        assert_eq!(pushes.arrive(&both), Arrival::Instead);
        assert!(!pushes.is_running(2 * SEGMENT));
        assert!(!pushes.begin(3 * SEGMENT), "no more queued");
        assert!(!pushes.begin(4 * SEGMENT), "never queued");
        assert!(pushes.0.is_empty());
    }

    #[test]
    fn segments_end_at_their_multiples() {
        for (offset, end) in [
            (0, 0),
            (1, SEGMENT),
            (SEGMENT - 1, SEGMENT),
            (SEGMENT, SEGMENT),
            (SEGMENT + 1, 2 * SEGMENT),
        ] {
            assert_eq!(segment_end(offset), end);
        }
    }
}
