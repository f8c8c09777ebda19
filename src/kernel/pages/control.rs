//! The socket by which a mount through EROFS tells its status.
//!
//! EROFS answers for itself, so nothing that changes can be an attribute of it. The daemon listens
//! on a socket instead, which is found by the number of the mounted file system. Whoever connects
//! is sent the status, and that is all.
//!
//! Guarantees: the folder is root's alone, so owner and root are the only ones that can connect.
//! Where a mount goes on with another process, so does the socket: who connects meanwhile waits.
//! Doesn't: take anything in; outlive its daemon, but for a name that leads nowhere, which the next
//! mount of that number replaces and `umount` removes.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::de::IgnoredAny;

use super::error::NoPages;
use crate::fs::{Audience, FileSystem};
use crate::kernel::mountinfo::{DeviceId, MountEntry};

/// Where the sockets are.
const FOLDER: &str = "/run/model-fs";

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the lock is tried.
const STEP: Duration = Duration::from_millis(1);

/// Most bytes of a status, as of an attribute (`XATTR_SIZE_MAX`).
const MOST_BYTES: u64 = 64 << 10;

/// The extended attribute that every model's root has.
const MARK: &str = "user.model-fs.digest";

fn path(device: DeviceId) -> PathBuf {
    Path::new(FOLDER).join(device.to_string())
}

/// Makes the folder, and holds its lock until what comes back is dropped: one mount at a time finds
/// out what the kernel has made for it.
pub(super) fn lock_folder() -> Result<File, NoPages> {
    let failed = "the folder for control sockets, /run/model-fs";
    let made = || {
        let builder = fs::DirBuilder::new().mode(0o700).create(FOLDER);
        if let Err(error) = builder
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let found = fs::symlink_metadata(FOLDER)?;
        let is_ours = found.is_dir() && found.uid() == 0 && found.mode().trailing_zeros() >= 6;
        if !is_ours {
            return Err(io::Error::other("it isn't root's alone"));
        }
        lock()
    };
    made().map_err(NoPages::io(failed))
}

/// The lock of the folder, which is there.
fn lock() -> io::Result<File> {
    let lock = File::create(Path::new(FOLDER).join("lock"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(STEP),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A socket that tells a status, until this is dropped.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    /// Which file the name leads to: once the mount is gone, another may have its number.
    file: u64,
    listener: Arc<UnixListener>,
    /// Whether the name stays when nobody listens any more.
    is_left: AtomicBool,
}

impl Control {
    /// Tells the status of `fs` to those who ask about `device`.
    pub(super) fn new(fs: &Arc<FileSystem>, device: DeviceId) -> Result<Self, NoPages> {
        let _lock = lock_folder()?;
        let path = path(device);
        let listen = || {
            match fs::remove_file(&path) {
                // Of a daemon that was killed.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            UnixListener::bind(&path)
        };
        let started = listen().and_then(|listener| {
            Self::on(listener, path.clone(), fs).inspect_err(|_| drop(fs::remove_file(&path)))
        });
        started.map_err(NoPages::io("a control socket"))
    }

    /// Goes on with the socket that another process listened on, or with a new one where its name
    /// is gone.
    pub(super) fn go_on(
        fs: &Arc<FileSystem>,
        device: DeviceId,
        listener: OwnedFd,
    ) -> Result<Self, NoPages> {
        match Self::on(listener.into(), path(device), fs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new(fs, device),
            started => started.map_err(NoPages::io("a control socket")),
        }
    }

    fn on(listener: UnixListener, path: PathBuf, fs: &Arc<FileSystem>) -> io::Result<Self> {
        let listener = Arc::new(listener);
        let (file, asked) = (fs::symlink_metadata(&path)?.ino(), Arc::clone(&listener));
        let fs = Arc::downgrade(fs);
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                while let Ok((asking, _)) = asked.accept() {
                    let Some(fs) = fs.upgrade() else { return };
                    let text = fs.status_text(Audience::Owner);
                    drop(fs);
                    if let Err(error) = tell(asking, &text) {
                        tracing::debug!(%error, "a status couldn't be told");
                    }
                }
            })?;
        Ok(Self {
            path,
            file,
            listener,
            is_left: AtomicBool::new(false),
        })
    }

    /// Has the name stay at the end: the mount does, and is known by it.
    pub(super) fn leave_name(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// The socket, for a process that goes on with the mount.
    pub(super) fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }
}

fn tell(mut asking: UnixStream, text: &str) -> io::Result<()> {
    asking.set_write_timeout(Some(PATIENCE))?;
    asking.write_all(text.as_bytes())
}

impl Drop for Control {
    fn drop(&mut self) {
        if !self.is_left.load(Ordering::Relaxed)
            && let Ok(_lock) = lock()
            && fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.file)
        {
            let _ = fs::remove_file(&self.path);
        }
        // Ends the thread, which may be waiting for the next to ask.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
    }
}

/// Whether a mount, as the kernel's table has it, shows a model through EROFS: a daemon has told of
/// it here, and its root, which asks no daemon, says so. What only root can know is unknown to
/// others.
pub fn is_model(entry: &MountEntry) -> bool {
    if entry.fs_type != super::PAGES_FS_TYPE || fs::symlink_metadata(path(entry.device)).is_err() {
        return false;
    }
    let mut value = [0; 256];
    rustix::fs::getxattr(&entry.mountpoint, MARK, &mut value[..]).is_ok()
}

/// Whether nobody is left who serves the mount of this number, of which a name is there.
pub(crate) fn is_dead(device: DeviceId) -> bool {
    let asked = UnixStream::connect(path(device));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The status of a mount, as JSON. Asked again where a process was killed while it was asked, and
/// another goes on.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] or [`io::ErrorKind::NotFound`] where no daemon is left,
/// [`io::ErrorKind::WouldBlock`] and [`io::ErrorKind::TimedOut`] where it doesn't answer.
pub fn status(device: DeviceId) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match ask(device, left) {
            Ok(text) if serde_json::from_slice::<IgnoredAny>(&text).is_ok() => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(STEP);
    }
}

fn ask(device: DeviceId, patience: Duration) -> io::Result<Vec<u8>> {
    let asked = UnixStream::connect(path(device))?;
    asked.set_read_timeout(Some(patience))?;
    let mut text = Vec::new();
    asked.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// The daemon of a mount, as long as it listens.
pub(crate) struct Listening {
    device: DeviceId,
    file: u64,
}

impl Listening {
    /// That of the mount of this number, if there is one.
    pub(crate) fn on(device: DeviceId) -> Option<Self> {
        let file = fs::symlink_metadata(path(device)).ok()?.ino();
        Some(Self { device, file })
    }

    /// Waits until it doesn't listen any more: false if it still does after that time.
    pub(crate) fn ended_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.listens() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(STEP);
        }
        true
    }

    fn listens(&self) -> bool {
        // Another mount may have the number by now.
        let is_there = |found: fs::Metadata| found.ino() == self.file;
        fs::symlink_metadata(path(self.device)).is_ok_and(is_there)
            && UnixStream::connect(path(self.device)).is_ok()
    }
}

/// Removes the name of a socket whose mount is gone.
pub(crate) fn forget(device: DeviceId) {
    if let Ok(_lock) = lock()
        && UnixStream::connect(path(device)).is_err()
    {
        let _ = fs::remove_file(path(device));
    }
}
