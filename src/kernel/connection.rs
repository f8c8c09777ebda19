//! A connection to the FUSE kernel module, mounted in one of two ways.
//!
//! Guarantees: what either way refuses comes back as a [`MountError`], in the same words. Doesn't:
//! say where the mount came to; the helper is told a path. See
//! [`Attached`](super::attach::Attached).

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::fusermount::{self, HelperError};
use super::mount_error::{FUSE_DEVICE, MountError};
use super::new_mount::{self, Identity};
use super::options::{Access, MountOptions};
use super::place::Place;
use super::refusal::MountRefusal;

/// Number of the FUSE device, the same on every Linux (`Documentation/admin-guide/devices.txt`).
const DEVICE_NUMBER: (u32, u32) = (10, 229);

/// A connection that is mounted, and which mount it is if that is known.
type Mounted = (OwnedFd, Option<Identity>);

/// Mounts by the system call, or by the helper where only that may.
pub(super) fn mount(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Mounted, MountError> {
    match by_system_call(place, mountpoint, options)? {
        Ok(mounted) => Ok(mounted),
        Err(refused) => Ok((by_helper(place, mountpoint, options, refused)?, None)),
    }
}

/// Mounts by the system call. The inner error is the kernel's if the helper may have more success.
fn by_system_call(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Result<Mounted, Errno>, MountError> {
    let connection = open()?;
    match new_mount::mount(&connection, place, options) {
        Ok(identity) => Ok(Ok((connection, identity))),
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => Ok(Err(errno)),
        Err(Errno::NODEV) => Err(MountError::NoDevice),
        Err(Errno::INVAL) if !is_the_device() => Err(MountError::NotTheDevice),
        Err(errno) => Err(kernel(mountpoint, errno)),
    }
}

/// A connection that nothing is mounted through yet.
pub(super) fn open() -> Result<OwnedFd, MountError> {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    match opened {
        Ok(file) => Ok(OwnedFd::from(file)),
        Err(source) => match Errno::from_io_error(&source) {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Err(MountError::NoDevice),
            _ if !is_the_device() => Err(MountError::NotTheDevice),
            // The helper opens it with the same user's rights.
            _ => Err(MountError::Device(source)),
        },
    }
}

fn kernel(mountpoint: &Path, errno: Errno) -> MountError {
    MountError::Kernel {
        mountpoint: mountpoint.to_owned(),
        source: errno.into(),
        reason: MountRefusal::of_errno(errno),
    }
}

/// Whether what has the device's name is the device. A container engine that is told to pass in a
/// device that the host lacks makes a directory of that name.
fn is_the_device() -> bool {
    rustix::fs::stat(FUSE_DEVICE).is_ok_and(|found| {
        let number = found.st_rdev;
        rustix::fs::FileType::from_raw_mode(found.st_mode).is_char_device()
            && (rustix::fs::major(number), rustix::fs::minor(number)) == DEVICE_NUMBER
    })
}

/// Mounts with `fusermount3`, after the system call was refused.
fn by_helper(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
    refused: Errno,
) -> Result<OwnedFd, MountError> {
    let options_given = options.fusermount_options();
    fusermount::mount(place, &options_given).map_err(|error| match error {
        // The helper would have no more rights than root, and so would be no help.
        HelperError::Missing if rustix::process::geteuid().is_root() => kernel(mountpoint, refused),
        HelperError::Missing => MountError::NoHelper,
        HelperError::Run(source) => MountError::HelperFailed(source),
        HelperError::Refused(message) => {
            let text = message.to_string();
            if text.contains("user_allow_other") {
                MountError::OthersNotAllowed {
                    option: match options.access {
                        Access::OwnerAndRoot => "allow_root",
                        Access::Owner | Access::Everybody => "allow_other",
                    },
                }
            } else {
                MountError::Refused {
                    mountpoint: mountpoint.to_owned(),
                    reason: MountRefusal::of_message(&text),
                    message: text,
                }
            }
        }
    })
}

/// Whether the file system behind a connection exists: nobody has unmounted it, and the connection
/// wasn't broken.
pub(super) fn stands(connection: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(connection, PollFlags::empty())];
    let now = Timespec::default();
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && !polled[0].revents().contains(PollFlags::ERR)
}

/// The number of a connection, which is the minor number of its file system. `None` where the kernel
/// doesn't tell (before Linux 6.15).
pub(super) fn number(connection: &OwnedFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", connection.as_raw_fd());
    fuse_connection(&std::fs::read_to_string(path).ok()?)
}

/// The connection number in the `fdinfo` of a FUSE device; the minor number of the file system.
pub(super) fn fuse_connection(fdinfo: &str) -> Option<u32> {
    let value = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("fuse_connection:"))?;
    value.trim().parse().ok()
}
