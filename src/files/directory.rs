//! Directories by descriptor.
//!
//! Guarantees: a [`Directory`] stays the one that was opened when it is renamed, or when another is
//! put in its place; nothing beneath it is made, removed or opened through a link. Doesn't: say
//! where it lies now, see [`Directory::locate`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::identity::Identity;
use super::o_path::PATH_ONLY;
use crate::name::Escaped;

/// An open directory. It stays that directory when it is renamed, or when another is put in its
/// place.
#[derive(Debug, Clone)]
pub struct Directory {
    /// With `O_PATH`: to search it is enough.
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory, links followed: a path that the user gave.
    ///
    /// # Errors
    /// What the kernel says, also where it is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self::new(fd, path.to_owned()))
    }

    /// Takes over a directory that is open.
    pub(crate) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self {
            fd: Arc::new(fd),
            path,
        }
    }

    /// The same directory, at this path.
    pub(crate) fn found_at(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The path that it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which directory it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn identity(&self) -> io::Result<Identity> {
        Identity::of(&self.fd)
    }

    /// Opens a directory in this one, through no link.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] where there is something else, links included; else what
    /// the kernel says.
    pub fn open_beneath(&self, name: &OsStr) -> io::Result<Self> {
        let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, component(name)?, flags, Mode::empty()) {
            Ok(fd) => Ok(Self::new(fd, self.path.join(name))),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "it is a link or a file, not a directory",
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, and makes it where it isn't there, with these permission bits, less those of the
    /// umask.
    ///
    /// # Errors
    /// As [`open_beneath`](Self::open_beneath).
    pub fn make(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.fd, component(name)?, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => self.open_beneath(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            component(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes an empty directory in it.
    ///
    /// # Errors
    /// What the kernel says, `ENOTEMPTY` where it isn't.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            component(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Shows each name in it but `.` and `..`, however many there are.
    ///
    /// # Errors
    /// What the kernel or `see` says.
    pub fn for_each_name(&self, mut see: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        for entry in Dir::new(listing)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => see(OsStr::from_bytes(name))?,
            }
        }
        Ok(())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A name as one component of a path.
pub(super) fn component(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(only),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no file name", Escaped::path(Path::new(name))),
        )),
    }
}

/// The directory that a path lies in: its parent, or `.` where it has none.
pub fn parent_of(path: &Path) -> &Path {
    or_current(path.parent().unwrap_or(Path::new("")))
}

/// The path of a directory, which is `.` where it is empty.
fn or_current(path: &Path) -> &Path {
    if path == Path::new("") {
        Path::new(".")
    } else {
        path
    }
}

/// The nearest directory on the way to `path` that is there, and the names that aren't there yet.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidInput`] for a `..` below something that isn't
/// there: where that leads isn't known before it is made.
pub fn nearest(path: &Path) -> io::Result<(Directory, Vec<OsString>)> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        match Directory::open(or_current(there)) {
            Ok(directory) => {
                missing.reverse();
                return Ok((directory, missing));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => match (there.parent(), there.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name.to_owned());
                    there = parent;
                }
                (Some(_), None) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "it has a \"..\" below a directory that is not there",
                    ));
                }
                (None, _) => return Err(error),
            },
        }
    }
}
