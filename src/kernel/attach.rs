//! Attaching: a connection to the FUSE kernel module, mounted on a directory.
//!
//! Guarantees: the mountpoint is resolved once, and what it led to then is mounted on. An [`Attached`]
//! mount knows which mount it is, and [`Attached::detach`] takes away that one and no other, also after
//! it was moved. Doesn't: serve anything; until somebody reads from the connection,
//! whoever looks into the mount waits.
//!
//! `fuser` could mount as well. It isn't asked to, because it unmounts by path when its handle goes
//! away, also after the kernel has already ended the mount, and so may hit a file system that was
//! mounted there since; and because its error is a text.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::FS_TYPE;
use super::fusermount::{self, HelperError};
use super::mountinfo::{DeviceId, MountEntry, MountTable};
use super::new_mount::{self, Identity};
use super::options::{Access, MountOptions};
use super::place::Place;

/// The device that a connection to the kernel module is opened through.
pub(super) const FUSE_DEVICE: &str = "/dev/fuse";

/// Descriptors that looking for the mount takes, at a time.
const SPARE: usize = 3;

/// How often a mount is looked for anew that moves while it is taken away.
const MOST_MOVES: usize = 8;

/// A mounted file system that is to be served, and taken away at the end.
#[derive(Debug)]
pub(super) struct Attached {
    /// Where it was mounted. It may have moved since, with a directory above it.
    mountpoint: PathBuf,
    /// The directory beneath.
    place: Place,
    identity: Identity,
    /// Another descriptor of the connection, to ask whether it stands.
    connection: OwnedFd,
    /// Given up so that the mount can be taken away when no descriptor is left.
    spare: Mutex<Vec<OwnedFd>>,
}

impl Attached {
    /// Mounts on `mountpoint`, by the system call where that is permitted, else with `fusermount3`.
    pub(super) fn new(
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<(Self, OwnedFd), MountError> {
        let (place, mountpoint) = check(mountpoint, options)?;
        let before = MountTable::read().map_err(MountError::Table)?;
        let mounted = Self::mount(&place, &mountpoint, options);
        let (connection, mut spare, identity) = mounted.inspect_err(|_| {
            // It may have come as far as the mount, and failed for want of descriptors then.
            take_away_new(&place, &before);
        })?;
        let Some(second) = spare.pop() else {
            return Err(MountError::Vanished { mountpoint });
        };
        // From the table, because asking the file system would be asking ourselves.
        let table = MountTable::read().map_err(MountError::Table)?;
        let entry = match identity {
            Some(identity) => entry_of(&table, identity),
            None => find(&table, &before, &connection, &place),
        };
        let Some(entry) = entry else {
            // Closing the connection ends the file system, wherever it is.
            return Err(MountError::Vanished { mountpoint });
        };
        let attached = Self {
            mountpoint: entry.mountpoint.clone(),
            identity: Identity {
                id: entry.id,
                device: entry.device,
            },
            spare: Mutex::new(spare),
            connection: second,
            place,
        };
        // The helper is told a path, and another directory may have had it by then.
        if identity.is_none() && !is_at(&attached.place, entry) {
            let found = attached.mountpoint.clone();
            if let Err(error) = attached.detach() {
                tracing::warn!(%error, mountpoint = %show(&found), "a mount couldn't be taken away");
            }
            return Err(MountError::Elsewhere { mountpoint, found });
        }
        Ok((attached, connection))
    }

    /// The connection, [`SPARE`] and one more descriptors of it, and which mount it is if that is known.
    fn mount(
        place: &Place,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<(OwnedFd, Vec<OwnedFd>, Option<Identity>), MountError> {
        let (connection, identity) = match mount_directly(place, mountpoint, options)? {
            Some((connection, identity)) => (connection, identity),
            None => (mount_with_helper(place, mountpoint, options)?, None),
        };
        let more = (0..=SPARE).map(|_| connection.try_clone());
        let more = more.collect::<io::Result<_>>();
        Ok((connection, more.map_err(MountError::Descriptors)?, identity))
    }

    /// Where it was mounted: absolute, without links.
    pub(super) fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Which file system it is.
    pub(super) fn device(&self) -> DeviceId {
        self.identity.device
    }

    /// Takes the mount out of the namespace, wherever it is by now. Files that are open in it stay so,
    /// and it ends when the last one is closed; if none is, now. `Ok` if it is gone already.
    ///
    /// The system call is given a descriptor of the very mount, so that no other can be meant.
    /// `fusermount3` takes only a path, and something that the same user mounted there between our
    /// look and its own would be hit; such a window is in the nature of that helper.
    pub(super) fn detach(&self) -> Result<(), DetachError> {
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let mut result = Ok(());
        // Anew where it moved between our look and the call.
        for _ in 0..MOST_MOVES {
            let table = MountTable::read().map_err(DetachError::Table)?;
            let entry = entry_of(&table, self.identity).filter(|_| self.is_connected());
            let Some(entry) = entry else {
                return Ok(());
            };
            if table.is_covered(entry) {
                return Err(DetachError::Covered);
            }
            result = match self.detach_directly(&entry.mountpoint) {
                Ok(()) => return Ok(()),
                Err(Errno::PERM | Errno::ACCESS) => {
                    fusermount::unmount(&entry.mountpoint, true).map_err(DetachError::Helper)
                }
                Err(errno) => Err(DetachError::Kernel(errno.into())),
            };
        }
        result
    }

    /// By the system call, given the path of the mount now.
    fn detach_directly(&self, path: &Path) -> Result<(), Errno> {
        let root = self.root(path)?;
        rustix::mount::unmount(root.descriptor_path(), UnmountFlags::DETACH)
    }

    /// Our mount, opened. `ESTALE` if it isn't found.
    fn root(&self, path: &Path) -> Result<Place, Errno> {
        // From the directory beneath, which it lies on unless it was moved itself: a mountpoint can't be
        // renamed in its directory, and whatever is renamed above doesn't matter.
        let beneath = path.file_name().map(|name| {
            let directory = self.place.descriptor_path();
            directory.join("..").join(name)
        });
        let places = beneath.into_iter().chain([path.to_owned()]);
        // Opening the root of a mount as a path asks nothing of the file system.
        places
            .filter_map(|place| Place::open_no_link(&place).ok())
            .find(|root| self.is_ours(root))
            .ok_or(Errno::STALE)
    }

    fn is_ours(&self, root: &Place) -> bool {
        let same = root.mount_id().is_ok_and(|id| id == self.identity.id)
            && root
                .device()
                .is_ok_and(|device| device == self.identity.device);
        // The kernel gives both numbers to another mount once ours is gone. But not while the connection
        // stands; and what is open here stays what it is.
        same && self.is_connected()
    }

    /// Whether the file system that we serve exists.
    fn is_connected(&self) -> bool {
        let mut polled = [PollFd::new(&self.connection, PollFlags::empty())];
        let now = Timespec::default();
        rustix::event::poll(&mut polled, Some(&now)).is_ok()
            && !polled[0].revents().contains(PollFlags::ERR)
    }

    /// How many requests wait to be taken in or answered; `None` where the kernel doesn't tell.
    pub(super) fn waiting(&self) -> Option<u64> {
        let path = format!("/sys/fs/fuse/connections/{}/waiting", self.device().minor);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Breaks the connection: requests that wait, and all later ones, fail. False where the kernel
    /// offers that only by closing every descriptor, and where it is broken already: its number may be
    /// another's by now.
    pub(super) fn abort(&self) -> bool {
        if !self.is_connected() {
            return false;
        }
        let path = format!("/sys/fs/fuse/connections/{}/abort", self.device().minor);
        std::fs::write(path, "1").is_ok()
    }
}

/// Takes away what has come to `place` since `before`, of which there is no connection any more.
fn take_away_new(place: &Place, before: &MountTable) {
    let Ok(table) = MountTable::read() else {
        return;
    };
    let new = table.since(before);
    for entry in new.filter(|entry| entry.fs_type == FS_TYPE && is_at(place, entry)) {
        let path = &entry.mountpoint;
        let taken = Place::open_no_link(path).is_ok_and(|root| {
            root.mount_id().is_ok_and(|id| id == entry.id)
                && rustix::mount::unmount(root.descriptor_path(), UnmountFlags::DETACH).is_ok()
        });
        if !taken && let Err(error) = fusermount::unmount(path, true) {
            tracing::warn!(%error, mountpoint = %show(path), "a mount couldn't be taken away");
        }
    }
}

fn entry_of(table: &MountTable, identity: Identity) -> Option<&MountEntry> {
    let entry = table.by_id(identity.id);
    entry.filter(|entry| entry.device == identity.device)
}

/// The mount behind `connection`, where nothing but the table tells. Linux 6.15 says which file system
/// a connection serves; before, it is what is new at the place.
fn find<'a>(
    table: &'a MountTable,
    before: &MountTable,
    connection: &OwnedFd,
    place: &Place,
) -> Option<&'a MountEntry> {
    let info = format!("/proc/self/fdinfo/{}", connection.as_raw_fd());
    let served = std::fs::read_to_string(info)
        .ok()
        .and_then(|info| fuse_connection(&info));
    let mut new = table
        .since(before)
        .filter(|entry| entry.fs_type == FS_TYPE && !table.is_covered(entry));
    match served {
        Some(minor) => new.find(|entry| entry.device == DeviceId { major: 0, minor }),
        None => new.find(|entry| is_at(place, entry)),
    }
}

/// The connection number in the `fdinfo` of a FUSE device; the minor number of the file system.
pub(super) fn fuse_connection(fdinfo: &str) -> Option<u32> {
    let value = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("fuse_connection:"))?;
    value.trim().parse().ok()
}

fn is_at(place: &Place, entry: &MountEntry) -> bool {
    place.path().is_ok_and(|path| path == entry.mountpoint)
}

/// Why a mount couldn't be taken out of the namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum DetachError {
    #[error("cannot read the mount table")]
    Table(#[source] io::Error),
    #[error("another file system is mounted over it")]
    Covered,
    #[error("the kernel refused")]
    Kernel(#[source] io::Error),
    #[error("fusermount3 refused")]
    Helper(#[source] HelperError),
}

/// Looks at the mountpoint before anything is mounted. As with mount(8), it need not be empty.
fn check(mountpoint: &Path, options: &MountOptions) -> Result<(Place, PathBuf), MountError> {
    let shown = || mountpoint.to_owned();
    let unusable = |source: io::Error| match Errno::from_io_error(&source) {
        Some(Errno::NOTCONN) => MountError::Dead {
            mountpoint: shown(),
        },
        Some(Errno::NOENT) => MountError::Missing {
            mountpoint: shown(),
        },
        Some(Errno::NOTDIR) => MountError::NotADirectory {
            mountpoint: shown(),
        },
        _ => MountError::Unusable {
            mountpoint: shown(),
            source,
        },
    };
    let place = Place::open(mountpoint).map_err(unusable)?;
    let resolved = place.path().map_err(unusable)?;
    // Before the first look into it, which an unresponsive daemon would never answer.
    let table = MountTable::read().map_err(MountError::Table)?;
    let mounted = place.mounted(&table).map_err(unusable)?;
    if mounted.is_some_and(|entry| entry.fs_type == FS_TYPE) {
        return Err(MountError::AlreadyMounted {
            mountpoint: resolved,
        });
    }
    // Fails where what is mounted there is dead.
    std::fs::metadata(place.descriptor_path()).map_err(unusable)?;
    if options.overlaps(&resolved) {
        return Err(MountError::Overlap {
            mountpoint: resolved,
            source_path: options.source.clone(),
        });
    }
    Ok((place, resolved))
}

/// Mounts by the system call; `None` if only the helper may.
#[allow(clippy::type_complexity, reason = "read in one place")]
fn mount_directly(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Option<(OwnedFd, Option<Identity>)>, MountError> {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    let connection = match opened {
        Ok(file) => OwnedFd::from(file),
        Err(source) => {
            return match Errno::from_io_error(&source) {
                Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Err(MountError::NoDevice),
                // The helper opens it with the same user's rights.
                _ => Err(MountError::Device(source)),
            };
        }
    };
    match new_mount::mount(&connection, place, options) {
        Ok(identity) => Ok(Some((connection, identity))),
        Err(Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(Errno::NODEV) => Err(MountError::NoDevice),
        Err(errno) => Err(MountError::Kernel {
            mountpoint: mountpoint.to_owned(),
            source: errno.into(),
        }),
    }
}

fn mount_with_helper(
    place: &Place,
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    let options_given = options.fusermount_options();
    fusermount::mount(place, &options_given).map_err(|error| match error {
        HelperError::Missing => MountError::NoHelper,
        HelperError::Run(source) => MountError::HelperFailed(source),
        HelperError::Refused(message) => {
            let text = message.to_string();
            if text.contains("user_allow_other") {
                MountError::OthersNotAllowed {
                    option: match options.access {
                        Access::OwnerAndRoot => "allow_root",
                        Access::Owner | Access::Everybody => "allow_other",
                    },
                }
            } else {
                MountError::Refused {
                    mountpoint: mountpoint.to_owned(),
                    reason: MountRefusal::of(&text),
                    message: text,
                }
            }
        }
    })
}

/// Why a file system isn't mounted. Nothing is left mounted after any of these.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No such directory.
    #[error("mountpoint {} does not exist", show(mountpoint))]
    Missing {
        /// As given.
        mountpoint: PathBuf,
    },
    /// A file, or something else.
    #[error("mountpoint {} is not a directory", show(mountpoint))]
    NotADirectory {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// What is mounted there has lost its daemon.
    #[error(
        "mountpoint {} holds a dead mount (transport endpoint is not connected)",
        show(mountpoint)
    )]
    Dead {
        /// As given.
        mountpoint: PathBuf,
    },
    /// A mount of ours is there, alive or dead.
    #[error("a model is already mounted on {}", show(mountpoint))]
    AlreadyMounted {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Can't be looked at.
    #[error("cannot use mountpoint {}", show(mountpoint))]
    Unusable {
        /// As given.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The model lies under the mountpoint or the mountpoint in the model.
    #[error(
        "mountpoint {} and model {} lie one inside the other",
        show(mountpoint),
        show(source_path)
    )]
    Overlap {
        /// Without links.
        mountpoint: PathBuf,
        /// The model, as given.
        source_path: PathBuf,
    },
    /// This machine or container has no FUSE.
    #[error("{FUSE_DEVICE} is missing: FUSE is not available here")]
    NoDevice,
    /// There is FUSE, but not for this user.
    #[error("cannot open {FUSE_DEVICE}")]
    Device(#[source] io::Error),
    /// Not root, and no helper.
    #[error("mounting needs root or the helper fusermount3, and that was not found")]
    NoHelper,
    /// The helper couldn't be run, or broke off.
    #[error("mounting with fusermount3 failed")]
    HelperFailed(#[source] io::Error),
    /// `allow_other` or `allow_root` without the administrator's consent.
    #[error("mount option \"{option}\" is not allowed for users on this machine")]
    OthersNotAllowed {
        /// The option's name.
        option: &'static str,
    },
    /// The helper said no.
    #[error("cannot mount on {}: {message}", show(mountpoint))]
    Refused {
        /// Without links.
        mountpoint: PathBuf,
        /// The helper's message, escaped.
        message: String,
        /// What it means.
        reason: MountRefusal,
    },
    /// The kernel said no.
    #[error("cannot mount on {}", show(mountpoint))]
    Kernel {
        /// Without links.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The mount table can't be read.
    #[error("cannot read the mount table, /proc/self/mountinfo")]
    Table(#[source] io::Error),
    /// Somebody unmounted it, or mounted over it, as soon as it was there.
    #[error("the mount on {} vanished at once", show(mountpoint))]
    Vanished {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Another directory had the path of the mountpoint when the helper looked.
    #[error(
        "{} was moved while mounting: the mount came to {}, and was taken away again",
        show(mountpoint),
        show(found)
    )]
    Elsewhere {
        /// Without links.
        mountpoint: PathBuf,
        /// Where it came to.
        found: PathBuf,
    },
    /// No more files can be opened.
    #[error("cannot open as many files as this mount needs{}", limit())]
    Descriptors(#[source] io::Error),
    /// The file system and the kernel didn't agree.
    #[error("the file system could not be started")]
    Handshake(#[source] io::Error),
    /// A thread couldn't be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A stop was asked for before it was ready.
    #[error("interrupted before the mount was ready")]
    Interrupted,
}

/// What `fusermount3` means by refusing a mount, as far as its message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountRefusal {
    /// The user may not mount there.
    Denied,
    /// The process lacks the capability to mount.
    NotPermitted,
    /// Another reason.
    Other,
}

impl MountRefusal {
    fn of(message: &str) -> Self {
        if message.contains("ermission denied") {
            Self::Denied
        } else if message.contains("not permitted") {
            Self::NotPermitted
        } else {
            Self::Other
        }
    }
}

/// How many files this process may have open, for a message.
fn limit() -> String {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = limit
        .current
        .map(|limit| format!(" (the limit is {limit})"));
    limit.unwrap_or_default()
}

/// A path made safe to show.
pub(super) fn show(path: &Path) -> crate::name::Escaped {
    crate::name::Escaped::path(path)
}
