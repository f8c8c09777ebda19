//! Why a file system isn't mounted.
//!
//! Guarantees: nothing is left mounted after any of these; what comes from a path or a helper is
//! escaped. Doesn't: know what else the caller could try.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::refusal::MountRefusal;
use crate::name::Escaped;

/// The device that a connection to the kernel module is opened through.
pub(super) const FUSE_DEVICE: &str = "/dev/fuse";

/// Why a file system isn't mounted. Nothing is left mounted after any of these.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No such directory.
    #[error("mountpoint {} does not exist", Escaped::path(mountpoint))]
    Missing {
        /// As given.
        mountpoint: PathBuf,
    },
    /// A file, or something else.
    #[error("mountpoint {} is not a directory", Escaped::path(mountpoint))]
    NotADirectory {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// What is mounted there has lost its daemon.
    #[error(
        "mountpoint {} holds a dead mount (transport endpoint is not connected)",
        Escaped::path(mountpoint)
    )]
    Dead {
        /// As given.
        mountpoint: PathBuf,
    },
    /// What is mounted there has lost its daemon, and can't be replaced.
    #[error(
        "mountpoint {} holds a dead mount, in which {} is mounted",
        Escaped::path(mountpoint),
        Escaped::path(inside)
    )]
    DeadInUse {
        /// Without links.
        mountpoint: PathBuf,
        /// What is mounted inside.
        inside: PathBuf,
    },
    /// A mount of ours is there, alive or another user's.
    #[error("a model is already mounted on {}", Escaped::path(mountpoint))]
    AlreadyMounted {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Can't be looked at.
    #[error("cannot use mountpoint {}", Escaped::path(mountpoint))]
    Unusable {
        /// As given.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The model lies under the mountpoint or the mountpoint in the model.
    #[error(
        "mountpoint {} {how} the model {}",
        Escaped::path(mountpoint),
        Escaped::path(source_path)
    )]
    Overlap {
        /// How they lie.
        how: Overlap,
        /// Without links.
        mountpoint: PathBuf,
        /// The model, as given.
        source_path: PathBuf,
    },
    /// This machine or container has no FUSE.
    #[error("{FUSE_DEVICE} is missing: FUSE is not available here")]
    NoDevice,
    /// Something else has the device's name.
    #[error("{FUSE_DEVICE} is not the FUSE device")]
    NotTheDevice,
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
    #[error("cannot mount on {}: {message}", Escaped::path(mountpoint))]
    Refused {
        /// Without links.
        mountpoint: PathBuf,
        /// The helper's message, escaped.
        message: String,
        /// What it means.
        reason: MountRefusal,
    },
    /// The kernel said no.
    #[error("cannot mount on {}", Escaped::path(mountpoint))]
    Kernel {
        /// Without links.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
        /// What it means.
        reason: MountRefusal,
    },
    /// Everything that is asked of the kernel here is asked by paths there.
    #[error("/proc is not mounted here")]
    NoProc,
    /// The mount table can't be read.
    #[error("cannot read the mount table, /proc/self/mountinfo")]
    Table(#[source] io::Error),
    /// It was unmounted, or something was mounted over it, as soon as it was there.
    #[error("the mount on {} vanished at once", Escaped::path(mountpoint))]
    Vanished {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Another directory had the path of the mountpoint when the helper looked.
    #[error(
        "{} was moved while mounting: the mount came to {}, and was taken away again",
        Escaped::path(mountpoint),
        Escaped::path(found)
    )]
    Elsewhere {
        /// Without links.
        mountpoint: PathBuf,
        /// Where it came to.
        found: PathBuf,
    },
    /// A mount that was to go on isn't of the same names, numbers and signature.
    #[error(
        "the model mounted on {} isn't the one that it was: its signature, or which of its files \
         are shown, has changed",
        Escaped::path(mountpoint)
    )]
    AnotherModel {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// A mount that was to go on can't be served.
    #[error("the mount on {} can't go on: {reason}", Escaped::path(mountpoint))]
    CannotGoOn {
        /// Without links.
        mountpoint: PathBuf,
        /// Why.
        reason: String,
    },
    /// A mount that was to go on has been served by as many processes as can be told apart.
    #[error(
        "the mount on {} was served by 65536 processes, one after the other, and has to be made \
         anew",
        Escaped::path(mountpoint)
    )]
    NoNumberLeft {
        /// Without links.
        mountpoint: PathBuf,
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

/// How a mountpoint lies to the model that is to be mounted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is the same directory.
    Same,
    /// It lies in the model.
    Inside,
    /// The model lies in it.
    Contains,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "is",
            Self::Inside => "is inside",
            Self::Contains => "contains",
        })
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
