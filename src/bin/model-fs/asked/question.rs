//! A mount that was asked, and may not have answered yet.
//!
//! Guarantees: nobody waits longer than they want to, whatever the mount does; what asks a mount is
//! ended with its question, or, where nothing can end it, with the mount's daemon.

use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use model_fs::fs::STATUS_ATTRIBUTE;
use model_fs::kernel::mountinfo::DeviceId;
use model_fs::kernel::pages::control;
use rustix::io::Errno;

use crate::exit::Failure;
use crate::terminal;

/// `XATTR_SIZE_MAX` of Linux.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// The flag of the process that asks a mount.
const CHILD_FLAG: &str = "--status-child";

/// What the child's answer begins with where it is the attribute, not an error's number.
const VALUE: u8 = b'v';

/// What a mount says: its status as text, or the error that it has instead.
pub(super) type Said = Result<Vec<u8>, Errno>;

/// Where a mount is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom<'a> {
    /// At its root, by its status attribute.
    Root(&'a OwnedFd),
    /// Its daemon, which is found by the number of the mount.
    Daemon(DeviceId),
}

/// A mount that was asked.
pub(super) struct Question {
    answer: Receiver<io::Result<Said>>,
    /// Of a FUSE mount, the process that asks. One that waits for a request that a daemon has
    /// taken, and doesn't answer, can't be ended, and nor could this one.
    child: Option<Child>,
    /// Whether an answer may still come.
    is_open: bool,
}

impl Question {
    /// Asks.
    pub(super) fn new(whom: Whom<'_>) -> Result<Self, Failure> {
        let (sender, answer) = sync_channel(1);
        // Sending fails where nobody waits any longer.
        let child = match whom {
            Whom::Daemon(device) => {
                let ask = move || {
                    said_by_daemon(control::status(device)).map(|said| sender.send(Ok(said)))
                };
                thread::Builder::new().spawn(ask)?;
                None
            }
            Whom::Root(root) => {
                let mut child = Command::new("/proc/self/exe")
                    .args(["status", CHILD_FLAG, "."])
                    .stdin(root.try_clone()?)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .context("cannot start a process")?;
                let stdout = child.stdout.take();
                let listen = move || drop(sender.send(said_by_child(stdout)));
                thread::Builder::new().spawn(listen)?;
                Some(child)
            }
        };
        Ok(Self {
            answer,
            child,
            is_open: true,
        })
    }

    /// Whether an answer may still come.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// What the mount said, once; `None` if it hasn't until then.
    pub(super) fn wait(&mut self, deadline: Instant) -> Result<Option<Said>, Failure> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let said = self.answer.recv_timeout(patience);
        self.is_open = matches!(said, Err(RecvTimeoutError::Timeout));
        match said {
            Ok(said) => {
                if let Some(mut child) = self.child.take() {
                    child.wait()?;
                }
                Ok(Some(said.context("lost the process that asks")?))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It ends now, or with the daemon.
            let _ = child.kill();
        }
    }
}

/// What came of asking on a control socket; `None` if the daemon found no time.
fn said_by_daemon(asked: io::Result<Vec<u8>>) -> Option<Said> {
    match asked {
        Ok(text) => Some(Ok(text)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => None,
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Some(Err(Errno::NOTCONN)),
            _ => Some(Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
        },
    }
}

/// What the process that asks has to say.
fn said_by_child(stdout: Option<ChildStdout>) -> io::Result<Said> {
    let mut said = Vec::new();
    if let Some(stdout) = stdout {
        stdout
            .take(MAX_ATTRIBUTE as u64 + 1)
            .read_to_end(&mut said)?;
    }
    let Some((&first, rest)) = said.split_first() else {
        return Err(ErrorKind::UnexpectedEof.into());
    };
    if first == VALUE {
        return Ok(Ok(rest.to_vec()));
    }
    let number = std::str::from_utf8(rest).ok();
    let number = number.and_then(|text| text.parse().ok());
    Ok(Err(number.map_or(Errno::IO, Errno::from_raw_os_error)))
}

/// In the child: asks the file system that stdin lies in, and says on stdout what came of it.
pub(crate) fn answer() -> Result<(), Failure> {
    let mut value = vec![0; MAX_ATTRIBUTE];
    let asked = rustix::fs::getxattr("/proc/self/fd/0", STATUS_ATTRIBUTE, &mut value[..]);
    let said = match asked {
        Ok(len) => [&[VALUE], &value[..len]].concat(),
        Err(errno) => format!("e{}", errno.raw_os_error()).into_bytes(),
    };
    terminal::print_bytes(&said)
}
