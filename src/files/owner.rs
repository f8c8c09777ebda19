//! Who may change a file, by its owner and its permission bits (inode(7)).
//!
//! Doesn't: look at access control lists, which can give no more than the bits of the group say
//! (acl(5)); or at the directories that lead to a file.

use rustix::fs::Stat;

/// Bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit, only the owner of a file (or of the directory) may replace, rename
/// or remove it.
const STICKY: u32 = 0o1000;

/// Whether this is the user who runs this process.
pub(crate) fn is_user(owner: u32) -> bool {
    owner == rustix::process::geteuid().as_raw()
}

/// Whether this is root, or the user who runs this process.
pub(crate) fn is_root_or_user(owner: u32) -> bool {
    owner == 0 || is_user(owner)
}

/// Whether others than its owner can write a file, or in a directory.
pub(crate) fn is_writable_by_others(stat: &Stat) -> bool {
    stat.st_mode & WRITABLE_BY_OTHERS != 0
}

/// Whether a directory keeps others from touching files that aren't theirs.
pub(crate) fn is_sticky(directory: &Stat) -> bool {
    directory.st_mode & STICKY != 0
}

/// Whether the user who runs this process may replace a file in a directory in which they can
/// write.
pub(super) fn may_replace(directory: &Stat, file: &Stat) -> bool {
    !is_sticky(directory)
        || rustix::process::geteuid().is_root()
        || is_user(directory.st_uid)
        || is_user(file.st_uid)
}
