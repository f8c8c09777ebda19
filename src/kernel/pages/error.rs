//! Why a model isn't shown through EROFS.

use std::io;

use crate::fs::data::NoExtents;
use crate::fs::image::ImageError;
use crate::name::{Escaped, FileName};

/// Why a model isn't shown through EROFS. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum NoPages {
    /// The user wants the other lane, or doesn't say.
    #[error("it wasn't asked for")]
    NotAsked,
    /// Cached pages that are mapped can't be taken back.
    #[error("a lockdown couldn't take back what is mapped")]
    Lockdown,
    /// What EROFS reads is no process's, so the limit can't hold.
    #[error("the option \"max_read\" is for FUSE")]
    MaxRead,
    /// The kernel is too old, or has known faults.
    #[error("the kernel, {release}, is older than what is known to be safe: {floor}")]
    Kernel {
        /// As the kernel says.
        release: String,
        /// Versions that are.
        floor: &'static str,
    },
    /// The kernel makes zeros of answers that are too short.
    #[error("the kernel takes a missing answer for zeros")]
    Zeros,
    /// Only root may.
    #[error("it takes root, in the first user namespace")]
    NotRoot,
    /// A step failed.
    #[error("{what}: {source}")]
    Step {
        /// Which.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The FUSE half has no asynchronous direct reads.
    #[error("the kernel's FUSE has no asynchronous direct reads")]
    NoAsyncReads,
    /// A length takes a full pass.
    #[error(
        "the length of {} is known only once the file was read as a whole (see \"index\")",
        Escaped::new(file.as_str())
    )]
    TakesPass {
        /// The first such file.
        file: FileName,
    },
    /// A length can't be proved.
    #[error("the length of {} can't be proved: {reason}", Escaped::new(file.as_str()))]
    Length {
        /// The first such file.
        file: FileName,
        /// Why.
        reason: String,
    },
    /// The model is too large.
    #[error(transparent)]
    Extents(#[from] NoExtents),
    /// There is no image of it.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl NoPages {
    /// A step that failed.
    pub(super) fn step(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Step {
            what,
            source: errno.into(),
        }
    }

    /// The same for what the standard library says.
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Step { what, source }
    }

    /// What a reader said of a file.
    pub(super) fn length(file: &FileName, error: &dyn std::error::Error) -> Self {
        Self::Length {
            file: file.clone(),
            reason: error.to_string(),
        }
    }
}
