//! The number of an open file, and what it stands for.

use std::sync::Arc;

use super::inode::Inode;
use crate::reading::OpenFile;

/// The number of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u64);

/// Bits of a handle's number that count files. Those above count the processes that served the
/// mount before the one that gave the handle out.
const FILE_BITS: u32 = 48;

impl Handle {
    /// The first handle of a process before which so many others served the mount.
    pub(super) const fn first(processes: u16) -> Self {
        Self((processes as u64) << FILE_BITS | 1)
    }

    /// Whether it was given out by an earlier process than `other`.
    pub(super) const fn is_earlier_than(self, other: Self) -> bool {
        self.0 >> FILE_BITS < other.0 >> FILE_BITS
    }

    /// The handle of this number, which may not be open.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What a handle stands for.
#[derive(Clone)]
pub(super) enum Opened {
    /// A file of the model, opened as this inode.
    Model(Inode, Arc<OpenFile>),
    Signature,
}
