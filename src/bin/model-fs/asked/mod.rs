//! A mount of ours, asked from outside.
//!
//! Guarantees: only a mount is believed that the kernel's table calls one of ours, and the file
//! system at the path is asked nothing before that is known; a mount that is dead or doesn't answer
//! is said to be. Doesn't: know whether the process behind a mount of that type is this program:
//! any user who may mount may call it so.

mod question;
mod several;

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use model_fs::files::descriptor_path;
use model_fs::fs::Status;
use model_fs::kernel::FS_TYPE;
use model_fs::kernel::control::{self, Address, Asking};
use model_fs::kernel::mountinfo::{MountEntry, MountTable, mount_id};
use model_fs::kernel::pages::PAGES_FS_TYPE;
use model_fs::name::{Escaped, shell_word};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};

pub(crate) use self::question::answer;
use self::question::{Question, Said};
pub(crate) use self::several::Questions;
use crate::exit::Failure;
use crate::hints;

/// How long a mount may take to answer. It reads nothing for that, so it answers at once or never.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// That it is still mounted where it was. While this is held, no other has its number.
    pub(crate) fn require_there(&self) -> Result<(), Failure> {
        let table = MountTable::read().context("cannot read the mount table")?;
        let now = table.at(&self.entry.mountpoint);
        if now.is_some_and(|entry| self.is(entry)) {
            return Ok(());
        }
        let path = Escaped::path(&self.entry.mountpoint);
        Err(anyhow::anyhow!("{path}: this mount was taken away or covered meanwhile").into())
    }

    /// Whether it is the mount of an entry of the kernel's table.
    pub(crate) fn is(&self, entry: &MountEntry) -> bool {
        self.entry.id == entry.id && self.entry.device == entry.device
    }

    /// What the mount says: a [`Status`], and what a later version of it may add.
    pub(crate) fn facts(&self) -> Result<Map<String, Value>, Failure> {
        let said = self.ask()?.wait(Instant::now() + PATIENCE)?;
        self.facts_of(said)
    }

    /// Asks it: its daemon, if that can be reached, else the file system.
    fn ask(&self) -> Result<Question, Failure> {
        let address = Address::of(&self.entry);
        let daemon = address.map_or(Err(ErrorKind::NotFound.into()), Asking::new);
        let root = (!self.is_pages).then(|| self.root.try_clone()).transpose();
        Question::new(daemon, root.context("cannot ask the mount")?)
    }

    /// The same of what it said, if it said anything.
    fn facts_of(&self, said: Option<Said>) -> Result<Map<String, Value>, Failure> {
        let path = Escaped::path(&self.entry.mountpoint);
        let umount = || format!("model-fs umount {}", shell_word(&self.entry.mountpoint));
        let value = match said {
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
                let hint = "only the user who mounted it may look, unless with --allow-other; and \
                            only users whom the options uid=, gid= and umask= let in, if it has \
                            any";
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

    /// Whether what it says is as good as this user's own word: they mounted it, or root did.
    pub(crate) fn is_believed(&self) -> bool {
        self.entry.user.is_some_and(is_believed)
    }

    /// The user who mounted it, where the kernel tells.
    pub(crate) fn user(&self) -> Option<u32> {
        self.entry.user
    }
}

/// Whether what this user mounts says is as good as the current user's own word.
pub(crate) fn is_believed(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
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
