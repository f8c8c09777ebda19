//! The file system: what a mount shows, without a word of FUSE.
//!
//! Guarantees: names come from the [frozen tree](Tree), content only as
//! [`VerifiedBytes`](crate::reading::VerifiedBytes); the end of a file is reported only once its
//! length is proved; no operation waits for I/O on the thread that calls it: what may have to wait
//! takes a continuation, `then`, which runs on another thread unless it
//! has nothing to wait for. Doesn't: speak to the kernel.
//!
//! # Beside FUSE
//!
//! [`kernel::fuse`](crate::kernel) is one way to show a [`FileSystem`], and nothing here is made
//! for it alone. Another one, such as an image of a read-only file system (EROFS) whose blocks are
//! verified when they are asked for, needs a layout before the first read, and these calls:
//!
//! - the tree: [`FileSystem::tree`], whose [`Node::File`] is a position in the manifest; the files
//!   in the order of these positions: `reader().manifest().files()`;
//! - lengths: [`Reader::length_then`](crate::reading::Reader::length_then) proves one where that
//!   takes no full pass, and [`Reader::open_then`](crate::reading::Reader::open_then) in any case.
//!   A layout may hold proved lengths only ([`ProvedLength`](crate::reading::ProvedLength)), so it
//!   never needs the inodes of claimed lengths, which [`FileSystem::lookup`] gives out;
//! - times and the signature file: [`FileSystem::stat`] of an inode of the tree whose length is
//!   proved, and a handle of that inode;
//! - content: [`FileSystem::open`] and [`FileSystem::read`] of a range, which count what failed and
//!   respect a lockdown, as [`Reader`](crate::reading::Reader) by itself doesn't.

mod attributes;
mod claimed_inodes;
mod errno;
mod file_system;
mod handle;
mod handles;
mod inode;
mod listing;
mod lockdown;
mod lockdown_pages;
mod lookup;
mod own_status;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod xattr;

pub use self::attributes::{Attributes, BLOCK_SIZE, Totals};
pub use self::errno::{FsError, errno};
pub use self::file_system::{Earlier, FileSystem, FsOptions, ViolationHook};
pub use self::handle::Handle;
pub use self::handles::{PendingRead, Read};
pub use self::inode::Inode;
pub use self::listing::Entry;
pub use self::status::{Audience, Kept, MountFacts, OwnerStatus, Status, ToHash};
pub use self::tree::{Node, Tree};
pub use self::xattr::STATUS_ATTRIBUTE;
