//! The daemon's end: a thread that tells the status to who connects.
//!
//! Guarantees: where a mount goes on with another process, who connects meanwhile waits, if the
//! socket is handed over, or finds that nobody listens. Once the mount is gone, nothing is told:
//! its number may be another's. Doesn't: tell two at the same time.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;

use super::PATIENCE;
use super::address::{Address, lock_folder};
use crate::fs::{Audience, FileSystem};
use crate::kernel::mountinfo::MountTable;

/// How long no one is let in where there is no descriptor for that.
const REST: Duration = Duration::from_millis(100);

/// The socket of a mount, until this is dropped. Who connects waits until the status is
/// [told](Self::tell).
#[derive(Debug)]
pub(in crate::kernel) struct Control {
    address: Address,
    /// Which file the name leads to: once the mount is gone, another may have its number.
    file: u64,
    listener: Arc<UnixListener>,
}

impl Control {
    /// The socket of a new mount, or a new one of a mount that goes on.
    ///
    /// # Errors
    /// Where the folder or the socket can't be made.
    pub(in crate::kernel) fn new(address: Address) -> io::Result<Self> {
        let _lock = lock_folder(address.user())?;
        let path = address.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Of a daemon that was killed, or of the process before this.
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        Self::on(listener, address).inspect_err(|_| drop(fs::remove_file(&path)))
    }

    /// The socket that another process listened on, or a new one where its name is gone.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(in crate::kernel) fn go_on(address: Address, listener: OwnedFd) -> io::Result<Self> {
        match Self::on(listener.into(), address) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new(address),
            found => found,
        }
    }

    fn on(listener: UnixListener, address: Address) -> io::Result<Self> {
        Ok(Self {
            address,
            file: fs::symlink_metadata(address.path())?.ino(),
            listener: Arc::new(listener),
        })
    }

    /// Tells the status of `fs` to those who ask, for as long as `stands` says that the mount is
    /// there. Only once it says all that it will.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub(in crate::kernel) fn tell(
        &self,
        fs: &Arc<FileSystem>,
        stands: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<()> {
        let (asked, fs) = (Arc::clone(&self.listener), Arc::downgrade(fs));
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                loop {
                    let asking = asked.accept();
                    let Some(fs) = fs.upgrade().filter(|_| stands()) else {
                        shut_down(&asked);
                        return;
                    };
                    let asking = match asking {
                        Ok((asking, _)) => asking,
                        // It was shut down.
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                        Err(error) => {
                            tracing::debug!(%error, "nobody can be told the status");
                            drop(fs);
                            std::thread::sleep(REST);
                            continue;
                        }
                    };
                    let text = fs.status_text(Audience::Owner);
                    drop(fs);
                    if let Err(error) = send(asking, &text) {
                        tracing::debug!(%error, "a status couldn't be told");
                    }
                }
            })?;
        Ok(())
    }

    /// Whether the mount is there still, left dead: what lies over it keeps it, or its connection
    /// was broken.
    fn is_mounted(&self) -> bool {
        // What can't be known is taken for so: a name that leads nowhere does no harm.
        MountTable::read().map_or(true, |table| {
            let mut entries = table.entries().iter();
            entries.any(|entry| self.address.is_of(entry))
        })
    }

    /// The socket, for a process that goes on with the mount.
    pub(in crate::kernel) fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }
}

fn send(mut asking: UnixStream, text: &str) -> io::Result<()> {
    asking.set_write_timeout(Some(PATIENCE))?;
    asking.write_all(text.as_bytes())
}

/// Nobody is let in any more, and a thread that waits for the next goes on.
fn shut_down(listener: &UnixListener) {
    let _ = rustix::net::shutdown(listener, Shutdown::Both);
}

impl Drop for Control {
    fn drop(&mut self) {
        let path = self.address.path();
        if !self.is_mounted()
            && let Ok(_lock) = self.address.lock()
            && fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == self.file)
        {
            let _ = fs::remove_file(&path);
        }
        shut_down(&self.listener);
    }
}
