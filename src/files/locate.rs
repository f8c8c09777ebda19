//! Where something that is open lies now.
//!
//! Guarantees: a path that is given leads to the very file or directory that was asked about, at
//! that moment. Doesn't: keep it there. Needs `/proc` (proc(5)).

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::directory::Directory;
use super::identity::Identity;
use super::o_path::{PATH_ONLY, descriptor_path, look_at_entry};

/// Deepest directory whose way up is followed.
const MAX_DEPTH: usize = 4096;

impl Directory {
    /// Where it lies now: absolute, without links.
    ///
    /// # Errors
    /// Where no path leads to it: it was removed, covered by a mount, or lies outside of what this
    /// process can reach.
    pub fn locate(&self) -> io::Result<PathBuf> {
        let path = kernel_path(self.as_fd())?;
        let found = open_without_links(&path).map_err(not_by_this_path)?;
        if Identity::of(found)? != self.identity()? {
            return Err(nowhere());
        }
        Ok(path)
    }

    /// Whether it is the directory of this identity, or lies beneath it.
    ///
    /// # Errors
    /// When the kernel doesn't show a directory on the way up.
    pub fn is_within(&self, above: Identity) -> io::Result<bool> {
        let flags = PATH_ONLY | OFlags::DIRECTORY;
        let root = Identity::of(rustix::fs::open("/", flags, Mode::empty())?)?;
        let mut here = self.as_fd().try_clone_to_owned()?;
        for _ in 0..MAX_DEPTH {
            match Identity::of(&here)? {
                identity if identity == above => return Ok(true),
                identity if identity == root => return Ok(false),
                _ => here = rustix::fs::openat(&here, "..", flags, Mode::empty())?,
            }
        }
        Err(nowhere())
    }
}

/// Where an open file lies now: the directory, opened, and its name there. The directory's path is
/// absolute and without links.
///
/// # Errors
/// Where no path leads to the file: it was removed, covered by a mount, lies outside of what this
/// process can reach, or never had a name.
pub fn place_of(file: impl AsFd) -> io::Result<(Directory, OsString)> {
    let path = kernel_path(file.as_fd())?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(nowhere());
    };
    let directory = open_without_links(parent).map_err(not_by_this_path)?;
    let directory = Directory::new(directory, parent.to_owned());
    let found = look_at_entry(&directory, name).map_err(|errno| not_by_this_path(errno.into()))?;
    if Identity::of(found)? != Identity::of(file)? {
        return Err(nowhere());
    }
    Ok((directory, name.to_owned()))
}

/// What the kernel calls a file (proc(5)). The name alone proves nothing: it may belong to another
/// mount namespace, or be that of a file that was removed.
fn kernel_path(file: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let link = rustix::fs::readlink(descriptor_path(file), Vec::new())?;
    let path = PathBuf::from(OsString::from_vec(link.into_bytes()));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(nowhere())
    }
}

/// Opens an absolute path that has no links on it.
fn open_without_links(path: &Path) -> io::Result<OwnedFd> {
    let mut fd = rustix::fs::open("/", PATH_ONLY, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::RootDir => {}
            // A link is opened itself, and leads to nothing beneath it.
            Component::Normal(name) => fd = look_at_entry(&fd, name)?,
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(nowhere());
            }
        }
    }
    Ok(fd)
}

/// A path that the kernel gave, and that leads elsewhere or to nothing here.
fn not_by_this_path(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => nowhere(),
        _ => error,
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no path leads to it any more")
}
