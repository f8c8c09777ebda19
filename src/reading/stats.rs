//! What a reader has done: counters, and a look at all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::reports::Reports;

/// What a reader has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReaderStats {
    /// Bytes read from the source to serve reads and to open files.
    pub source_bytes: u64,
    /// Bytes of them that were verified.
    pub verified_bytes: u64,
    /// Bytes of them that were verified ahead of a sequential reader.
    pub prefetched_bytes: u64,
    /// Bytes of them that were pushed into a page cache before they were asked for.
    pub pushed_bytes: u64,
    /// Bytes delivered to those who asked.
    pub delivered_bytes: u64,
    /// Reads answered from the cache alone.
    pub cache_hits: u64,
    /// Bytes of verified chunks in the cache now.
    pub cached_bytes: u64,
    /// Full passes made, and the bytes that they hashed.
    pub full_passes: u64,
    /// Bytes hashed in full passes.
    pub full_pass_bytes: u64,
    /// Files whose chunk table is proved.
    pub proved_files: u64,
    /// Tables that were proved and couldn't be kept for the next reader.
    pub unkept_tables: u64,
    /// Places whose content isn't what was signed: each bad chunk once.
    pub violations: u64,
    /// Further reads and opens that met one of these places.
    pub violation_retries: u64,
    /// Reads and opens that the source gave no content for.
    pub source_errors: u64,
}

/// The counters behind [`ReaderStats`]. None of them decides anything.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) source_bytes: Counter,
    pub(super) verified_bytes: Counter,
    pub(super) prefetched_bytes: Counter,
    pub(super) pushed_bytes: Counter,
    pub(super) delivered_bytes: Counter,
    pub(super) cache_hits: Counter,
    pub(super) full_passes: Counter,
    pub(super) full_pass_bytes: Counter,
    pub(super) proved_files: Counter,
    pub(super) unkept_tables: Counter,
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
        ReaderStats {
            source_bytes: self.source_bytes.get(),
            verified_bytes: self.verified_bytes.get(),
            prefetched_bytes: self.prefetched_bytes.get(),
            pushed_bytes: self.pushed_bytes.get(),
            delivered_bytes: self.delivered_bytes.get(),
            cache_hits: self.cache_hits.get(),
            cached_bytes,
            full_passes: self.full_passes.get(),
            full_pass_bytes: self.full_pass_bytes.get(),
            proved_files: self.proved_files.get(),
            unkept_tables: self.unkept_tables.get(),
            violations: reports.violations.count(),
            violation_retries: reports.violations.retries(),
            source_errors: reports.source_errors.count(),
        }
    }
}
