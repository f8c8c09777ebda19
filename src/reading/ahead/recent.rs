//! How many streams there are now, in all files of a reader.
//!
//! Guarantees: bounded memory and no lock; concurrent requests may be counted in any order.
//! Doesn't: decide anything; [streams](super::streams) are what does.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Requests looked back on to tell how many streams there are: the kernel sends a few of one
/// stream in a row.
const LOOK_BACK: usize = 16;

/// The streams that the last requests belonged to.
#[derive(Debug, Default)]
pub(super) struct RecentStreams {
    /// Streams by number; zero is none.
    last: [AtomicU64; LOOK_BACK],
    requests: AtomicUsize,
    streams: AtomicU64,
}

impl RecentStreams {
    /// A number for a new stream.
    pub(super) fn new_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes note of a request of `stream`; how many streams there are now.
    pub(super) fn saw(&self, stream: u64) -> usize {
        let place = self.requests.fetch_add(1, Ordering::Relaxed) % LOOK_BACK;
        self.last[place].store(stream, Ordering::Relaxed);
        let last = self.last.each_ref().map(|it| it.load(Ordering::Relaxed));
        let is_first = |&at: &usize| last[at] != 0 && !last[..at].contains(&last[at]);
        (0..LOOK_BACK).filter(is_first).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_by_what_was_seen_last() {
        let recent = RecentStreams::default();
        let [one, other] = [recent.new_stream(), recent.new_stream()];
        assert_eq!(recent.saw(one), 1);
        assert_eq!(recent.saw(other), 2);
        for _ in 1..LOOK_BACK {
            assert_eq!(recent.saw(one), 2);
        }
        assert_eq!(recent.saw(one), 1);
    }
}
