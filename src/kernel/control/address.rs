//! Where the socket of a mount is.
//!
//! Guarantees: two mounts that are there at the same time have two places. What is made there is in
//! a folder of the user who mounts, which nobody else may enter. Doesn't: keep a name from meaning
//! another mount once its own is gone; who holds the [lock](lock_folder) knows which it is.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{PATIENCE, STEP};
use crate::kernel::FS_TYPE;
use crate::kernel::mountinfo::{DeviceId, MountEntry};
use crate::kernel::pages::PAGES_FS_TYPE;

/// Where root's sockets are.
const OF_ROOT: &str = "/run/model-fs";

/// Of which mount a socket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    fs_type: &'static str,
    device: DeviceId,
    /// Who mounted it.
    user: u32,
}

impl Address {
    /// That of a mount of this user, or of root through EROFS, as the kernel's table has it.
    pub fn of(entry: &MountEntry) -> Option<Self> {
        let address = Self::of_any(entry)?;
        (address.is_own() || entry.fs_type == PAGES_FS_TYPE).then_some(address)
    }

    /// That of another user's mount, for root. In their folder anything may wait, a file system
    /// that never answers included: whoever looks there should be a process that others don't wait
    /// for.
    pub fn of_other(entry: &MountEntry) -> Option<Self> {
        Self::of_any(entry).filter(|it| !it.is_own() && rustix::process::geteuid().is_root())
    }

    fn of_any(entry: &MountEntry) -> Option<Self> {
        match &*entry.fs_type {
            FS_TYPE => entry.user.map(|user| Self::fuse(entry.device, user)),
            PAGES_FS_TYPE => Some(Self::pages(entry.device)),
            _ => None,
        }
    }

    /// Whether it is in the folder of this user.
    pub(super) fn is_own(self) -> bool {
        self.user == rustix::process::geteuid().as_raw()
    }

    /// Looks at a socket in the folder of another user, who may have a name lead anywhere: to
    /// another service, or another file system.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it isn't a socket of that user, or not there.
    pub(super) fn look(self) -> io::Result<OwnedFd> {
        let path = self.path();
        let folder = folder(self.user);
        let above = folder.parent().unwrap_or(&folder);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let above_fd = rustix::fs::open(above, flags, Mode::empty())?;
        let below = path.strip_prefix(above).unwrap_or(&path);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let socket = rustix::fs::openat2(above_fd, below, flags, Mode::empty(), resolve)?;
        let found = rustix::fs::fstat(&socket)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Socket || found.st_uid != self.user {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(socket)
    }

    /// That of a mount in FUSE, by this user.
    pub(in crate::kernel) fn fuse(device: DeviceId, user: u32) -> Self {
        Self {
            fs_type: FS_TYPE,
            device,
            user,
        }
    }

    /// That of a mount through EROFS, which nobody but root may mount.
    pub(in crate::kernel) fn pages(device: DeviceId) -> Self {
        Self {
            fs_type: PAGES_FS_TYPE,
            device,
            user: 0,
        }
    }

    /// The user whom the socket belongs to.
    pub(super) fn user(self) -> u32 {
        self.user
    }

    /// Whether it is that of this mount.
    pub(super) fn is_of(self, entry: &MountEntry) -> bool {
        Self::of(entry) == Some(self)
    }

    /// The socket.
    pub(super) fn path(self) -> PathBuf {
        // The kernel numbers the file systems of both lanes in one go, but a name may be left from
        // before.
        let lane = if self.fs_type == FS_TYPE {
            "fuse"
        } else {
            "pages"
        };
        folder(self.user).join(format!("{lane}-{}", self.device))
    }

    /// Holds the lock of the folder, which is there, until what comes back is dropped.
    pub(super) fn lock(self) -> io::Result<File> {
        lock(&folder(self.user))
    }
}

/// The folder that has a user's sockets. That of an ordinary user is in the one that the login
/// manager makes (`XDG_RUNTIME_DIR` of the XDG base directories), where others find it by the
/// user's number alone.
fn folder(user: u32) -> PathBuf {
    match user {
        0 => OF_ROOT.into(),
        user => format!("/run/user/{user}/model-fs").into(),
    }
}

/// Makes the folder of a user, this one, and holds its lock until what comes back is dropped: one
/// mount at a time finds out what the kernel has made for it.
///
/// # Errors
/// Where it can't be made, isn't that user's alone, or is locked for longer than some seconds.
pub(in crate::kernel) fn lock_folder(user: u32) -> io::Result<File> {
    let folder = folder(user);
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != user || found.mode().trailing_zeros() < 6 {
        return Err(io::Error::other("it isn't its user's alone"));
    }
    lock(&folder)
}

fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join("lock"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(STEP),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::mountinfo::MountTable;

    #[test]
    fn each_mount_of_this_user_has_a_place_of_its_own() {
        let own = rustix::process::geteuid().as_raw();
        let table = format!(
            "30 22 0:44 / /a ro - fuse.model-fs m ro,user_id={own}\n\
             31 22 0:45 / /b ro - fuse.model-fs m ro,user_id={}\n\
             32 22 0:44 / /c ro - erofs m ro,user_id={own}\n\
             33 22 0:46 / /d ro - fuse.sshfs m ro,user_id={own}\n",
            own + 1
        );
        let table = MountTable::parse(table.as_bytes());
        let found = table.entries().iter().map(Address::of);
        let found: Vec<_> = found.map(|it| it.map(Address::path)).collect();
        let fuse = folder(own).join("fuse-0:44");
        let pages = Path::new(OF_ROOT).join("pages-0:44");
        assert_eq!(found, [Some(fuse), None, Some(pages), None]);
        assert_ne!(folder(7), folder(8));
        // Those of others are for root alone.
        let others = table.entries().iter().filter_map(Address::of_other);
        assert_eq!(others.count(), usize::from(own == 0));
    }
}
