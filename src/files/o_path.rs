//! Files that are only looked at, by descriptors with `O_PATH` (open(2)), and opened for use later.
//!
//! Guarantees: looking at a file has no effect, whatever it is: no device is started and no FIFO
//! waited for. What is opened by [`reopen`] is the file that was looked at, whatever has its name
//! by now; for that `/proc` is needed. Doesn't: judge what is found.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::identity::kind_of;

/// For what is only to be looked at: opening it has no effect, whatever it is.
pub(super) const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A path that leads exactly to what is open here, for as long as it is, in this process
/// (`proc_pid_fd(5)`).
pub fn descriptor_path(file: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Whether such paths lead anywhere: in a bare `chroot` there may be no `/proc`.
pub fn has_descriptor_paths() -> bool {
    std::fs::symlink_metadata("/proc/self/fd").is_ok()
}

/// Looks at what has a name in a directory, a link itself.
pub(crate) fn look_at_entry(directory: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = PATH_ONLY | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Looks at a model or whatever else the user names: links followed, nothing read.
pub(crate) fn look_at(path: &Path) -> io::Result<(OwnedFd, FileType)> {
    let fd = rustix::fs::openat(CWD, path, PATH_ONLY, Mode::empty())?;
    let kind = kind_of(&fd)?;
    Ok((fd, kind))
}

/// Opens what was looked at, and nothing else, whatever has its name by now.
pub(crate) fn reopen(file: impl AsFd, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(descriptor_path(file.as_fd()), flags, Mode::empty())?.into())
}

/// Where links lead.
pub(super) enum Followed {
    /// To a name.
    Named(OwnedFd),
    /// To what some process has open, by a link of `/proc`; or that can't be told.
    Magic(OwnedFd),
}

impl Followed {
    pub(super) fn into_fd(self) -> OwnedFd {
        match self {
            Self::Named(fd) | Self::Magic(fd) => fd,
        }
    }
}

/// Follows links, without opening what they lead to.
pub(super) fn follow(directory: BorrowedFd<'_>, path: &Path) -> io::Result<Followed> {
    let named = rustix::fs::openat2(
        directory,
        path,
        PATH_ONLY,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    );
    match named {
        Ok(fd) => Ok(Followed::Named(fd)),
        // Kernels before 5.6, seccomp filters that don't know the call, and links of /proc.
        Err(Errno::NOSYS | Errno::PERM | Errno::LOOP) => Ok(Followed::Magic(rustix::fs::openat(
            directory,
            path,
            PATH_ONLY,
            Mode::empty(),
        )?)),
        Err(errno) => Err(errno.into()),
    }
}
