//! How long it takes to verify a chunk: a histogram.
//!
//! Guarantees: taking note of one costs two relaxed additions and no lock. Doesn't: look at the
//! clock; who verifies does. A look at it while chunks are verified may miss the last of them in
//! one number and not in another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds: from a chunk of 64 KiB on a fast core to one
/// of 16 MiB on a slow one that is waited for.
pub const BOUNDS_MICROS: [u64; 12] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000,
];

/// Counts by time, as they go on.
#[derive(Debug, Default)]
pub(in crate::reading) struct Times {
    /// The last is for what takes longer than all bounds.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    nanos: AtomicU64,
}

impl Times {
    /// Takes note of `chunks` that took `time` together. Of several, each counts as their mean.
    pub(in crate::reading) fn note(&self, chunks: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let Some(mean) = nanos.checked_div(chunks) else {
            return;
        };
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < mean);
        self.counts[bucket].fetch_add(chunks, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was noted so far.
    pub(in crate::reading) fn look(&self) -> VerifyTimes {
        let counts = self.counts.each_ref();
        VerifyTimes {
            counts: counts.map(|count| count.load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// How long it took to hash chunks and to compare their digests, reading not included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyTimes {
    /// Chunks that took at most as long as each of [`BOUNDS_MICROS`] and longer than the one before
    /// it; then those that took longer than all.
    pub counts: [u64; BOUNDS_MICROS.len() + 1],
    /// The time of all of them.
    pub sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_is_in_the_first_bucket_that_holds_it() {
        let times = Times::default();
        let micros = Duration::from_micros;
        times.note(1, micros(5));
        times.note(1, micros(5) + Duration::from_nanos(1));
        times.note(3, micros(60));
        times.note(2, Duration::from_secs(10));
        times.note(0, Duration::from_secs(10));
        let seen = times.look();
        assert_eq!(seen.counts, [1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        let sum = micros(5) + micros(5) + micros(60) + Duration::from_secs(10);
        assert_eq!(seen.sum, sum + Duration::from_nanos(1));
    }
}
