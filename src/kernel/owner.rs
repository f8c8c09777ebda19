//! The user who mounts, and to whom everything in the mount is shown to belong.
//!
//! Guarantees: the kernel is allowed to remember what is proved, and nothing else. Doesn't: tell
//! the users apart that a mount lets in; the kernel checks permissions.

use std::time::Duration;

use fuser::{FileAttr, FileType};

use super::options::{Access, MountOptions};
use crate::fs::{Attributes, Audience, BLOCK_SIZE};

/// How long the kernel may believe what is proved. The tree is frozen and proved lengths don't
/// change, so: as long as it likes.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The user who mounts, with which owner and permissions everything is shown, and whether the
/// kernel may remember attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    /// The user who mounts.
    user: u32,
    /// Shown owner.
    uid: u32,
    /// Shown group.
    gid: u32,
    /// Permissions that aren't shown.
    umask: u16,
    /// Whether the kernel may remember what is proved, and answer by itself.
    remembered: bool,
}

impl Owner {
    /// The user of this process, and what the options say is shown. The kernel may remember
    /// attributes, unless only some users may look into the mount and it doesn't know which: it
    /// would answer any user.
    pub(super) fn new(options: &MountOptions) -> Self {
        let user = rustix::process::getuid().as_raw();
        let group = rustix::process::getgid().as_raw();
        Self {
            user,
            uid: options.uid.unwrap_or(user),
            gid: options.gid.unwrap_or(group),
            umask: options.umask,
            remembered: options.access != Access::OwnerAndRoot,
        }
    }

    /// What a user may be told. Whom files are shown to belong to doesn't matter.
    pub(super) fn audience(self, uid: u32) -> Audience {
        if uid == self.user || uid == 0 {
            Audience::Owner
        } else {
            Audience::Others
        }
    }

    /// How long the kernel may remember attributes: not at all while a length is only claimed.
    pub(super) fn ttl(self, attributes: &Attributes) -> Duration {
        if attributes.proved && self.remembered {
            FOREVER
        } else {
            Duration::ZERO
        }
    }

    /// The attributes as FUSE has them.
    pub(super) fn attributes(self, attributes: Attributes) -> FileAttr {
        let Attributes {
            ino,
            is_directory,
            size,
            links,
            proved: _,
            time,
        } = attributes;
        FileAttr {
            ino: ino.into(),
            size,
            // `stat` counts in units of 512 bytes.
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(is_directory),
            // Copies take modes along, and a user wants to be able to change and remove copies.
            perm: if is_directory { 0o755 } else { 0o644 } & !self.umask,
            nlink: links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }
}

/// The kind of an entry as FUSE has it.
pub(super) fn kind(is_directory: bool) -> FileType {
    if is_directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}
