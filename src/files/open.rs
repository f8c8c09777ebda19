//! Opening files to be read, each as carefully as the source of its path demands.
//!
//! Guarantees: nothing but a regular file is opened by [`open_found`] and given by [`open_entry`],
//! and neither waits for what has the name. Doesn't: believe what is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use super::identity::{kind_of, not_regular, too_large};
use super::o_path::{follow, reopen};

/// Opens what the *user* names to be read: a file, a pipe, `/dev/stdin`, a descriptor of
/// `/proc/self/fd`. Waits for a FIFO that nothing writes to, as every tool does. Not for a path
/// that comes from a model or a configuration: those must be regular files.
///
/// # Errors
/// What the file system says, also of a directory.
pub fn open_given(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path)?;
    match kind_of(&file)? {
        FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Ok(file),
    }
}

/// Opens a file that was *found* beneath a directory, which others may have filled: a regular file
/// of at most `limit` bytes, or nothing. Links are followed. What is something else is not opened
/// at all. Gives its claimed length too.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn open_found(directory: &Directory, path: &Path, limit: usize) -> io::Result<(File, usize)> {
    let found = follow(directory.as_fd(), path)?.into_fd();
    let kind = kind_of(&found)?;
    if kind != FileType::RegularFile {
        return Err(not_regular(kind));
    }
    let file = reopen(found, OFlags::RDONLY | OFlags::NONBLOCK)?;
    match usize::try_from(file.metadata()?.len()) {
        Ok(len) if len <= limit => Ok((file, len)),
        _ => Err(too_large(limit)),
    }
}

/// Why [`open_entry`] gives no file.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It is something else, a link included.
    NotRegular(FileType),
    /// What the kernel says.
    Io(io::Error),
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotRegular(kind) => not_regular(kind),
            OpenError::Io(error) => error,
        }
    }
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Opens a regular file by its name in a directory, through no link, and gives what the kernel says
/// of the very file that was opened. What has the name by now may be a FIFO: it isn't waited for.
pub(crate) fn open_entry(directory: impl AsFd, name: &OsStr) -> Result<(File, Stat), OpenError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(OpenError::NotRegular(FileType::Symlink)),
        // A socket can't be opened.
        Err(Errno::NXIO) => return Err(OpenError::NotRegular(FileType::Socket)),
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file.into(), stat)),
        kind => Err(OpenError::NotRegular(kind)),
    }
}
