//! The kernel: attaching a file system to a directory, serving it, and taking it away again.
//!
//! Guarantees: whatever way a session ends, its own mount leaves the namespace, and no other file
//! system at the same path is touched (as far as the kernel lets a process say which one it means;
//! see [`session`]). Doesn't: know what is mounted. Everything here but the [`FuseAdaptor`],
//! [`serve()`] and the [`PageCache`] works for any [`fuser::Filesystem`].

mod attach;
mod connection;
#[doc(hidden)]
pub mod control;
mod fuse;
mod fusermount;
mod guarded;
pub mod handover;
mod handshake;
mod holders;
mod interrupt;
#[doc(hidden)]
pub mod memory_limit;
mod mount_error;
#[doc(hidden)]
pub mod mountinfo;
mod new_mount;
#[doc(hidden)]
pub mod option_list;
pub mod options;
mod owner;
#[doc(hidden)]
pub mod page_cache;
pub mod pages;
mod pending;
mod place;
mod populate_loop;
mod proc_thread;
mod read_only;
mod refusal;
mod remount;
mod replace;
#[doc(hidden)]
pub mod schedule;
mod serve;
mod serving;
pub mod session;
mod session_threads;
pub mod shutdown;
#[doc(hidden)]
pub mod tuning;
pub mod unmount;

#[doc(hidden)]
pub use fuse::FuseAdaptor;
pub use handover::{Handover, HandoverFacts, Keeper, Keeping};
pub use holders::Holders;
pub use mount_error::{MountError, Overlap};
pub use options::{Lane, MountOptions, OPTION_NAMES, OptionError};
#[doc(hidden)]
pub use page_cache::PageCache;
pub use refusal::MountRefusal;
pub use remount::{RemountError, remount};
pub use serve::{serve, serve_or_go_on};
pub use session::{MountSession, SessionEnd, SessionError};
pub use shutdown::{Shutdown, StopHandle};
pub use tuning::TuningReport;
pub use unmount::{UnmountError, unmount, unmount_or_detach};

/// The file system type in the mount table, as `findmnt -t` and `fstab` write it.
pub const FS_TYPE: &str = "fuse.model-fs";

/// What follows `fuse.` in [`FS_TYPE`].
const SUBTYPE: &str = "model-fs";
