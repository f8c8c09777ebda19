//! Unmounting from outside the process that serves.
//!
//! Guarantees: only a file system of type [`FS_TYPE`] is unmounted, dead ones included, and it is
//! gone from the mountpoint afterwards. Where the kernel tells which process serves it (Linux 6.15,
//! and permission to look), that process has ended too, unless the mount was in use; elsewhere it
//! has let go of it, if it has a control socket. What has other mounts inside stays.
//!
//! Doesn't: end what is in use; [`unmount_or_detach`] takes it out of sight. Nor guard against
//! another program that mounts at the very place between our look and the call: the kernel takes
//! away what is on top there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags};

use super::FS_TYPE;
use super::connection::fuse_connection;
use super::control::{self, Address, Listening};
use super::fusermount::{self, HelperError};
use super::holders::Holders;
use super::mount_error::FUSE_DEVICE;
use super::mountinfo::{DeviceId, MountEntry, MountTable};
use super::pages::PAGES_FS_TYPE;
use super::place::Place;
use crate::name::Escaped;

/// How long the daemon gets to end by itself once its mount is gone.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(10);

/// How often, and how long apart, a mount through EROFS is found in use before it counts as so.
const BUSY_TRIES: u32 = 5;
const BUSY_STEP: Duration = Duration::from_millis(20);

/// Unmounts the model on `mountpoint`.
///
/// The path is resolved once, to the root of a mount. What is unmounted is found by the number of
/// that mount, in a directory that is held open. A mountpoint can't be renamed in its directory, so
/// no other file system can take its place there; only root, or a process that has moved it in
/// another mount namespace, could do that.
pub fn unmount(mountpoint: &Path) -> Result<(), UnmountError> {
    let (resolved, entry) = find(mountpoint)?;
    let entry = &entry;
    // Found before, because afterwards nothing ties a process to what it served.
    let daemons = daemons(entry.device);
    let listening = Address::of(entry).and_then(Listening::on);
    finish(unmount_patiently(entry), entry, &resolved, false)?;
    let let_go = || listening.is_none_or(|daemon| daemon.ended_within(DAEMON_TIMEOUT));
    if !daemons.iter().all(ended) || !let_go() {
        tracing::warn!("the process that served the mount has not ended yet");
    }
    Ok(())
}

/// Unmounts the model on `mountpoint`, or, where it is in use, takes it out of sight: what is open
/// in it is served until it is closed. Then it tells who uses it, as far as that can be seen.
pub fn unmount_or_detach(mountpoint: &Path) -> Result<Option<Holders>, UnmountError> {
    match unmount(mountpoint) {
        Err(UnmountError::Busy { .. }) => {}
        done => return done.map(|()| None),
    }
    let (resolved, entry) = find(mountpoint)?;
    let table = MountTable::read().map_err(UnmountError::Table)?;
    // They would go along.
    if table.inside(&entry).is_some() || table.is_covered(&entry) {
        return Err(UnmountError::Busy {
            mountpoint: resolved,
        });
    }
    // Before it is gone: afterwards no path leads there.
    let holders = Holders::of(entry.id, entry.device, &entry.mountpoint);
    finish(detach_entry(&entry), &entry, &resolved, true)?;
    Ok(Some(holders))
}

/// The mount of ours on `mountpoint`, and its path without links.
fn find(mountpoint: &Path) -> Result<(PathBuf, MountEntry), UnmountError> {
    let unknown = |source| UnmountError::Path {
        mountpoint: mountpoint.to_owned(),
        source,
    };
    let root = Place::open(mountpoint).map_err(unknown)?;
    let resolved = root.path().map_err(unknown)?;
    let table = MountTable::read().map_err(UnmountError::Table)?;
    let Some(entry) = root.mounted(&table).map_err(unknown)? else {
        return Err(UnmountError::NotMounted {
            mountpoint: resolved,
        });
    };
    if entry.fs_type != FS_TYPE && !control::is_model(entry) {
        return Err(UnmountError::NotOurs {
            mountpoint: resolved,
            fs_type: entry.fs_type.escape_debug().to_string(),
        });
    }
    // It isn't held open: that would be a use.
    Ok((resolved, entry.clone()))
}

/// Sees to what came of the system call, with the helper where that is needed.
fn finish(
    result: Result<(), Errno>,
    entry: &MountEntry,
    resolved: &Path,
    lazy: bool,
) -> Result<(), UnmountError> {
    let mountpoint = resolved.to_owned();
    match result {
        Ok(()) => {}
        Err(Errno::BUSY) => return Err(UnmountError::Busy { mountpoint }),
        Err(Errno::PERM | Errno::ACCESS) => with_helper(&entry.mountpoint, lazy)?,
        // Another process was faster.
        Err(Errno::INVAL | Errno::NOENT | Errno::STALE) if found(entry).is_none() => {}
        Err(Errno::NOENT | Errno::STALE) => return Err(UnmountError::Moved { mountpoint }),
        Err(errno) => {
            return Err(UnmountError::Kernel {
                mountpoint,
                source: errno.into(),
            });
        }
    }
    // Its numbers may be another mount's by now, but hardly its place too.
    if found(entry).is_some_and(|now| now.mountpoint == entry.mountpoint) {
        return Err(UnmountError::Remains { mountpoint });
    }
    if let Some(address) = Address::of(entry) {
        // Of a daemon that was killed.
        control::forget(address);
    }
    Ok(())
}

/// Unmounts, again where it was in use for a moment: a daemon opens files of its own EROFS mount to
/// take back pages around a failure.
fn unmount_patiently(entry: &MountEntry) -> Result<(), Errno> {
    let is_pages = entry.fs_type == PAGES_FS_TYPE;
    let mut tries = if is_pages { BUSY_TRIES } else { 1 };
    loop {
        tries -= 1;
        match unmount_entry(entry) {
            Err(Errno::BUSY) if tries > 0 => std::thread::sleep(BUSY_STEP),
            result => return result,
        }
    }
}

/// Unmounts by the system call. `ESTALE` if it isn't there any more.
fn unmount_entry(entry: &MountEntry) -> Result<(), Errno> {
    let (parent, name, root) = open_entry(entry)?;
    // It can't be unmounted while it is open.
    drop(root);
    let path = parent.descriptor_path().join(name);
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW)
}

/// The same, by a descriptor of the very mount, and busy or not.
fn detach_entry(entry: &MountEntry) -> Result<(), Errno> {
    let (_, _, root) = open_entry(entry)?;
    rustix::mount::unmount(root.descriptor_path(), UnmountFlags::DETACH)
}

/// The directory that has the mountpoint, its name there, and the root of the mount.
fn open_entry(entry: &MountEntry) -> Result<(Place, &OsStr, Place), Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (Some(parent), Some(name)) = (entry.mountpoint.parent(), entry.mountpoint.file_name())
    else {
        return Err(Errno::INVAL);
    };
    let parent = Place::open(parent).map_err(errno)?;
    let path = parent.descriptor_path().join(name);
    let root = Place::open_no_link(&path).map_err(errno)?;
    let is_it = root.mount_id().map_err(errno)? == entry.id
        && root.device().map_err(errno)? == entry.device;
    if !is_it {
        return Err(Errno::STALE);
    }
    Ok((parent, name, root))
}

fn with_helper(mountpoint: &Path, lazy: bool) -> Result<(), UnmountError> {
    let mountpoint = mountpoint.to_owned();
    fusermount::unmount(&mountpoint, lazy).map_err(|error| match error {
        HelperError::Missing => UnmountError::NoHelper,
        HelperError::Run(source) => UnmountError::HelperFailed(source),
        HelperError::Refused(message) => {
            let message = message.to_string();
            if message.contains("busy") {
                UnmountError::Busy { mountpoint }
            } else {
                UnmountError::Refused {
                    mountpoint,
                    message,
                }
            }
        }
    })
}

/// The mount in the table, if it is there still.
fn found(entry: &MountEntry) -> Option<MountEntry> {
    let table = MountTable::read().ok()?;
    let now = table.by_id(entry.id).cloned();
    now.filter(|now| now.device == entry.device)
}

/// The processes that hold the connection behind `device`: those whose descriptors of the FUSE
/// device say so in `/proc`. Empty on older kernels, and processes of other users are not seen.
fn daemons(device: DeviceId) -> Vec<OwnedFd> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = rustix::process::getpid().as_raw_pid();
    processes
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            // A program that serves and unmounts by itself needn't wait for its own end.
            if pid == own {
                return None;
            }
            // Opened before looking, so that the number can't come to mean another process.
            let handle = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty());
            serves(&process.path(), device).then_some(handle.ok()?)
        })
        .collect()
}

fn serves(process: &Path, device: DeviceId) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(FUSE_DEVICE)))
        .any(|fd| {
            std::fs::read_to_string(process.join("fdinfo").join(fd.file_name()))
                .is_ok_and(|info| fuse_connection(&info) == Some(device.minor))
        })
}

/// Waits for a process to end.
fn ended(process: &OwnedFd) -> bool {
    let timeout = Timespec::try_from(DAEMON_TIMEOUT).ok();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready == 1)
}

/// Why a mount is still there.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// No such path.
    #[error("cannot find {}", Escaped::path(mountpoint))]
    Path {
        /// As given.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The mount table can't be read.
    #[error("cannot read the mount table, /proc/self/mountinfo")]
    Table(#[source] io::Error),
    /// Nothing to unmount.
    #[error("nothing is mounted on {}", Escaped::path(mountpoint))]
    NotMounted {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Something else is mounted there.
    #[error(
        "{} is a mount of type {fs_type}, not a mount of model-fs",
        Escaped::path(mountpoint)
    )]
    NotOurs {
        /// Without links.
        mountpoint: PathBuf,
        /// Its type, escaped.
        fs_type: String,
    },
    /// Files are open in it, or a process has its working directory there.
    #[error("{} is in use", Escaped::path(mountpoint))]
    Busy {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Not root, and no helper.
    #[error("unmounting needs root or the helper fusermount3, and that was not found")]
    NoHelper,
    /// The helper couldn't be run.
    #[error("unmounting with fusermount3 failed")]
    HelperFailed(#[source] io::Error),
    /// The helper said no.
    #[error("cannot unmount {}: {message}", Escaped::path(mountpoint))]
    Refused {
        /// Without links.
        mountpoint: PathBuf,
        /// The helper's message, escaped.
        message: String,
    },
    /// The kernel said no.
    #[error("cannot unmount {}", Escaped::path(mountpoint))]
    Kernel {
        /// Without links.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A directory above it was renamed, or something else was mounted, while it was looked at.
    #[error(
        "{} was moved meanwhile, and is still mounted",
        Escaped::path(mountpoint)
    )]
    Moved {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Unmounting succeeded and yet it is there.
    #[error("{} is still mounted", Escaped::path(mountpoint))]
    Remains {
        /// Without links.
        mountpoint: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_model_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            unmount(dir.path()),
            Err(UnmountError::NotMounted { .. })
        ));
        assert!(matches!(
            unmount(Path::new("/proc")),
            Err(UnmountError::NotOurs { fs_type, .. }) if fs_type == "proc"
        ));
        assert!(matches!(
            unmount(&dir.path().join("no/such")),
            Err(UnmountError::Path { .. })
        ));
    }

    #[test]
    fn the_connection_is_read_from_fdinfo() {
        assert_eq!(fuse_connection("pos:\t0\nfuse_connection:\t45\n"), Some(45));
        assert_eq!(fuse_connection("pos:\t0\nflags:\t02\n"), None);
        assert_eq!(fuse_connection("fuse_connection:\tx\n"), None);
    }
}
