//! What `mount -o remount` may change of a mount.
//!
//! Guarantees: nothing but whether programs can be run from it. It stays read-only, without
//! set-user-id files, devices and access times, and all else stays as it was when it was mounted.
//! Doesn't: touch what isn't a mount of ours, or ask its process anything.

use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use super::FS_TYPE;
use super::control;
use super::mountinfo::{MountEntry, MountTable};
use super::options::MountOptions;
use super::place::Place;
use crate::name::Escaped;

/// Has the mount on `mountpoint` be `noexec`, or not, as the options say.
pub fn remount(mountpoint: &Path, options: &MountOptions) -> Result<(), RemountError> {
    let path = || mountpoint.to_owned();
    let unusable = |source| RemountError::Path {
        mountpoint: path(),
        source,
    };
    let place = Place::open(mountpoint).map_err(unusable)?;
    let table = MountTable::read().map_err(RemountError::Table)?;
    let mounted = place.mounted(&table).map_err(unusable)?;
    let is_ours = |entry: &MountEntry| entry.fs_type == FS_TYPE || control::is_model(entry);
    if !mounted.is_some_and(is_ours) {
        return Err(RemountError::NotOurs { mountpoint: path() });
    }
    // Of this mount alone: the options of its file system are none of mount(8)'s.
    let flags = options.flags() | MountFlags::BIND;
    rustix::mount::mount_remount(place.descriptor_path(), flags, c"").map_err(|error| {
        RemountError::Kernel {
            mountpoint: path(),
            source: error.into(),
        }
    })
}

/// Why a mount wasn't changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemountError {
    /// The mountpoint can't be looked at.
    #[error("cannot remount {}", Escaped::path(mountpoint))]
    Path {
        /// Where.
        mountpoint: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The mount table can't be read.
    #[error("cannot read the mount table")]
    Table(#[source] io::Error),
    /// No model is mounted there.
    #[error("no model is mounted on {}", Escaped::path(mountpoint))]
    NotOurs {
        /// Where.
        mountpoint: PathBuf,
    },
    /// The kernel refused.
    #[error("the kernel doesn't remount {}", Escaped::path(mountpoint))]
    Kernel {
        /// Where.
        mountpoint: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
