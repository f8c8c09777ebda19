//! Which file something is, of what kind, and the errors for what isn't as it has to be.
//!
//! Guarantees: both are asked of what is open, so that they are about that very file. Doesn't: say
//! anything about its name.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

/// Which file or directory something is, whatever leads to it. Numbers are given anew once nothing
/// refers to a file any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what is open.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Ok((&rustix::fs::fstat(file)?).into())
    }
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// What a file is, in words.
pub(crate) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

/// Of what kind an open file is.
pub(super) fn kind_of(file: impl AsFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// The error for what is no regular file, where one has to be.
pub(super) fn not_regular(kind: FileType) -> io::Error {
    io::Error::other(format!("it is {}, not a regular file", describe(kind)))
}

/// The error for what is longer than it may be.
pub(super) fn too_large(limit: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it has more than {limit} bytes"),
    )
}
