//! Why a model isn't shown through EROFS.

use std::io;

use rustix::io::Errno;

use crate::fs::data::NoExtents;
use crate::fs::image::ImageError;
use crate::kernel::mount_error::MountError;
use crate::name::{Escaped, FileName};

/// Steps that say by their failure what the kernel lacks.
pub(super) const EROFS: &str = "the kernel's EROFS";
pub(super) const ON_FILES: &str = "EROFS on files";
pub(super) const DIRECT: &str = "EROFS with direct reads";

/// Why a model isn't shown through EROFS. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum NoPages {
    /// The user wants the other lane, or doesn't say.
    #[error("it wasn't asked for")]
    NotAsked,
    /// It is to be kept alive, and what a process left unanswered would wait for ever.
    #[error("the kernel can't ask again what the process that ends didn't answer")]
    NoResend,
    /// Another process has shown it through FUSE.
    #[error("it goes on as the process before showed it")]
    GoesOn,
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
    /// The connection of another process isn't the one that it was said to be, or can't be broken.
    #[error("the connection to the kernel can't be broken when it has to end")]
    NoControl,
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
    /// The reason, and what would change it.
    pub fn with_remedy(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{self}; {remedy}"),
            None => self.to_string(),
        }
    }

    /// What would change it; `None` where that follows from the reason.
    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotAsked | Self::GoesOn | Self::NoControl | Self::Extents(_) | Self::Image(_) => {
                return None;
            }
            Self::NoResend => "without --keep-alive it can be",
            Self::Lockdown => "without lockdown it can be",
            Self::MaxRead => "without that option it can be",
            Self::Kernel { .. } | Self::Zeros => "another kernel is needed",
            Self::NotRoot => "mounted by root, it can be",
            Self::NoAsyncReads => "another kernel, or another build of it, is needed",
            Self::TakesPass { .. } => {
                "once this host has indexed the model, or when it is signed with sizes, it can be"
            }
            Self::Length { .. } => "the file has to be what was signed",
            Self::Step { what, source } => match (*what, Errno::from_io_error(source)) {
                (_, Some(Errno::PERM | Errno::ACCESS)) => {
                    "CAP_SYS_ADMIN and CAP_SYS_CHROOT are needed, and no security module that \
                     denies mounts"
                }
                (EROFS, _) => "the kernel's module \"erofs\" is needed",
                (ON_FILES, _) => "a kernel with CONFIG_EROFS_FS_BACKED_BY_FILE is needed",
                (DIRECT, _) => "another kernel is needed",
                _ => return None,
            },
        })
    }

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

/// Why there is no mount: not in this lane, or not at all.
#[derive(Debug)]
pub(in crate::kernel) enum NotStarted {
    Lane(NoPages),
    Mount(MountError),
}

impl From<NoPages> for NotStarted {
    fn from(error: NoPages) -> Self {
        Self::Lane(error)
    }
}

impl From<MountError> for NotStarted {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_said_with_what_would_change_it() {
        for (what, errno, word) in [
            (EROFS, Errno::NODEV, "module \"erofs\""),
            (ON_FILES, Errno::NOTBLK, "CONFIG_EROFS_FS_BACKED_BY_FILE"),
            (ON_FILES, Errno::PERM, "CAP_SYS_ADMIN"),
            (DIRECT, Errno::INVAL, "another kernel"),
        ] {
            let said = NoPages::step(what)(errno).with_remedy();
            assert!(said.starts_with(what) && said.contains(word), "{said}");
        }
        assert_eq!(NoPages::NotAsked.with_remedy(), "it wasn't asked for");
        assert!(NoPages::NotRoot.with_remedy().contains("mounted by root"));
    }
}
