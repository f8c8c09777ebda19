//! How a model is opened.

use std::path::PathBuf;

use super::store::StorePlace;
use crate::reading::whole::verify::Unsigned;
use crate::reading::{DEFAULT_CACHE_BYTES, ReaderOptions};

/// How a model is opened. The defaults: the signature where it usually is, no file that isn't
/// signed, tables kept in the usual store, and a cache of 256 MiB.
///
/// ```
/// use model_fs::OpenOptions;
/// let options = OpenOptions::new()
///     .signature("model.oms.sig")
///     .ignore_unsigned_files(true)
///     .cache_bytes(64 << 20);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The signature file, where it isn't in its usual place.
    pub signature: Option<PathBuf>,
    /// Paths in the model that are neither checked nor shown.
    pub ignore_paths: Vec<PathBuf>,
    /// What to make of files that aren't signed.
    pub unsigned: Unsigned,
    /// Where what was proved is kept.
    pub store: StorePlace,
    /// Most bytes of verified chunks in memory.
    pub cache_bytes: usize,
    /// Directories that are asked, in this order, for what the model doesn't give or has wrong.
    pub repair_from: Vec<PathBuf>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            signature: None,
            ignore_paths: Vec::new(),
            unsigned: Unsigned::Refuse,
            store: StorePlace::Usual,
            cache_bytes: DEFAULT_CACHE_BYTES,
            repair_from: Vec::new(),
        }
    }
}

impl OpenOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the signature from this file.
    #[must_use]
    pub fn signature(mut self, path: impl Into<PathBuf>) -> Self {
        self.signature = Some(path.into());
        self
    }

    /// Leaves out a path in the model with all that lies beneath it, absolute or relative to the
    /// model.
    #[must_use]
    pub fn ignore_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.ignore_paths.push(path.into());
        self
    }

    /// Whether files that aren't signed are passed over; otherwise they are an error.
    #[must_use]
    pub fn ignore_unsigned_files(mut self, ignored: bool) -> Self {
        self.unsigned = if ignored {
            Unsigned::Ignore
        } else {
            Unsigned::Refuse
        };
        self
    }

    /// Keeps what was proved there.
    #[must_use]
    pub fn store(mut self, place: StorePlace) -> Self {
        self.store = place;
        self
    }

    /// Keeps at most so many bytes of verified chunks in memory.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Asks this directory, after those before it, for what the model doesn't give or has wrong
    /// once it is open: the same file, the same bytes. It needs no trust, and nothing is written to
    /// it.
    #[must_use]
    pub fn repair_from(mut self, directory: impl Into<PathBuf>) -> Self {
        self.repair_from.push(directory.into());
        self
    }

    /// How a reader for these options works.
    pub(super) fn reader(&self) -> ReaderOptions {
        ReaderOptions {
            cache_bytes: self.cache_bytes,
            ..ReaderOptions::default()
        }
    }
}
