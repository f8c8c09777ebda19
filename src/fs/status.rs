//! The status of a mount: what it did and met.

use super::FileSystem;
use crate::reading::{ReaderStats, Violation};

/// Most violations in a status: an attribute holds 64 KiB (`XATTR_SIZE_MAX`).
const MAX_STATUS_VIOLATIONS: usize = 32;

impl FileSystem {
    /// What the mount did and met, as JSON.
    pub(super) fn status(&self) -> serde_json::Value {
        let manifest = self.reader.manifest();
        let ReaderStats {
            source_bytes,
            verified_bytes,
            prefetched_bytes,
            pushed_bytes,
            delivered_bytes,
            cache_hits,
            cached_bytes,
            full_passes,
            full_pass_bytes,
            proved_files,
            violations,
            ..
        } = self.reader.stats();
        let totals = self.totals();
        let recent: Vec<_> = self
            .reader
            .violations()
            .recent()
            .iter()
            .take(MAX_STATUS_VIOLATIONS)
            .map(Violation::to_string)
            .collect();
        serde_json::json!({
            "mount": self.mount_facts.get(),
            "signer": manifest.signer().to_string(),
            "root_digest": manifest.manifest().root_digest().to_string(),
            "files": self.claimed.len(),
            "bytes": totals.bytes,
            "proved_files": proved_files,
            "source_bytes": source_bytes,
            "verified_bytes": verified_bytes,
            "prefetched_bytes": prefetched_bytes,
            "pushed_bytes": pushed_bytes,
            "delivered_bytes": delivered_bytes,
            "cache_hits": cache_hits,
            "cached_bytes": cached_bytes,
            "full_passes": full_passes,
            "full_pass_bytes": full_pass_bytes,
            "violations": violations,
            "recent_violations": recent,
        })
    }
}
