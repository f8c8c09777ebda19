//! Pushing: verified pages that go into the kernel's page cache before anybody asks for them.
//!
//! A reader who finds its pages there makes no request and doesn't wait. But then nobody learns how
//! far it has come either. So the first bytes of every [`SEGMENT`] stay out: where a reader asks
//! for those, which wait in the chunk cache, it has come to that segment, and more is verified ahead
//! of it.
//!
//! Guarantees: only whole pages are pushed, none of them beyond the end of the file, and none at the
//! beginning of a segment. Doesn't: verify; only [`VerifiedBytes`] get here.
//!
//! A page that a request is under way for is locked, and storing it waits for the answer to that
//! request. So whoever pushes has to land all chunks that it has claimed first: the answer may be waiting
//! for one of them (`fuse_notify_store`, `Documentation/filesystems/fuse`).

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
    let end = range.end / *PAGE * *PAGE;
    (start / SEGMENT..end.div_ceil(SEGMENT))
        .map(move |segment| {
            let from = (segment * SEGMENT + KEPT_BACK).max(start);
            from..((segment + 1) * SEGMENT).min(end)
        })
        .filter(|part| !part.is_empty())
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
