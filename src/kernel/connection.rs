//! A connection to the FUSE kernel module, mounted in one of two ways.
//!
//! Guarantees: what either way refuses comes back as a [`MountError`], in the same words. Doesn't:
//! say where the mount came to; the helper is told a path. See
//! [`Attached`](super::attach::Attached).

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::fusermount::{self, HelperError};
use super::mount_error::{FUSE_DEVICE, MountError, MountRefusal};
use super::new_mount::{self, Identity};
use super::options::{Access, MountOptions};
use super::place::Place;

/// Mounts by the system call; `None` if only the helper may.
#[allow(clippy::type_complexity, reason = "read in one place")]
pub(super) fn by_system_call(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Option<(OwnedFd, Option<Identity>)>, MountError> {
    let connection = open()?;
    match new_mount::mount(&connection, place, options) {
        Ok(identity) => Ok(Some((connection, identity))),
        Err(Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(Errno::NODEV) => Err(MountError::NoDevice),
        Err(errno) => Err(MountError::Kernel {
            mountpoint: mountpoint.to_owned(),
            source: errno.into(),
        }),
    }
}

/// A connection that nothing is mounted through yet.
pub(super) fn open() -> Result<OwnedFd, MountError> {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    match opened {
        Ok(file) => Ok(OwnedFd::from(file)),
        Err(source) => match Errno::from_io_error(&source) {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Err(MountError::NoDevice),
            // The helper opens it with the same user's rights.
            _ => Err(MountError::Device(source)),
        },
    }
}

/// Mounts with `fusermount3`.
pub(super) fn by_helper(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    let options_given = options.fusermount_options();
    fusermount::mount(place, &options_given).map_err(|error| match error {
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
                    reason: MountRefusal::of(&text),
                    message: text,
                }
            }
        }
    })
}

/// The connection number in the `fdinfo` of a FUSE device; the minor number of the file system.
pub(super) fn fuse_connection(fdinfo: &str) -> Option<u32> {
    let value = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("fuse_connection:"))?;
    value.trim().parse().ok()
}
