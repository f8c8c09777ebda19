//! How far a warm-up is: counted by the thread that does it, told in the status.
//!
//! Guarantees: each number only grows. Doesn't: read anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::status::PrefetchStatus;

/// What is done in the background after mounting, so that the first readers wait less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefetch {
    /// Nothing.
    #[default]
    None,
    /// The chunk table and the length of each file are proved. A file without a table at hand is
    /// hashed as a whole for that.
    Tables,
    /// Also, all content is read and verified, and stays in the memory of this host as far as there
    /// is room: as the source's, which costs the next reader no more than verifying it.
    All,
}

impl Prefetch {
    /// What it is called in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tables => "tables",
            Self::All => "all",
        }
    }
}

/// The warm-up of one mount.
#[derive(Debug)]
pub struct PrefetchProgress {
    what: Prefetch,
    files: u64,
    /// Files whose table is proved or can't be.
    proved: AtomicU64,
    /// Bytes whose turn was, whatever came of it.
    bytes: AtomicU64,
    failures: AtomicU64,
    ended: AtomicBool,
}

impl PrefetchProgress {
    /// Of so many files.
    pub fn new(what: Prefetch, files: usize) -> Self {
        Self {
            what,
            files: files as u64,
            proved: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// What is done.
    pub fn what(&self) -> Prefetch {
        self.what
    }

    /// One more file is proved, or can't be.
    pub fn file(&self) {
        self.proved.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more bytes were read and verified, or can't be.
    pub fn bytes(&self, more: u64) {
        self.bytes.fetch_add(more, Ordering::Relaxed);
    }

    /// Something couldn't be had; it was told as it is told to readers.
    pub fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// How far it is, with so many bytes in all.
    pub(super) fn status(&self, all_bytes: u64) -> PrefetchStatus {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        PrefetchStatus {
            prefetch: self.what.name().to_owned(),
            prefetch_ended: self.ended.load(Ordering::Relaxed),
            prefetch_files: get(&self.proved),
            prefetch_of_files: self.files,
            prefetch_bytes: get(&self.bytes),
            prefetch_of_bytes: match self.what {
                Prefetch::None | Prefetch::Tables => 0,
                Prefetch::All => all_bytes,
            },
            prefetch_failures: get(&self.failures),
        }
    }
}
