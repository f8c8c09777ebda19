//! A dead mount of ours, and a new one in its place.
//!
//! Guarantees: whoever looks at the mountpoint meets the dead mount or the new one, and never what
//! lies beneath them: the new one is attached *beneath* the dead one once it serves, and only then
//! is the dead one taken away, by a descriptor of its root. Whatever fails before leaves the dead
//! one as it was. A mount stays that is alive, another user's, or that has others mounted inside;
//! of several programs that replace the same one at a time, one does. Doesn't: work before Linux
//! 6.5, without the right to mount, or without `/run`; or guard against another program that mounts
//! or unmounts at the very place between our look and the call.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::FS_TYPE;
use super::control::{self, Address};
use super::mount_error::MountError;
use super::mountinfo::{MountEntry, MountTable};
use super::new_mount::{self, Identity};
use super::pages::PAGES_FS_TYPE;
use super::place::Place;
use crate::name::Escaped;

/// How long a mount may take to answer before it counts as alive. A dead one fails at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Held while a mount is replaced, by any process of this host that does so. Only root can replace
/// one, and only root can write there; a lock on the directory that has the mountpoint could be
/// anybody's.
const LOCK_FILE: &str = "/run/model-fs.lock";

/// How long that lock may be another's. It is held for two system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// A mount of ours whose process is gone.
#[derive(Debug)]
pub(super) struct DeadMount {
    /// Held, so that its numbers can't become another's.
    root: Place,
    entry: MountEntry,
}

impl DeadMount {
    /// The mount `entry`, whose root is at `root`; `None` if it is alive, doesn't answer, or isn't
    /// this user's.
    pub(super) fn new(root: Place, entry: &MountEntry) -> Option<Self> {
        // Only root may mount EROFS, and only root knows that it is a model.
        let is_pages = entry.fs_type == PAGES_FS_TYPE;
        let ours = is_pages || entry.user == Some(rustix::process::getuid().as_raw());
        let is_dead = || {
            if is_pages {
                control::is_dead(entry.device)
            } else {
                is_dead(&root)
            }
        };
        (ours && is_dead()).then(|| Self {
            entry: entry.clone(),
            root,
        })
    }

    /// Where it is: absolute, without links.
    pub(super) fn mountpoint(&self) -> &Path {
        &self.entry.mountpoint
    }

    /// That it is there in `table` as it was, with nothing over it and nothing inside.
    pub(super) fn check(&self, table: &MountTable) -> Result<(), MountError> {
        let mountpoint = || self.mountpoint().to_owned();
        let above = table.at(self.mountpoint());
        let Some(above) = above.filter(|above| above.id == self.entry.id) else {
            return Err(match above {
                Some(above) if is_model(above) => MountError::AlreadyMounted {
                    mountpoint: mountpoint(),
                },
                _ => MountError::Unusable {
                    mountpoint: mountpoint(),
                    source: io::Error::other("what is mounted there has changed meanwhile"),
                },
            });
        };
        match table.inside(above) {
            None => Ok(()),
            Some(inside) => Err(MountError::DeadInUse {
                mountpoint: mountpoint(),
                inside: inside.mountpoint.clone(),
            }),
        }
    }

    /// It stays, since it can't be replaced.
    pub(super) fn stays(&self, why: &dyn std::fmt::Display) -> MountError {
        tracing::debug!(%why, "a dead mount can't be replaced");
        MountError::Dead {
            mountpoint: self.mountpoint().to_owned(),
        }
    }

    /// Attaches `new` in its place, and takes it away.
    pub(super) fn replace(self, new: &Place, identity: Identity) -> Result<(), MountError> {
        let _lock = lock().map_err(|error| self.stays(&error))?;
        self.check(&MountTable::read().map_err(MountError::Table)?)?;
        new_mount::attach_beneath(new, &self.root).map_err(|errno| self.stays(&errno))?;
        // A look-up would go to what another program has mounted over it since.
        let table = MountTable::read().map_err(MountError::Table)?;
        self.check(&table)?;
        if table
            .by_id(self.entry.id)
            .is_none_or(|entry| entry.parent != identity.id)
        {
            return Err(MountError::Vanished {
                mountpoint: self.mountpoint().to_owned(),
            });
        }
        rustix::mount::unmount(self.root.descriptor_path(), UnmountFlags::DETACH)
            .map_err(|errno| self.stays(&errno))?;
        tracing::warn!(
            mountpoint = %Escaped::path(self.mountpoint()),
            "replaced a dead mount, whose process was gone"
        );
        if let Some(address) = Address::of(&self.entry) {
            control::forget(address);
        }
        Ok(())
    }
}

/// Whether a mount shows a model, in either lane.
pub(super) fn is_model(entry: &MountEntry) -> bool {
    entry.fs_type == FS_TYPE || control::is_model(entry)
}

/// Whether the mount with this root, one of FUSE, has lost its process. One that is stuck doesn't
/// answer, and isn't dead; so another thread asks.
fn is_dead(root: &Place) -> bool {
    let Ok(root) = root.as_fd().try_clone_to_owned() else {
        return false;
    };
    let (sender, answers) = sync_channel(1);
    let asked = thread::Builder::new()
        .name("asks-mount".into())
        .spawn(move || {
            // Fails where nobody waits any more.
            let _ = sender.send(rustix::fs::fstatfs(&root).err());
        });
    let answer = asked
        .ok()
        .and_then(|_| answers.recv_timeout(PATIENCE).ok().flatten());
    matches!(answer, Some(Errno::NOTCONN | Errno::CONNABORTED))
}

/// Waits until no other process replaces a mount.
fn lock() -> io::Result<OwnedFd> {
    lock_file(&PathBuf::from(LOCK_FILE), LOCK_PATIENCE)
}

fn lock_file(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let deadline = Instant::now() + patience;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_STEP),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[&str]) -> MountTable {
        MountTable::parse(lines.join("\n").as_bytes())
    }

    const DEAD: &str = "40 22 0:50 / /mnt ro - fuse.model-fs m ro,user_id=0";

    fn dead() -> DeadMount {
        let table = table(&[DEAD]);
        DeadMount {
            root: Place::open(Path::new("/")).unwrap(),
            entry: table.by_id(40).unwrap().clone(),
        }
    }

    #[test]
    fn only_the_uppermost_mount_with_nothing_inside_is_replaced() {
        let check = |lines: &[&str]| dead().check(&table(lines));
        let outside = "50 22 0:60 / /mnt-other rw - tmpfs t rw";
        assert!(check(&[DEAD, outside]).is_ok());
        let inside = "50 40 0:60 / /mnt/dir rw - tmpfs t rw";
        let refused = check(&[DEAD, inside]);
        assert!(
            matches!(&refused, Err(MountError::DeadInUse { inside, .. })
                if inside == Path::new("/mnt/dir")),
            "{refused:?}"
        );
        for (other, alive) in [
            ("41 40 0:51 / /mnt ro - fuse.model-fs m ro,user_id=0", true),
            ("41 40 0:51 / /mnt ro - tmpfs t ro", false),
        ] {
            let lines: [&[&str]; 2] = [&[DEAD, other], &[other]];
            for lines in lines {
                let refused = check(lines).unwrap_err();
                assert_eq!(
                    matches!(refused, MountError::AlreadyMounted { .. }),
                    alive,
                    "{refused:?}"
                );
            }
        }
        assert!(check(&[outside]).is_err());
    }

    #[test]
    fn a_mount_that_answers_is_not_dead() {
        let proc = Place::open(Path::new("/proc")).unwrap();
        assert!(!is_dead(&proc));
    }

    #[test]
    fn the_lock_is_one_process_s_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_file(&path, Duration::ZERO).unwrap();
        assert!(lock_file(&path, Duration::from_millis(20)).is_err());
        drop(held);
        // A child that another test starts has it too, until it runs its program.
        assert!(lock_file(&path, Duration::from_secs(60)).is_ok());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(lock_file(&link, Duration::ZERO).is_err());
    }
}
