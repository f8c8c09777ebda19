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
//! for it alone. The other is an [`image`] of names and lengths for the kernel's own EROFS, whose
//! content is one [data file](data): the files of the model one after the other, verified when they
//! are asked for. Both are made of proved lengths only, so they never need the inodes of claimed
//! lengths, which [`FileSystem::lookup`] gives out.

mod attributes;
mod claimed_inodes;
pub mod data;
mod errno;
mod file_system;
mod handle;
mod handles;
pub mod image;
mod inode;
mod lengths;
mod listing;
mod lockdown;
mod lockdown_pages;
mod lookup;
mod moment;
mod own_status;
mod prefetch;
mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod trust_decision;
mod xattr;

pub use self::attributes::{Attributes, BLOCK_SIZE, Totals};
pub use self::errno::{FsError, errno};
pub use self::file_system::{FileSystem, FsOptions, ViolationHook};
pub use self::handle::Handle;
pub use self::handles::{PendingRead, Read};
pub use self::inode::Inode;
pub use self::lengths::{Lengths, ProvingLengths};
pub use self::listing::Entry;
#[cfg(feature = "mount")]
pub(crate) use self::moment::now;
pub use self::prefetch::{Prefetch, PrefetchProgress};
pub use self::status::{
    Audience, Kept, MountFacts, OwnerStatus, PassStatus, PrefetchStatus, Status, ToHash,
};
pub use self::tree::{Node, Tree};
pub use self::trust_decision::TrustDecision;
pub use self::xattr::STATUS_ATTRIBUTE;
