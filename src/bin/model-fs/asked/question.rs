//! A mount that was asked, and may not have answered yet.
//!
//! Guarantees: nobody waits longer than they want to, whatever the mount does; what asks a mount is
//! ended with its question, or, where nothing can end it, with the mount's daemon.

use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model_fs::fs::{STATUS_ATTRIBUTE, Status};
use model_fs::kernel::control::{Address, Asking};
use model_fs::kernel::mountinfo::{MountTable, mount_id};
use rustix::io::Errno;

use crate::exit::Failure;
use crate::terminal;

/// `XATTR_SIZE_MAX` of Linux.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// The flag of the process that asks a mount.
const CHILD_FLAG: &str = "--status-child";

/// How long a process may take from its first answer until it tells all, and how often it is asked
/// meanwhile.
const WHOLE_WITHIN: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(2);

/// What the child's answer begins with where it is the attribute, not an error's number.
const VALUE: u8 = b'v';

/// What a mount says: its status as text, or the error that it has instead.
pub(super) type Said = Result<Vec<u8>, Errno>;

/// What came of asking.
enum Heard {
    Said(Said),
    /// The daemon found no time.
    Nothing,
    /// No daemon is there to be asked.
    Nobody(Errno),
}

/// A mount that was asked.
///
/// Its daemon is asked, on its control socket. Where that can't be reached, as from another
/// container, or only by root in another user's folder, a process is started, which asks the file
/// system for its status attribute, if it is one of FUSE.
pub(super) struct Question {
    answer: Receiver<io::Result<Heard>>,
    /// The root of a mount in FUSE that wasn't asked.
    root: Option<OwnedFd>,
    /// The process that asks it. One that waits for a request that a daemon has taken, and doesn't
    /// answer, can't be ended, and nor could this one.
    child: Option<Child>,
    /// Whether an answer may still come.
    is_open: bool,
}

impl Question {
    /// Asks the daemon, if it could be reached, else the file system with this root, if there is
    /// one.
    pub(super) fn new(daemon: io::Result<Asking>, root: Option<OwnedFd>) -> Result<Self, Failure> {
        let (sender, answer) = sync_channel(1);
        let mut this = Self {
            answer,
            root,
            child: None,
            is_open: true,
        };
        // Sending fails where nobody waits any longer.
        match daemon {
            Ok(asking) => {
                let ask = move || drop(sender.send(Ok(heard(asking.status()))));
                thread::Builder::new().spawn(ask)?;
            }
            Err(error) => {
                if !this.ask_root()? {
                    let _ = sender.send(Ok(heard(Err(error))));
                }
            }
        }
        Ok(this)
    }

    /// Asks the file system, in a process of its own. False if it can't be, or was asked before.
    fn ask_root(&mut self) -> Result<bool, Failure> {
        let Some(root) = self.root.take() else {
            return Ok(false);
        };
        let mut child = Command::new("/proc/self/exe")
            .args(["status", CHILD_FLAG, "."])
            .stdin(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process")?;
        let stdout = child.stdout.take();
        self.child = Some(child);
        let (sender, answer) = sync_channel(1);
        let listen = move || drop(sender.send(said_by_child(stdout).map(Heard::Said)));
        thread::Builder::new().spawn(listen)?;
        self.answer = answer;
        Ok(true)
    }

    /// Whether an answer may still come.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// What the mount said, once; `None` if it hasn't until then.
    pub(super) fn wait(&mut self, deadline: Instant) -> Result<Option<Said>, Failure> {
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let heard = self.answer.recv_timeout(patience);
            self.is_open = matches!(heard, Err(RecvTimeoutError::Timeout));
            let Ok(heard) = heard else {
                return Ok(None);
            };
            if let Some(mut child) = self.child.take() {
                child.wait()?;
            }
            return Ok(match heard.context("lost the process that asks")? {
                Heard::Said(said) => Some(said),
                Heard::Nothing => None,
                // It was killed while it was asked; another may go on.
                Heard::Nobody(_) if self.ask_root()? => continue,
                Heard::Nobody(errno) => Some(Err(errno)),
            });
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

/// What came of asking on a control socket.
fn heard(asked: io::Result<Vec<u8>>) -> Heard {
    match asked {
        Ok(text) => Heard::Said(Ok(text)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Heard::Nothing,
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Heard::Nobody(Errno::NOTCONN),
            _ => Heard::Nobody(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
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
    let said = match said_to_root() {
        Ok(text) => [&[VALUE], &*text].concat(),
        Err(_) => attribute(),
    };
    terminal::print_bytes(&said)
}

/// What the daemon of another user says to root, whom the kernel keeps out of their mounts.
fn said_to_root() -> io::Result<Vec<u8>> {
    let table = MountTable::read()?;
    let entry = mount_id(io::stdin())?.and_then(|id| table.by_id(id));
    let address = entry.and_then(Address::of_other);
    Asking::new(address.ok_or(ErrorKind::NotFound)?)?.status()
}

/// The status attribute, or the number of an error. Asked again for a moment where a process has
/// just begun to serve, which tells last of all how it is mounted.
fn attribute() -> Vec<u8> {
    let deadline = Instant::now() + WHOLE_WITHIN;
    let mut value = vec![0; MAX_ATTRIBUTE];
    loop {
        let asked = rustix::fs::getxattr("/proc/self/fd/0", STATUS_ATTRIBUTE, &mut value[..]);
        match asked {
            Ok(len) if is_whole(&value[..len]) || Instant::now() >= deadline => {
                return [&[VALUE], &value[..len]].concat();
            }
            Ok(_) => thread::sleep(STEP),
            Err(errno) => return format!("e{}", errno.raw_os_error()).into_bytes(),
        }
    }
}

/// Whether a status is that of a mount which is complete, or not for those who may know.
fn is_whole(text: &[u8]) -> bool {
    serde_json::from_slice::<Status>(text).map_or(true, |status| {
        status.owner.is_none_or(|owner| owner.mount.is_some())
    })
}
