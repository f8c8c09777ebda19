//! Inode numbers.

use std::fmt;

/// The number of an inode. The [tree](super::Tree) gives out those from [`Inode::ROOT`] on, and
/// lengths that are only claimed have numbers of their own far above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(u64);

impl Inode {
    /// The root directory (`FUSE_ROOT_ID`).
    pub const ROOT: Self = Self(1);

    /// The inode of this number, which may not exist.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, as `st_ino` of stat(2).
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
