//! The other end: asking the daemon of a mount for its status, and whether it is there.
//!
//! Guarantees: nothing is sent, and nobody waits longer than they want to. Doesn't: know more of
//! who answers than that the socket is in the folder of the user who mounted, and that user's.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::IgnoredAny;

use super::address::Address;
use super::{PATIENCE, STEP};
use crate::files::descriptor_path;
use crate::kernel::mountinfo::{DeviceId, MountEntry};
use crate::kernel::pages::PAGES_FS_TYPE;

/// How often it is looked whether a daemon listens still. It makes a status for each look.
const LOOK_STEP: Duration = Duration::from_millis(20);

/// Most bytes of a status, as of an attribute (`XATTR_SIZE_MAX`).
const MOST_BYTES: u64 = 64 << 10;

/// The extended attribute that every model's root has.
const MARK: &str = "user.model-fs.digest";

/// Whether a mount, as the kernel's table has it, shows a model through EROFS: a daemon has told of
/// it here, and its root, which asks no daemon, says so. What only root can know is unknown to
/// others.
pub fn is_model(entry: &MountEntry) -> bool {
    let path = Address::pages(entry.device).path();
    if entry.fs_type != PAGES_FS_TYPE || fs::symlink_metadata(path).is_err() {
        return false;
    }
    let mut value = [0; 256];
    rustix::fs::getxattr(&entry.mountpoint, MARK, &mut value[..]).is_ok()
}

/// A daemon that was asked for its status.
#[derive(Debug)]
pub struct Asking {
    address: Address,
    stream: UnixStream,
}

impl Asking {
    /// Asks the daemon of a mount, if there is room in the queue of those who wait to be let in. A
    /// daemon that is stopped lets nobody in, and the kernel would wait for it without end.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] or [`io::ErrorKind::NotFound`] where no daemon listens;
    /// [`io::ErrorKind::WouldBlock`] where it has let too many wait;
    /// [`io::ErrorKind::PermissionDenied`] to other users than the one who mounted, and root.
    pub fn new(address: Address) -> io::Result<Self> {
        let stream = if address.is_own() {
            connect(&address.path())?
        } else {
            let looked_at = address.look()?;
            connect(&descriptor_path(looked_at.as_fd()))?
        };
        Ok(Self { address, stream })
    }

    /// The status, as JSON. Asked again where a process was killed while it was asked, and another
    /// goes on.
    ///
    /// # Errors
    /// As for [`new`](Self::new) where it is asked again, and [`io::ErrorKind::TimedOut`] where it
    /// doesn't answer.
    pub fn status(self) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        let Self {
            address,
            mut stream,
        } = self;
        loop {
            match read_until(&stream, deadline) {
                Ok(text) if serde_json::from_slice::<IgnoredAny>(&text).is_ok() => return Ok(text),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(STEP);
            stream = Self::new(address)?.stream;
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// All that is sent, up to [`MOST_BYTES`], however slowly it comes.
fn read_until(mut stream: &UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let len = stream.read(&mut part)?;
        if len == 0 || text.len() as u64 + len as u64 > MOST_BYTES {
            return Ok(text);
        }
        text.extend_from_slice(&part[..len]);
    }
}

/// Whether a daemon is there that lets others in, be it later.
fn listens(address: Address) -> bool {
    Asking::new(address).map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
}

/// Whether nobody is left who serves this mount through EROFS, of which a name is there.
pub(in crate::kernel) fn is_dead(device: DeviceId) -> bool {
    let asked = Asking::new(Address::pages(device));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The daemon of a mount, as long as it listens.
pub(in crate::kernel) struct Listening {
    address: Address,
    file: u64,
}

impl Listening {
    /// That of this mount, if there is one.
    pub(in crate::kernel) fn on(address: Address) -> Option<Self> {
        let file = fs::symlink_metadata(address.path()).ok()?.ino();
        Some(Self { address, file })
    }

    /// Waits until it doesn't listen any more: false if it still does after that time.
    pub(in crate::kernel) fn ended_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.listens() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_STEP);
        }
        true
    }

    fn listens(&self) -> bool {
        // Another mount may have the number by now.
        let is_there = |found: fs::Metadata| found.ino() == self.file;
        fs::symlink_metadata(self.address.path()).is_ok_and(is_there) && listens(self.address)
    }
}

/// Removes the name of a socket whose mount is gone, if nobody listens on it.
pub(in crate::kernel) fn forget(address: Address) {
    if let Ok(_lock) = address.lock()
        && !listens(address)
    {
        let _ = fs::remove_file(address.path());
    }
}
