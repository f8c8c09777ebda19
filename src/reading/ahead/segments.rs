//! Which segments of a file are being pushed into the kernel's page cache: bookkeeping alone.
//!
//! A reader that finds its pages there makes no request and doesn't wait. But then nothing tells
//! how far it has come. So the first bytes of every segment (`SEGMENT`) are *kept back*: they stay
//! in the chunk cache, and the request for them says that the reader has come to that segment.
//!
//! # No deadlock
//!
//! The kernel locks the pages that a request asks for until it is answered, and storing a page that
//! is locked waits for that answer (`fuse_notify_store`). If the daemon is killed meanwhile, there
//! is no answer, and a thread that waits so can't end either: the mount hangs until its connection
//! is broken. So a push and a request are kept apart, segment by segment:
//!
//! - A request for more than what is kept back ends the push of its segments
//!   ([`Segments::arrive`]): nothing more is pushed there, and the request is answered at once.
//! - A request for what is kept back of a segment that is being pushed is *held* until that push
//!   has ended: the reader would ask for the rest in the next moment.
//!
//! What waits for what, then:
//!
//! ```text
//!   held request ──▶ end of the push ──▶ pages of the segment but those kept back
//!                                                     │ only if a request asks for them:
//!                                                     ▼
//!                                        its answer, by a thread that isn't held
//! ```
//!
//! The arrows lead only to the right. The held request itself has locked only pages that are kept
//! back, which are never pushed. A request for others isn't held, and its arrival ends the push. It
//! is taken in although other threads are held, because session threads never wait. Its answer may
//! wait for chunks that other threads have claimed, but the thread that pushes has none: it
//! completes every claim before it pushes.
//!
//! Guarantees: only whole pages are pushed, none of them beyond the end of the file, and none at
//! the beginning of a segment. Doesn't: wait, lock or push; [the folder](super) does.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes after which a reader has to show itself. Reading them takes about as long as verifying
/// and pushing the next.
pub(super) const SEGMENT: u64 = 2 << 20;

/// Bytes at the beginning of each segment that are kept back: a usual chunk, so that one request
/// takes it out of the chunk cache. Also the largest page size of any machine.
const KEPT_BACK: u64 = 64 << 10;

static PAGE: LazyLock<u64> = LazyLock::new(|| rustix::param::page_size() as u64);

/// The end of the segment that `offset` lies in; itself, at the beginning of one.
pub(super) fn segment_end(offset: u64) -> u64 {
    offset.div_ceil(SEGMENT) * SEGMENT
}

/// The parts of the verified `range` of a file that may be pushed.
pub(super) fn pushable(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let start = range.start.div_ceil(*PAGE) * *PAGE;
    let end = (range.end / *PAGE * *PAGE).max(start);
    (start / SEGMENT..end.div_ceil(SEGMENT))
        .map(move |segment| {
            let from = (segment * SEGMENT + KEPT_BACK).max(start);
            from..((segment + 1) * SEGMENT).min(end)
        })
        .filter(|part| !part.is_empty())
}

/// The segments of a file that are to be pushed, by where they begin, and how far each is.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<u64, State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Running,
}

impl Segments {
    /// Takes note that the segments in `range`, which begins and ends with one, are to be pushed.
    pub(super) fn queue(&mut self, range: &Range<u64>) {
        for start in starts(range) {
            self.0.entry(start).or_insert(State::Queued);
        }
    }

    /// Whether the segment at `start` is to be pushed now, which is then under way.
    pub(super) fn begin(&mut self, start: u64) -> bool {
        let state = self.0.get_mut(&start);
        state.is_some_and(|state| std::mem::replace(state, State::Running) == State::Queued)
    }

    /// Whether the segment at `start` is being pushed, and no request has come in between.
    pub(super) fn is_running(&self, start: u64) -> bool {
        self.0.get(&start) == Some(&State::Running)
    }

    /// Takes note that the segment at `start` is pushed, or will never be.
    pub(super) fn end(&mut self, start: u64) {
        self.0.remove(&start);
    }

    /// Whether the answer to a request has to wait: it asks for no more than what is kept back of a
    /// segment that is being pushed.
    pub(super) fn holds(&self, request: &Range<u64>) -> bool {
        let start = request.start / SEGMENT * SEGMENT;
        self.is_running(start) && request.end <= start + KEPT_BACK
    }

    /// Takes in a request: unless it is held, nothing is pushed any more where it lies.
    pub(super) fn arrive(&mut self, request: &Range<u64>) -> Arrival {
        if self.0.is_empty() {
            return Arrival::Free;
        }
        if self.holds(request) {
            return Arrival::Held;
        }
        let before = self.0.len();
        for start in starts(request) {
            self.0.remove(&start);
        }
        if self.0.len() < before {
            Arrival::EndsPush
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
    /// It has ended a push, whose end others may be waiting for.
    EndsPush,
}

/// Where the segments begin that `range` touches.
fn starts(range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    (range.start / SEGMENT..range.end.div_ceil(SEGMENT)).map(|segment| segment * SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a range, as pairs.
    fn all(start: u64, end: u64) -> Vec<(u64, u64)> {
        pushable(&(start..end))
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
    fn where_a_request_has_come_nothing_is_pushed() {
        let mut segments = Segments::default();
        segments.queue(&(0..4 * SEGMENT));
        for start in [0, SEGMENT, 2 * SEGMENT] {
            assert!(segments.begin(start));
            assert!(!segments.begin(start), "begun once");
        }
        // Beginnings wait, and go on when the push is done.
        for request in [0..1, 0..KEPT_BACK, KEPT_BACK - 1..KEPT_BACK] {
            assert_eq!(segments.arrive(&request), Arrival::Held);
        }
        assert!(segments.is_running(0));
        segments.end(0);
        assert!(!segments.holds(&(0..KEPT_BACK)));
        // A request for more ends the push.
        let more = SEGMENT..SEGMENT + KEPT_BACK + 1;
        assert_eq!(segments.arrive(&more), Arrival::EndsPush);
        assert_eq!(segments.arrive(&more), Arrival::Free);
        assert!(!segments.is_running(SEGMENT));
        let both = 3 * SEGMENT - 1..3 * SEGMENT + 1;
        assert_eq!(segments.arrive(&both), Arrival::EndsPush);
        assert!(!segments.is_running(2 * SEGMENT));
        assert!(!segments.begin(3 * SEGMENT), "no more queued");
        assert!(!segments.begin(4 * SEGMENT), "never queued");
        assert!(segments.0.is_empty());
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
