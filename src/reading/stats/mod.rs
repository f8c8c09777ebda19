//! What a reader has done: counters, and a look at all of them.
//!
//! Guarantees: a counter is named once, and so counted and told alike. Doesn't: decide anything.

mod times;

use std::sync::atomic::{AtomicU64, Ordering};

use self::times::Times;
pub use self::times::{BOUNDS_MICROS, VerifyTimes};
use super::reports::Reports;

/// The counters, each with what it counts, and what is looked up elsewhere when they are told.
macro_rules! counters {
    (
        counted: { $($(#[$counts:meta])* $counted:ident,)+ }
        looked_up: { $($(#[$means:meta])* $looked_up:ident,)+ }
    ) => {
        /// What a reader has done since it was made.
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize,
        )]
        #[serde(default)]
        #[non_exhaustive]
        pub struct ReaderStats {
            $($(#[$counts])* pub $counted: u64,)+
            $($(#[$means])* pub $looked_up: u64,)+
        }

        /// The counters behind [`ReaderStats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $counted: Counter,)+
            /// How long chunks took to verify.
            pub(super) verify_times: Times,
        }

        impl Counters {
            fn told(&self, others: ReaderStats) -> ReaderStats {
                ReaderStats {
                    $($counted: self.$counted.get(),)+
                    ..others
                }
            }
        }
    };
}

counters! {
    counted: {
        /// Bytes read from the source to serve reads and to open files.
        source_bytes,
        /// Bytes of them that were hashed and compared with what was signed. Those that differed
        /// are among them: `violations` tells.
        verified_bytes,
        /// Chunks that these bytes are, each as often as it was verified.
        verified_chunks,
        /// Bytes of them that were verified ahead of a sequential reader.
        prefetched_bytes,
        /// Bytes of them that were pushed into a page cache before they were asked for.
        pushed_bytes,
        /// Bytes delivered to those who asked.
        delivered_bytes,
        /// Reads answered from the cache alone.
        cache_hits,
        /// Full passes made.
        full_passes,
        /// Bytes hashed in full passes.
        full_pass_bytes,
        /// Files whose chunk table is proved.
        proved_files,
        /// Tables that were proved and couldn't be kept for the next reader.
        unkept_tables,
    }
    looked_up: {
        /// Bytes of verified chunks in the cache now.
        cached_bytes,
        /// Places whose content isn't what was signed: each bad chunk once.
        violations,
        /// Further reads and opens that met one of these places.
        violation_retries,
        /// Reads and opens that the source gave no content for.
        source_errors,
        /// Chunks that weren't what was signed, and were when the same file was read again.
        transfer_errors,
        /// Chunks that the source didn't give and a second place did, each once.
        repaired_chunks,
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// All of them, with what others count.
    pub(super) fn look(&self, cached_bytes: u64, reports: &Reports) -> ReaderStats {
        self.told(ReaderStats {
            cached_bytes,
            violations: reports.violations.count(),
            violation_retries: reports.violations.retries(),
            source_errors: reports.source_errors.count(),
            transfer_errors: reports.recoveries.transfer_errors(),
            repaired_chunks: reports.recoveries.repaired(),
            ..ReaderStats::default()
        })
    }
}
