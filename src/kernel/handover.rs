//! What a process leaves to the next, so that a mount goes on.
//!
//! A keeper ([`Keeper`]) holds it while a process serves, and gives it to the next one
//! ([`Keeping::TakeOver`]) once that process is gone. It isn't trusted with anything that is read:
//! the next process verifies the signature anew, and each chunk that it reads.
//!
//! Guarantees: a mount goes on only with the same names, numbers and signature that the kernel was
//! told of before, and only while it is the very mount. Doesn't: carry over what was counted, or
//! what was cached; nor is anything known of a process that was killed.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::connection;
use super::control::{self, Address};
use super::handshake::Handshake;
use super::holders::Holders;
use super::mount_error::MountError;
use super::mountinfo::DeviceId;
use super::new_mount::Identity;
use super::pages::MOST_WAIT;
use super::serving::ConnectionControl;
use super::unmount::{UnmountError, unmount_or_detach};
use crate::fs::now;

/// Whether a mount can go on with another process, or is to go on here.
#[derive(Default)]
pub enum Keeping {
    /// It ends with this process.
    #[default]
    No,
    /// Somebody will hold a [`Handover`].
    Kept(Keeper),
    /// It goes on here, and is kept as before.
    TakeOver(Box<Handover>, Keeper),
}

/// Takes a [`Handover`], before the first request is taken in. An error ends the mount.
pub type Keeper = Box<dyn FnOnce(Handover) -> io::Result<()> + Send>;

impl Keeping {
    /// How many processes served the mount before.
    pub fn earlier_processes(&self) -> u16 {
        match self {
            Self::No | Self::Kept(_) => 0,
            Self::TakeOver(handover, _) => handover.facts.next().unwrap_or(u16::MAX),
        }
    }

    /// When the mount was made, if it goes on and that is known; else now. What is left to the next
    /// process says the same then.
    pub(super) fn since(self) -> (Self, Option<Timestamp>) {
        let since = match &self {
            Self::No | Self::Kept(_) => now(),
            Self::TakeOver(handover, _) => handover.facts.since,
        };
        let telling = |keeper: Keeper| -> Keeper {
            Box::new(move |mut left| {
                left.facts.since = since;
                keeper(left)
            })
        };
        let keeping = match self {
            Self::No => Self::No,
            Self::Kept(keeper) => Self::Kept(telling(keeper)),
            Self::TakeOver(handover, keeper) => Self::TakeOver(handover, telling(keeper)),
        };
        (keeping, since)
    }

    /// The number of the file system that goes on.
    pub(super) fn device(&self) -> Option<DeviceId> {
        match self {
            Self::No | Self::Kept(_) => None,
            Self::TakeOver(handover, _) => Some(handover.facts.identity().device),
        }
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("No"),
            Self::Kept(_) => f.write_str("Kept"),
            Self::TakeOver(handover, _) => f.debug_tuple("TakeOver").field(handover).finish(),
        }
    }
}

/// What a served mount takes to go on with another process.
#[derive(Debug)]
pub struct Handover {
    /// What can be told in words.
    pub facts: HandoverFacts,
    /// The connection to the kernel: as long as it is open, the mount stands.
    pub connection: OwnedFd,
    /// The directory beneath.
    pub place: OwnedFd,
    /// The device through which the process takes requests in, where the kernel can ask again what
    /// wasn't answered. While it is open the kernel waits with that; without it such requests are
    /// given up (`ECONNABORTED`).
    pub device: Option<OwnedFd>,
    /// Of a mount through EROFS: the socket on which its status is asked for.
    pub listener: Option<OwnedFd>,
}

impl Handover {
    /// Whether the mount is there: nobody has taken it away, and no connection was broken.
    pub fn stands(&self) -> bool {
        connection::stands(&self.connection)
    }

    /// Takes the mount away, which nobody serves any more: whatever waits for an answer gets an
    /// error first, since it may be what can't be interrupted. Who uses it, if it is in use.
    ///
    /// # Errors
    /// [`UnmountError`].
    pub fn give_up(self) -> Result<Option<Holders>, UnmountError> {
        let mountpoint = self.facts.mountpoint();
        if let Some(control) = self.facts.pages_control(&self.connection)
            && self.stands()
            && !control.abort()
        {
            tracing::warn!("the connection could not be broken");
        }
        // Where nobody else has it, the connection ends here.
        let forget = self.closed();
        let taken_away = unmount_or_detach(&mountpoint);
        forget();
        taken_away
    }

    /// Leaves nothing behind of a mount that is gone.
    pub fn forget(self) {
        self.closed()();
    }

    /// Closes all of it; what comes back removes the name of a socket that nobody listens on.
    fn closed(self) -> impl FnOnce() {
        let address = self.facts.address();
        drop(self);
        move || control::forget(address)
    }
}

/// The part of a [`Handover`] that isn't a descriptor. It is meant for the same version or a later
/// one of this library, which refuses what it can't go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverFacts {
    mountpoint: Vec<u8>,
    mount: u64,
    major: u32,
    minor: u32,
    handshake: Handshake,
    /// What the kernel was told: names, numbers, signature; through EROFS, all of the image.
    pub(super) shown: String,
    /// How many processes served it before the one that leaves this.
    processes: u16,
    /// When it was mounted. A version before this one doesn't say.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Of a mount through EROFS.
    #[serde(default)]
    pub(super) reads_from: Option<ReadsFrom>,
}

/// What a mount through EROFS reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadsFrom {
    /// The number of the connection.
    pub(super) connection: u32,
    /// The number of the mount among those of EROFS, by which its settings are found.
    pub(super) settings: Option<u32>,
}

impl HandoverFacts {
    pub(super) fn new(
        mountpoint: &Path,
        identity: Identity,
        handshake: Handshake,
        shown: String,
        processes: u16,
    ) -> Self {
        Self {
            mountpoint: mountpoint.as_os_str().to_owned().into_vec(),
            mount: identity.id,
            major: identity.device.major,
            minor: identity.device.minor,
            handshake,
            shown,
            processes,
            since: None,
            reads_from: None,
        }
    }

    /// The same, of a mount through EROFS.
    pub(super) fn reading_from(self, what: ReadsFrom) -> Self {
        Self {
            reads_from: Some(what),
            ..self
        }
    }

    /// Whether it is a mount through EROFS. Then a process that goes on with it is given the
    /// [socket](Handover::listener) as well.
    pub fn is_pages(&self) -> bool {
        self.reads_from.is_some()
    }

    /// How long the kernel may go without a process that answers: whoever waits for an answer can't
    /// be let go. `None` where they can.
    pub fn most_silence(&self) -> Option<Duration> {
        self.reads_from.map(|_| MOST_WAIT)
    }

    /// A way to break the connection that a mount through EROFS reads from. Its number is that of
    /// the process before, unless the kernel tells it; then nothing is broken where they differ.
    pub(super) fn pages_control(&self, connection: &OwnedFd) -> Option<ConnectionControl> {
        let number = self.reads_from?.connection;
        if connection::number(connection).is_some_and(|said| said != number) {
            return None;
        }
        ConnectionControl::own(DeviceId {
            major: 0,
            minor: number,
        })
        .inspect_err(|error| tracing::debug!(%error, "connections can't be broken"))
        .ok()
    }

    /// Where its status is asked for.
    fn address(&self) -> Address {
        let device = self.identity().device;
        if self.is_pages() {
            Address::pages(device)
        } else {
            Address::fuse(device, rustix::process::getuid().as_raw())
        }
    }

    /// Where it was mounted: absolute, without links.
    pub fn mountpoint(&self) -> PathBuf {
        OsString::from_vec(self.mountpoint.clone()).into()
    }

    /// How many processes served it before the one that leaves this.
    pub fn processes(&self) -> u16 {
        self.processes
    }

    /// How many processes served it before the one that takes this; `None` if there is no number
    /// left for another, whose handles would be taken for those of the one before.
    fn next(&self) -> Option<u16> {
        self.processes.checked_add(1)
    }

    /// The same, where another can go on.
    ///
    /// # Errors
    /// [`MountError::NoNumberLeft`].
    pub(super) fn next_or_end(&self) -> Result<u16, MountError> {
        self.next().ok_or_else(|| MountError::NoNumberLeft {
            mountpoint: self.mountpoint(),
        })
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            id: self.mount,
            device: DeviceId {
                major: self.major,
                minor: self.minor,
            },
        }
    }

    pub(super) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Whether the kernel asks again what a process took in and didn't answer (Linux 6.9).
    pub fn can_resend(&self) -> bool {
        self.handshake.can_resend()
    }
}
