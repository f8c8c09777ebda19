//! From what went wrong to what a program is told.
//!
//! Guarantees: [`errno`] is the only place where errors become errno values, and has no wildcard:
//! a new error has to be thought of here. Integrity failures are EIO, whatever their cause, and
//! nothing else is told of a source that fails, but for what this machine is short of.

use rustix::io::Errno;

use crate::name::MAX_COMPONENT;
use crate::reading::{ReadError, SourceError};

/// Why an operation on the file system failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// No such name, or no such inode.
    #[error("no such file or directory")]
    NotFound,
    /// No name is that long.
    #[error("the name is longer than {MAX_COMPONENT} bytes")]
    NameTooLong,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsADirectory,
    /// Signed content can't be changed.
    #[error("the file system is read-only")]
    ReadOnly,
    /// Not open.
    #[error("no such open file")]
    BadHandle,
    /// No extended attribute of that name.
    #[error("no such attribute")]
    NoAttribute,
    /// Execute permission on a file, which no file has.
    #[error("permission denied")]
    Denied,
    /// The file has another length than was claimed, and has to be looked up again. The kernel does
    /// that by itself, once, where an open ends so.
    #[error("the file's length has become known; look it up again")]
    Stale,
    /// Fewer bytes are there than were asked for, in a place where an answer is whole or an error.
    #[error("fewer bytes are there than were asked for")]
    Short,
    /// A violation was met, after which nothing is to be read any more.
    #[error("locked down after a violation")]
    LockedDown,
    /// The content can't be proved, or can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The errno value for an error.
pub fn errno(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::NOENT,
        FsError::NameTooLong => Errno::NAMETOOLONG,
        FsError::NotADirectory => Errno::NOTDIR,
        FsError::IsADirectory => Errno::ISDIR,
        FsError::ReadOnly => Errno::ROFS,
        FsError::BadHandle => Errno::BADF,
        FsError::NoAttribute => Errno::NODATA,
        FsError::Denied => Errno::ACCESS,
        FsError::Stale => Errno::STALE,
        FsError::Read(ReadError::Source { error, .. }) => source_errno(error),
        FsError::LockedDown
        | FsError::Short
        | FsError::Read(
            ReadError::Violation(_) | ReadError::Stopped { .. } | ReadError::Abandoned { .. },
        ) => Errno::IO,
    }
}

/// A shortage on this machine (descriptors, memory) is told as it is (`open(2)`): it says nothing
/// about the source, and it ends. All else is EIO: what the source's own errno value means can be
/// judged only by looking into the source; it is in the log, and would mislead a program that reads
/// the mount.
fn source_errno(error: &SourceError) -> Errno {
    match error {
        SourceError::Missing | SourceError::NotAFile(_) => Errno::IO,
        SourceError::Io(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(short @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => short,
            // Errno values can't be listed.
            Some(_) | None => Errno::IO,
        },
    }
}
