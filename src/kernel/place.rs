//! A directory, held by a descriptor.
//!
//! Guarantees: a [`Place`] is the directory that its path led to when it was opened, whatever is
//! renamed or mounted there afterwards. Opening it and asking which mount it lies in asks nothing
//! of the mounted file system, so both work on dead and stuck ones. Doesn't: keep the directory
//! from being moved or removed. While it is open its mount is in use.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags};

use super::mountinfo::{self, DeviceId, MountEntry, MountTable};
use crate::files;

/// What the kernel appends to the path of a directory that is removed (`proc_pid_fd(5)`).
const REMOVED: &[u8] = b" (deleted)";

/// A directory.
#[derive(Debug)]
pub(super) struct Place(OwnedFd);

impl Place {
    /// The directory at `path`, links followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, OFlags::empty())
    }

    /// The directory at `path`, which must not be a link itself.
    pub(super) fn open_no_link(path: &Path) -> io::Result<Self> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    fn open_with(path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// A path that leads exactly here for as long as this is open, in this process.
    pub(super) fn descriptor_path(&self) -> PathBuf {
        files::descriptor_path(self.as_fd())
    }

    /// Where it is now: absolute, without links. An error if it is removed.
    pub(super) fn path(&self) -> io::Result<PathBuf> {
        let path = rustix::fs::readlink(self.descriptor_path(), Vec::new())?.into_bytes();
        // A directory may have such a name; then it is there.
        let removed = path.ends_with(REMOVED);
        let path = PathBuf::from(OsString::from_vec(path));
        if removed && std::fs::symlink_metadata(&path).is_err() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(path)
    }

    /// Number of the mount that it lies in.
    pub(super) fn mount_id(&self) -> io::Result<u64> {
        mountinfo::mount_id(&self.0)?
            .ok_or_else(|| io::Error::other("the kernel doesn't tell which mount it lies in"))
    }

    /// Number of its file system.
    pub(super) fn device(&self) -> io::Result<DeviceId> {
        let found = self.statx()?;
        Ok(DeviceId {
            major: found.stx_dev_major,
            minor: found.stx_dev_minor,
        })
    }

    /// The entry of `table` for the mount that has its root here; `None` if this is no such root.
    pub(super) fn mounted<'a>(&self, table: &'a MountTable) -> io::Result<Option<&'a MountEntry>> {
        let (id, device) = (self.mount_id()?, self.device()?);
        let entry = table.by_id(id);
        let Some(entry) = entry.filter(|entry| entry.device == device) else {
            return Ok(None);
        };
        let found = self.statx()?;
        // Linux 5.8 tells; before, the path has to.
        let is_root = if found
            .stx_attributes_mask
            .contains(StatxAttributes::MOUNT_ROOT)
        {
            found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        } else {
            self.path()? == entry.mountpoint
        };
        Ok(is_root.then_some(entry))
    }

    /// What the kernel knows without asking the file system.
    fn statx(&self) -> io::Result<Statx> {
        Ok(rustix::fs::statx(
            &self.0,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
            StatxFlags::empty(),
        )?)
    }
}

impl From<OwnedFd> for Place {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl From<Place> for OwnedFd {
    fn from(place: Place) -> Self {
        place.0
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_stays_the_directory_that_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let place = Place::open(&root.join("link")).unwrap();
        assert!(Place::open_no_link(&root.join("link")).is_err());
        assert_eq!(place.path().unwrap(), root.join("a"));
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        assert_eq!(place.path().unwrap(), root.join("b"));
        std::fs::write(place.descriptor_path().join("file"), b"x").unwrap();
        assert!(root.join("b/file").exists());
        std::fs::remove_file(root.join("b/file")).unwrap();
        std::fs::remove_dir(root.join("b")).unwrap();
        assert!(place.path().is_err());
        assert!(Place::open(&root.join("none")).is_err());
    }

    #[test]
    fn a_name_that_looks_removed_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("a (deleted)");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Place::open(&path).unwrap().path().unwrap(), path);
    }

    #[test]
    fn only_the_root_of_a_mount_is_one() {
        let table = MountTable::read().unwrap();
        let proc = Place::open(Path::new("/proc")).unwrap();
        let entry = proc.mounted(&table).unwrap().unwrap();
        assert_eq!(entry.fs_type, "proc");
        assert_eq!(entry.mountpoint, Path::new("/proc"));
        let inside = Place::open(Path::new("/proc/self")).unwrap();
        assert_eq!(inside.mounted(&table).unwrap(), None);
        assert_eq!(inside.mount_id().unwrap(), proc.mount_id().unwrap());
    }
}
