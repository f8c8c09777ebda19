//! The page-cache lane: the kernel's own EROFS, mounted on an [image](crate::fs::image) of the
//! model and on the [data file](crate::fs::data) that a FUSE session of ours serves.
//!
//! The page cache that programs read from is that of EROFS, with large pages and no request to us
//! for what is there. Each miss is a direct read of the data file, and verified as any.
//!
//! Guarantees: the FUSE file system and the image are attached nowhere and have no path; only the
//! kernel reads them. A request is answered whole or with EIO, never short. Where any part is
//! missing (see [`NoPages`]), nothing is left and another lane may be taken. A mount goes on with
//! another process, or replaces a dead one, as in the other lane. Doesn't: take pages back that are
//! mapped, so a lockdown needs the other lane.
//!
//! | file | holds |
//! |---|---|
//! | `adaptor` | the FUSE file system with the data file |
//! | `answers` | requests that wait, and cutting them off |
//! | `calls` | the system calls that mount without attaching |
//! | `floor` | which kernels may be trusted with this |
//! | `drop_ranges` | taking back what failed, so that its neighbours are read anew |
//! | `gate` | who is told of the end of the FUSE half |
//! | `half` | the FUSE half: agreed on with the kernel, and served |
//! | `proving` | proving all lengths first |
//! | `settings` | the kernel's settings of a mount |
//! | `start` | all of it, in order |
//! | `go_on` | the same with what another process left |

mod adaptor;
mod answers;
mod calls;
mod drop_ranges;
mod error;
mod floor;
mod gate;
mod go_on;
mod half;
mod proving;
mod settings;
mod start;

pub(super) use self::adaptor::MOST_WAIT;
pub(super) use self::answers::Answers;
pub use self::error::NoPages;
pub(super) use self::error::NotStarted;
pub(super) use self::go_on::go_on;
pub(super) use self::start::{Attempt, Started, start};

/// The file system type in the mount table.
pub const PAGES_FS_TYPE: &str = "erofs";
