//! The loop of a FUSE session, and ending it from outside.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use fuser::{Filesystem, Session};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::mount_error::FUSE_DEVICE;
use super::mountinfo::DeviceId;

/// Serves until the kernel ends the session.
pub(super) fn run<F: Filesystem>(session: Session<F>) -> io::Result<()> {
    // fuser's own threads turn panics of the file system into an error of `run`.
    match session.run() {
        // The kernel says so to a thread that was just taking a request in when the mount ended.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
        result => result,
    }
}

/// Whether each thread can have a descriptor of its own. The device is opened once more for each,
/// which a user can't where only the set-user-id helper may; then the threads share one.
pub(super) fn can_clone() -> bool {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(FUSE_DEVICE);
    match opened {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "session threads share one descriptor");
            false
        }
    }
}

/// What the kernel tells of a connection, and how it is broken (`fusectl`).
#[derive(Debug)]
pub(super) struct ConnectionControl {
    connection: DeviceId,
    /// The file system that has this, attached nowhere; otherwise it is where it usually is.
    root: Option<OwnedFd>,
}

impl ConnectionControl {
    /// Of the FUSE file system of this number, where it usually is.
    pub(super) fn usual(connection: DeviceId) -> Self {
        Self {
            connection,
            root: None,
        }
    }

    /// The same, also where it is mounted nowhere.
    ///
    /// # Errors
    /// Where this process may not, or the kernel has none; then the connection couldn't be broken.
    pub(super) fn own(connection: DeviceId) -> io::Result<Self> {
        let context = rustix::mount::fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let root = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        let this = Self {
            connection,
            root: Some(root),
        };
        this.open("abort", OFlags::WRONLY)?;
        Ok(this)
    }

    fn open(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let minor = self.connection.minor;
        let flags = flags | OFlags::CLOEXEC;
        let opened = if let Some(root) = &self.root {
            rustix::fs::openat(root, format!("{minor}/{name}"), flags, Mode::empty())
        } else {
            let path = format!("/sys/fs/fuse/connections/{minor}/{name}");
            rustix::fs::open(path, flags, Mode::empty())
        };
        Ok(opened?.into())
    }

    /// How many requests wait to be taken in or answered; `None` where the kernel doesn't tell.
    pub(super) fn waiting(&self) -> Option<u64> {
        let mut text = String::new();
        let mut file = self.open("waiting", OFlags::RDONLY).ok()?;
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Breaks the connection: requests that wait, and all later ones, fail. Whether that was done.
    pub(super) fn abort(&self) -> bool {
        let file = self.open("abort", OFlags::WRONLY);
        file.is_ok_and(|mut file| file.write_all(b"1").is_ok())
    }
}
