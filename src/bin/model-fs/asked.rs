//! A mount of ours, asked from outside.
//!
//! Guarantees: only a mount is believed that the kernel's table calls one of ours, and the file
//! system at the path is asked nothing before that is known; a mount that is dead or doesn't answer
//! is said to be. Doesn't: know whether the process behind a mount of that type is this program:
//! any user who may mount may call it so.

use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use model_fs::files::descriptor_path;
use model_fs::fs::{STATUS_ATTRIBUTE, Status};
use model_fs::kernel::FS_TYPE;
use model_fs::kernel::mountinfo::{MountEntry, MountTable, mount_in_fdinfo};
use model_fs::kernel::pages::{PAGES_FS_TYPE, control};
use model_fs::name::{Escaped, shell_word};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::{hints, terminal};

/// `XATTR_SIZE_MAX` of Linux.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// How long a mount may take to answer. It reads nothing for that, so it answers at once or never.
const PATIENCE: Duration = Duration::from_secs(5);

/// The flag of the process that asks a mount, see [`Mount::ask`].
const CHILD_FLAG: &str = "--status-child";

/// What the child's answer begins with where it is the attribute, not an error's number.
const VALUE: u8 = b'v';

/// A mount of ours, as far as the kernel knows.
pub(crate) struct Mount {
    /// Its root; not open for anything, so the file system knows nothing of it.
    root: OwnedFd,
    entry: MountEntry,
    /// Whether it is the kernel's EROFS, beside which a daemon has a control socket.
    is_pages: bool,
}

impl Mount {
    /// The mount on this path.
    pub(crate) fn find(path: &Path) -> Result<Self, Failure> {
        let shown = Escaped::path(path);
        let failed = |error: std::io::Error| anyhow::Error::new(error).context(shown.to_string());
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let table = MountTable::read().context("cannot read the mount table")?;
        let at = std::fs::read_link(descriptor_path(root.as_fd())).map_err(failed)?;
        let entry = mount_id(&root)
            .map_err(failed)?
            .and_then(|id| table.by_id(id))
            .with_context(|| format!("{shown} is in no mount that is known here"))?;
        let is_root = entry.mountpoint == at;
        let is_pages = control::is_model(entry);
        if entry.fs_type != FS_TYPE && !is_pages {
            let error = if is_root {
                let fs_type = Escaped::bounded(&entry.fs_type);
                anyhow::anyhow!("{shown} is a {fs_type} mount, not a mount of model-fs")
            } else {
                anyhow::anyhow!("{shown} is not a mount of model-fs")
            };
            let hint = hints::WHAT_IS_MOUNTED.to_owned();
            return Err(Failure::from(error).with_hint(hint));
        }
        if !is_root {
            let error = anyhow::anyhow!("{shown} is not a mountpoint, but lies beneath one");
            let hint = format!("model-fs status {}", shell_word(&entry.mountpoint));
            return Err(Failure::from(error).with_hint(hint));
        }
        Ok(Self {
            root,
            entry: with_user(entry),
            is_pages,
        })
    }

    /// Whether it is the mount of an entry of the kernel's table.
    pub(crate) fn is(&self, entry: &MountEntry) -> bool {
        self.entry.id == entry.id && self.entry.device == entry.device
    }

    /// What the mount says: a [`Status`], and what a later version of it may add.
    pub(crate) fn facts(&self) -> Result<Map<String, Value>, Failure> {
        let path = Escaped::path(&self.entry.mountpoint);
        let umount = || format!("model-fs umount {}", shell_word(&self.entry.mountpoint));
        let asked = if self.is_pages {
            self.ask_daemon()
        } else {
            self.ask()?
        };
        let value = match asked {
            Some(Ok(value)) => value,
            None => {
                let error = anyhow::anyhow!("the mount at {path} doesn't answer");
                let hint = "the process that serves it is stopped or stuck: see ps and its log";
                return Err(Failure::from(error).with_hint(hint.to_owned()));
            }
            Some(Err(Errno::NODATA | Errno::NOTSUP)) => {
                let error = anyhow::anyhow!("the mount at {path} has no status of model-fs");
                return Err(error.into());
            }
            Some(Err(Errno::NOTCONN | Errno::CONNABORTED)) => {
                let error = anyhow::anyhow!("the mount at {path} is dead");
                return Err(Failure::from(error).with_hint(umount()));
            }
            Some(Err(Errno::ACCESS | Errno::PERM)) => {
                let error = anyhow::anyhow!("the mount at {path} isn't open to this user");
                let hint = "only the user who mounted it may look, unless with --allow-other; and only \
                            users whom the options uid=, gid= and umask= let in, if it has any";
                return Err(Failure::from(error).with_hint(hint.to_owned()));
            }
            Some(Err(errno)) => {
                return Err(anyhow::Error::new(errno).context(path.to_string()).into());
            }
        };
        serde_json::from_slice::<Status>(&value)
            .and_then(|_| serde_json::from_slice(&value))
            .map_err(|_| anyhow::anyhow!("the mount at {path} has no status of model-fs").into())
    }

    /// Where it is mounted.
    pub(crate) fn mountpoint(&self) -> &Path {
        &self.entry.mountpoint
    }

    /// Opens the directory that it shows.
    pub(crate) fn open_root(&self) -> std::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.root, ".", flags, Mode::empty())?)
    }

    /// The user who mounted it, where the kernel tells.
    pub(crate) fn user(&self) -> Option<u32> {
        self.entry.user
    }

    /// What the daemon of an EROFS mount says on its control socket; `None` if it doesn't in time.
    fn ask_daemon(&self) -> Option<Result<Vec<u8>, Errno>> {
        match control::status(self.entry.device) {
            Ok(text) => Some(Ok(text)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => None,
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Some(Err(Errno::NOTCONN)),
                _ => Some(Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
            },
        }
    }

    /// The status attribute; `None` if the mount doesn't answer in time.
    ///
    /// Another process asks: one that waits for a request that a daemon has taken, and doesn't
    /// answer, can't be ended, and nor could this one.
    fn ask(&self) -> Result<Option<Result<Vec<u8>, Errno>>, Failure> {
        let mut child = Command::new("/proc/self/exe")
            .args(["status", CHILD_FLAG, "."])
            .stdin(self.root.try_clone()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process")?;
        let (sender, receiver) = sync_channel(1);
        let stdout = child.stdout.take();
        std::thread::Builder::new().spawn(move || {
            let mut said = Vec::new();
            let limit = MAX_ATTRIBUTE as u64 + 1;
            let read = stdout.map(|stdout| stdout.take(limit).read_to_end(&mut said));
            // Fails where this process waits no longer.
            let _ = sender.send(read.map(|read| read.map(|_| said)));
        })?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(said) => {
                child.wait()?;
                let said = said.transpose()?.unwrap_or_default();
                let (&first, rest) = said.split_first().context("lost the process that asks")?;
                if first == VALUE {
                    return Ok(Some(Ok(rest.to_vec())));
                }
                let errno = std::str::from_utf8(rest)
                    .ok()
                    .and_then(|text| text.parse().ok());
                Ok(Some(Err(errno.map_or(Errno::IO, Errno::from_raw_os_error))))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                // It ends now, or with the daemon.
                let _ = child.kill();
                Ok(None)
            }
        }
    }
}

/// All mounts that the kernel's table calls ours and that a look at their place meets, each file
/// system once.
pub(crate) fn all() -> Result<Vec<MountEntry>, Failure> {
    let table = MountTable::read().context("cannot read the mount table")?;
    let mut found: Vec<MountEntry> = Vec::new();
    for entry in table.entries() {
        if table
            .at(&entry.mountpoint)
            .is_some_and(|above| above.id == entry.id)
            && found.iter().all(|other| other.device != entry.device)
            // Last: it may look into the mount.
            && (entry.fs_type == FS_TYPE || control::is_model(entry))
        {
            found.push(with_user(entry));
        }
    }
    Ok(found)
}

/// An entry that is ours, with who mounted it: the table says that of FUSE only, and nobody but
/// root may mount EROFS.
fn with_user(entry: &MountEntry) -> MountEntry {
    let root = (entry.fs_type == PAGES_FS_TYPE).then_some(0);
    MountEntry {
        user: entry.user.or(root),
        ..entry.clone()
    }
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

/// The number of the mount that something open lies in.
fn mount_id(fd: &OwnedFd) -> std::io::Result<Option<u64>> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    Ok(mount_in_fdinfo(&info))
}
