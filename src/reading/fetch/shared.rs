//! What all files of a reader share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::manifest::{FileIndex, ManifestFile, VerifiedManifest};
use crate::name::Escaped;
use crate::reading::chunk::buffer::BufferPool;
use crate::reading::chunk::{ChunkCache, InFlight};
use crate::reading::reports::Reports;
use crate::reading::source::Source;
use crate::reading::stats::Counters;
use crate::reading::violation::ReadError;

/// A second place that may have what the source of a model doesn't. It needs no trust: what it
/// gives is verified as what the source gives.
#[derive(Clone)]
pub struct RepairPlace {
    /// What it is called in messages.
    pub name: Escaped,
    /// The same files under the same names.
    pub source: Arc<dyn Source>,
}

impl fmt::Debug for RepairPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepairPlace({})", self.name)
    }
}

/// What all files of a reader share.
pub(in crate::reading) struct Shared {
    pub(in crate::reading) manifest: Arc<VerifiedManifest>,
    pub(in crate::reading) source: Arc<dyn Source>,
    /// What is asked for chunks that the source doesn't give, in this order.
    pub(in crate::reading) places: Box<[RepairPlace]>,
    pub(in crate::reading) buffers: Arc<BufferPool>,
    pub(in crate::reading) cache: ChunkCache,
    pub(in crate::reading) in_flight: InFlight,
    pub(in crate::reading) counters: Counters,
    pub(in crate::reading) reports: Reports,
    stopped: AtomicBool,
}

impl Shared {
    pub(in crate::reading) fn new(
        manifest: Arc<VerifiedManifest>,
        source: Arc<dyn Source>,
        places: Vec<RepairPlace>,
        buffers: Arc<BufferPool>,
        cache: ChunkCache,
    ) -> Arc<Self> {
        Arc::new(Self {
            manifest,
            source,
            places: places.into(),
            buffers,
            cache,
            in_flight: InFlight::default(),
            counters: Counters::default(),
            reports: Reports::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// The signed name and content of a file.
    pub(in crate::reading) fn file(&self, index: FileIndex) -> &ManifestFile {
        self.manifest.at(index)
    }

    /// Ends all reading. Cannot be undone.
    pub(in crate::reading) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Whether all reading was ended.
    pub(in crate::reading) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The error for a file of a reader that was stopped.
    pub(in crate::reading) fn stopped(&self, index: FileIndex) -> ReadError {
        let file = self.file(index).name.clone();
        ReadError::Stopped { file }
    }

    /// The error for a file whose verification ended in a panic.
    pub(in crate::reading) fn abandoned(&self, index: FileIndex) -> ReadError {
        let file = self.file(index).name.clone();
        ReadError::Abandoned { file }
    }
}
