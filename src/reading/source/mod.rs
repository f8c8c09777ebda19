//! Where model files come from.
//!
//! Guarantees: [`LocalDirectory`] opens only regular files, beneath its root and through no
//! symbolic link unless links are allowed, never blocks on a FIFO or a device, and never enters a
//! mount that this process serves. Doesn't: say anything about content. The adversary owns it and
//! may change it at any moment; a length asked for here is a claim.
//!
//! The reader asks a [`Source`] for a file by its signed name and then for byte ranges; it doesn't
//! know about paths. Tomorrow a source may be object storage.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::manifest::FileIndex;
use crate::name::{Escaped, FileName};

mod absent;
mod boundary;
mod cached;
mod directory;
mod file;
mod scan;
mod walk;

pub(in crate::reading) use absent::Absent;
pub use directory::LocalDirectory;
pub use file::LocalFile;

/// A place that holds model files.
pub trait Source: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SourceError`]; no content is looked at.
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError>;

    /// Told that this process is about to mount what is read from here. A source that can lead into
    /// that mount opens nothing in other mounts until [`never_enter`](Self::never_enter) says which
    /// it is, or [`mount_failed`](Self::mount_failed) that there is none.
    fn expect_mount(&self) {}

    /// Told the file system (major and minor number, as statx(2) gives it) of a mount that was
    /// expected. Nothing on it may be opened or entered from now on, whatever leads there: the
    /// process would wait for itself.
    fn never_enter(&self, device: (u32, u32)) {
        let _ = device;
    }

    /// Told that a mount that was expected isn't there.
    fn mount_failed(&self) {}
}

/// An open file of a [`Source`]. Its bytes are untrusted and may change between two reads.
pub trait SourceFile: Send + Sync {
    /// Claimed length in bytes.
    ///
    /// # Errors
    /// What the source says.
    fn len(&self) -> io::Result<u64>;

    /// Which file it is, whatever has its name by now; `None` where the source doesn't know.
    fn identity(&self) -> Option<FileIdentity> {
        None
    }

    /// Whether the claimed length is zero.
    ///
    /// # Errors
    /// What the source says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`; returns how many bytes there were, fewer only at the end of
    /// the file.
    ///
    /// # Errors
    /// What the source says.
    fn read_at(&self, buffer: &mut [u8], offset: u64, caching: Caching) -> io::Result<usize>;

    /// Fills `buffer` from `offset` if all of it can be had without waiting, which a source need
    /// not know. Says whether it did; what is in the buffer otherwise means nothing.
    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let _ = (buffer, offset);
        false
    }
}

/// Tells files of a source apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The file system, as the source numbers them.
    pub device: u64,
    /// The file in it. Given anew once nothing refers to the file any more.
    pub inode: u64,
}

/// Whether a source that caches should keep what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It will be asked for the same bytes again soon.
    Keep,
    /// The caller keeps what is needed; another copy would only take memory.
    Drop,
    /// The same, and what is cached may be wrong: it is to be passed over, where that can be done.
    Renew,
}

/// Why a source doesn't give a file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("the file is missing")]
    Missing,
    /// There is something else than a regular file.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// The source can't say or read it.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl From<Errno> for SourceError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            // What `openat2` says of a link on the way, and `open` of one at its end.
            Errno::LOOP | Errno::XDEV => Self::NotAFile("a symbolic link"),
            Errno::NXIO => Self::NotAFile("a socket or a device"),
            other => Self::Io(Arc::new(other.into())),
        }
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Errno::from_raw_os_error(raw).into(),
            None if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            None => Self::Io(Arc::new(error)),
        }
    }
}

/// What to do about symbolic links in a model directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A link stands for nothing: it is not a regular file.
    Refuse,
    /// A link stands for the file it leads to, also outside of the directory (as in the cache
    /// layout of Hugging Face hubs). Content is verified all the same.
    Follow,
}

/// What a directory scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file, or with [`Links::Follow`] a link to one, of a claimed length in bytes.
    File {
        /// Bytes, as the source says.
        len: u64,
    },
    /// Something else than a regular file or a directory.
    Other(&'static str),
}

/// Everything found beneath a model directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files and other things, by name, but what is in `signed`. Directories only show through what
    /// they hold.
    pub entries: BTreeMap<FileName, Found>,
    /// Names that no manifest can hold (not UTF-8, over-long), escaped. Never signed, so always
    /// extra.
    pub unnameable: Vec<Escaped>,
    /// The claimed lengths of signed files that are there, by index in the manifest that was
    /// scanned for; [`ABSENT`] for the others. A million names need not be held twice.
    pub(in crate::reading) signed: Box<[u64]>,
}

/// In [`Scan::signed`]: no regular file of that name. No file is that long.
pub(in crate::reading) const ABSENT: u64 = u64::MAX;

impl Scan {
    /// The claimed length of a file in bytes; `None` if there is no such file. Doesn't know the
    /// files of a manifest that was scanned for.
    pub fn len_of(&self, name: &FileName) -> Option<u64> {
        match self.entries.get(name)? {
            Found::File { len } => Some(*len),
            Found::Other(_) => None,
        }
    }

    /// The claimed length of file `index` of the manifest that was scanned for, which is called
    /// `name`; `None` if there is no such file.
    pub fn len_of_signed(&self, index: FileIndex, name: &FileName) -> Option<u64> {
        match self.signed.get(index.get()) {
            Some(&ABSENT) | None => self.len_of(name),
            Some(&len) => Some(len),
        }
    }
}
