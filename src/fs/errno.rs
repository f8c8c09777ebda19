//! From what went wrong to what a program is told.
//!
//! Guarantees: [`errno`] is the only place where errors become errno values, and has no wildcard:
//! a new error has to be thought of here. Integrity failures are EIO, whatever their cause.

use rustix::io::Errno;

use crate::reading::ReadError;

/// Why an operation on the file system failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// No such name, or no such inode.
    #[error("no such file or directory")]
    NotFound,
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
    /// Not for the likes of us: execute permission on a file.
    #[error("permission denied")]
    Denied,
    /// The file has another length than was claimed, and has to be looked up again. The kernel does
    /// that by itself, once, where an open ends so.
    #[error("the file's length has become known; look it up again")]
    Stale,
    /// The content can't be proved, or can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The errno value for an error.
pub fn errno(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::NOENT,
        FsError::NotADirectory => Errno::NOTDIR,
        FsError::IsADirectory => Errno::ISDIR,
        FsError::ReadOnly => Errno::ROFS,
        FsError::BadHandle => Errno::BADF,
        FsError::NoAttribute => Errno::NODATA,
        FsError::Denied => Errno::ACCESS,
        FsError::Stale => Errno::STALE,
        FsError::Read(
            ReadError::Violation(_)
            | ReadError::Source { .. }
            | ReadError::Stopped { .. }
            | ReadError::Abandoned { .. },
        ) => Errno::IO,
    }
}
