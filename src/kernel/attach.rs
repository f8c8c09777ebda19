//! Attaching: a connection to the FUSE kernel module, mounted on a directory.
//!
//! Guarantees: the mountpoint is resolved once, and what it led to then is mounted on. An
//! [`Attached`] mount knows which mount it is, and [`Attached::detach`] takes away that one and no
//! other, also after it was moved. Doesn't: serve anything; until requests are read from the
//! connection, a program that looks into the mount waits.
//!
//! `fuser` could mount as well. It isn't asked to, because it unmounts by path when its handle goes
//! away, also after the kernel has already ended the mount, and so may hit a file system that was
//! mounted there since; and because its error is a text.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::FS_TYPE;
use super::connection;
use super::fusermount::{self, HelperError};
use super::holders::Holders;
use super::mount_error::MountError;
use super::mountinfo::{DeviceId, MountEntry, MountTable};
use super::new_mount::{self, Identity};
use super::options::MountOptions;
use super::place::Place;
use super::replace::{DeadMount, is_model};
use super::serving::ConnectionControl;
use crate::files::has_descriptor_paths;
use crate::name::Escaped;
use crate::sync::lock;

/// Descriptors that looking for the mount takes, at a time.
const SPARE: usize = 3;

/// How often a mount is looked for anew that moves while it is taken away.
const MOST_MOVES: usize = 8;

/// A mounted file system that is to be served, and taken away at the end.
#[derive(Debug)]
pub(super) struct Attached {
    /// Where it was mounted. It may have moved since, with a directory above it.
    mountpoint: PathBuf,
    /// The directory that has the mountpoint; `None` if there is none, or it can't be opened.
    parent: Option<Place>,
    /// What isn't attached yet, and the dead mount that it is to replace.
    replaces: Mutex<Option<(Place, DeadMount)>>,
    /// Whether that dead mount has made way, or may have.
    has_replaced: AtomicBool,
    identity: Identity,
    /// Of the FUSE file system behind it: the same one, or the one that it reads from.
    control: ConnectionControl,
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
        let (place, mountpoint) = match Self::check(mountpoint, options)? {
            Target::Directory(place, path) => (place, path),
            Target::Dead(dead) => return Self::instead_of(dead, options),
        };
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
            control: ConnectionControl::usual(entry.device),
            parent: parent_of(&place),
            replaces: Mutex::default(),
            has_replaced: AtomicBool::new(false),
        };
        // The helper is told a path, and another directory may have had it by then.
        if identity.is_none() && !is_at(&place, entry) {
            let found = attached.mountpoint.clone();
            if let Err(error) = attached.detach() {
                let mountpoint = Escaped::path(&found);
                tracing::warn!(%error, %mountpoint, "a mount couldn't be taken away");
            }
            return Err(MountError::Elsewhere { mountpoint, found });
        }
        Ok((attached, connection))
    }

    /// The mount `identity`, which is there and was served by another process: `connection` is its
    /// own or that of what it reads from, `parent` the directory that has the mountpoint.
    pub(super) fn take_over(
        identity: Identity,
        (connection, control): (&OwnedFd, ConnectionControl),
        parent: OwnedFd,
        mountpoint: PathBuf,
    ) -> Result<Self, MountError> {
        let mut spare = Self::duplicates(connection)?;
        let Some(second) = spare.pop() else {
            return Err(MountError::Vanished { mountpoint });
        };
        let attached = Self {
            mountpoint,
            parent: Some(Place::from(parent)),
            replaces: Mutex::default(),
            has_replaced: AtomicBool::new(false),
            control,
            identity,
            connection: second,
            spare: Mutex::new(spare),
        };
        if !attached.is_connected() {
            return Err(MountError::Vanished {
                mountpoint: attached.mountpoint,
            });
        }
        // It may be out of sight, with files that are open, or have copies.
        let table = MountTable::read().map_err(MountError::Table)?;
        let now = entry_of(&table, identity).map(|entry| entry.mountpoint.clone());
        let mountpoint = now.unwrap_or_else(|| attached.mountpoint.clone());
        Ok(Self {
            mountpoint,
            ..attached
        })
    }

    /// Which mount it is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The connection and the directory that has the mountpoint, once more.
    pub(super) fn descriptors(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let parent = self.parent.as_ref();
        let parent = parent.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let parent = parent.as_fd().try_clone_to_owned()?;
        Ok((self.connection.try_clone()?, parent))
    }

    /// A mount that is to replace `dead`, attached nowhere until [`take_place`](Self::take_place).
    fn instead_of(dead: DeadMount, options: &MountOptions) -> Result<(Self, OwnedFd), MountError> {
        let connection = connection::open()?;
        let made = new_mount::make(&connection, options).map_err(|errno| dead.stays(&errno))?;
        let identity = new_mount::identify(&made).map_err(|errno| dead.stays(&errno))?;
        let mut spare = Self::duplicates(&connection)?;
        let mountpoint = dead.mountpoint().to_owned();
        let Some(second) = spare.pop() else {
            return Err(MountError::Vanished { mountpoint });
        };
        let parent = mountpoint.parent();
        let attached = Self {
            parent: parent.and_then(|parent| Place::open_no_link(parent).ok()),
            mountpoint,
            control: ConnectionControl::usual(identity.device),
            identity,
            spare: Mutex::new(spare),
            connection: second,
            replaces: Mutex::new(Some((made, dead))),
            has_replaced: AtomicBool::new(false),
        };
        Ok((attached, connection))
    }

    /// Attaches the mount, now that it serves, where it is to replace a dead one. In any other case
    /// it is attached already.
    pub(super) fn take_place(&self) -> Result<(), MountError> {
        let Some((made, dead)) = lock(&self.replaces).take() else {
            return Ok(());
        };
        self.has_replaced.store(true, Ordering::Relaxed);
        // The kernel has both mounts end where they are attached nowhere and not open.
        dead.replace(&made, self.identity)
    }

    /// Whether it took the place of a dead one.
    pub(super) fn has_replaced(&self) -> bool {
        self.has_replaced.load(Ordering::Relaxed)
    }

    /// A mount through EROFS, which reads from the FUSE file system behind `connection`. It is on
    /// `mountpoint`, or is to replace the dead mount there.
    pub(super) fn of_pages(
        mountpoint: PathBuf,
        parent: OwnedFd,
        identity: Identity,
        (connection, control): (OwnedFd, ConnectionControl),
        replaces: Option<(Place, DeadMount)>,
    ) -> Result<Self, MountError> {
        let attached = Self {
            mountpoint,
            parent: Some(Place::from(parent)),
            replaces: Mutex::new(replaces),
            has_replaced: AtomicBool::new(false),
            identity,
            control,
            connection,
            spare: Mutex::default(),
        };
        let spare = (0..SPARE).map(|_| attached.connection.try_clone());
        match spare.collect::<io::Result<_>>() {
            Ok(spare) => *lock(&attached.spare) = spare,
            Err(error) => {
                if let Err(error) = attached.detach() {
                    let mountpoint = Escaped::path(&attached.mountpoint);
                    tracing::warn!(%error, %mountpoint, "a mount couldn't be taken away");
                }
                return Err(MountError::Descriptors(error));
            }
        }
        Ok(attached)
    }

    /// Our mount, opened as a path: what is opened beneath is in this very file system.
    pub(super) fn open_root(&self) -> io::Result<Place> {
        let table = MountTable::read()?;
        let entry = entry_of(&table, self.identity).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.root(&entry.mountpoint)?)
    }

    /// The connection, [`SPARE`] and one more descriptors of it, and which mount it is if that is
    /// known.
    fn mount(
        place: &Place,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<(OwnedFd, Vec<OwnedFd>, Option<Identity>), MountError> {
        let (connection, identity) = connection::mount(place, mountpoint, options)?;
        let more = Self::duplicates(&connection)?;
        Ok((connection, more, identity))
    }

    /// [`SPARE`] and one more descriptors of the connection.
    fn duplicates(connection: &OwnedFd) -> Result<Vec<OwnedFd>, MountError> {
        let more = (0..=SPARE).map(|_| connection.try_clone());
        more.collect::<io::Result<_>>()
            .map_err(MountError::Descriptors)
    }

    /// Where it was mounted: absolute, without links.
    pub(super) fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Which file system it is.
    pub(super) fn device(&self) -> DeviceId {
        self.identity.device
    }

    /// Takes the mount out of the namespace, wherever it is by now. Files that are open in it stay
    /// so, and it ends when the last one is closed; if none is, now. `Ok` if it is gone already.
    ///
    /// The system call is given a descriptor of the very mount, but goes on to what is mounted over
    /// it at that moment (`path_mount` crosses mounts): another program that mounts there between
    /// our look and the call loses its mount. `fusermount3` takes only a path, with a window of its
    /// own.
    pub(super) fn detach(&self) -> Result<(), DetachError> {
        lock(&self.spare).clear();
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
        // From the directory that has it, unless it was moved itself: a mountpoint can't be renamed
        // in its directory, and whatever is renamed above doesn't matter.
        let parent = self.parent.as_ref().zip(path.file_name());
        let there = parent.map(|(parent, name)| parent.descriptor_path().join(name));
        let places = there.into_iter().chain([path.to_owned()]);
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
        // The kernel gives both numbers to another mount once ours is gone. But not while the
        // connection stands; and what is open here stays what it is.
        same && self.is_connected()
    }

    /// Whether the file system that we serve exists.
    pub(super) fn is_connected(&self) -> bool {
        connection::stands(&self.connection)
    }

    /// Who uses it, as far as can be seen.
    pub(super) fn holders(&self) -> Holders {
        Holders::of(self.identity.id, self.identity.device, &self.mountpoint)
    }

    /// How many requests wait to be taken in or answered; `None` where the kernel doesn't tell.
    pub(super) fn waiting(&self) -> Option<u64> {
        self.control.waiting()
    }

    /// Breaks the connection: requests that wait, and all later ones, fail. False where the kernel
    /// offers that only by closing every descriptor, and where it is broken already: its number may
    /// be another's by now.
    pub(super) fn abort(&self) -> bool {
        if !self.is_connected() {
            return false;
        }
        self.control.abort()
    }

    /// Looks at the mountpoint before anything is mounted. As with mount(8), it need not be empty.
    pub(super) fn check(mountpoint: &Path, options: &MountOptions) -> Result<Target, MountError> {
        check(mountpoint, options)
    }
}

/// The directory that has `place`; nothing is opened above the root of all.
fn parent_of(place: &Place) -> Option<Place> {
    Place::open_no_link(&place.descriptor_path().join("..")).ok()
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
            let mountpoint = Escaped::path(path);
            tracing::warn!(%error, %mountpoint, "a mount couldn't be taken away");
        }
    }
}

fn entry_of(table: &MountTable, identity: Identity) -> Option<&MountEntry> {
    let entry = table.by_id(identity.id);
    entry.filter(|entry| entry.device == identity.device)
}

/// The mount behind `connection`, where nothing but the table tells. Linux 6.15 says which file
/// system a connection serves; before, it is what is new at the place.
fn find<'a>(
    table: &'a MountTable,
    before: &MountTable,
    connection: &OwnedFd,
    place: &Place,
) -> Option<&'a MountEntry> {
    let mut new = table
        .since(before)
        .filter(|entry| entry.fs_type == FS_TYPE && !table.is_covered(entry));
    match connection::number(connection) {
        Some(minor) => new.find(|entry| entry.device == DeviceId { major: 0, minor }),
        None => new.find(|entry| is_at(place, entry)),
    }
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

/// What is to be mounted on.
pub(super) enum Target {
    /// A directory, and its path: absolute, without links.
    Directory(Place, PathBuf),
    /// A dead mount of ours, to be replaced.
    Dead(DeadMount),
}

/// Looks at the mountpoint before anything is mounted. As with mount(8), it need not be empty.
fn check(mountpoint: &Path, options: &MountOptions) -> Result<Target, MountError> {
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
    if !has_descriptor_paths() {
        return Err(MountError::NoProc);
    }
    let place = Place::open(mountpoint).map_err(unusable)?;
    let resolved = place.path().map_err(unusable)?;
    // Before the first look into it, which an unresponsive daemon would never answer.
    let table = MountTable::read().map_err(MountError::Table)?;
    let mounted = place.mounted(&table).map_err(unusable)?;
    let overlap = options.overlap(&resolved).map(|how| MountError::Overlap {
        how,
        mountpoint: resolved.clone(),
        source_path: options.source.clone(),
    });
    if let Some(entry) = mounted.filter(|entry| is_model(entry)) {
        return match (DeadMount::new(place, entry), overlap) {
            (None, _) => Err(MountError::AlreadyMounted {
                mountpoint: resolved,
            }),
            (Some(_), Some(error)) => Err(error),
            (Some(dead), None) => {
                // Before anything is made; it is looked at again once the new one serves.
                dead.check(&table)?;
                Ok(Target::Dead(dead))
            }
        };
    }
    // Fails where what is mounted there is dead.
    std::fs::metadata(place.descriptor_path()).map_err(unusable)?;
    if let Some(error) = overlap {
        return Err(error);
    }
    Ok(Target::Directory(place, resolved))
}
