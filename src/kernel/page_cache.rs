//! The kernel's page cache of a mount, filled before a program asks for it (`FUSE_NOTIFY_STORE`).
//!
//! Guarantees: takes verified bytes and nothing else. Doesn't: fail; what the kernel refuses it
//! asks for when it is needed. Doesn't know whether there is memory for it; see
//! [`memory_limit`](super::memory_limit).

use fuser::Notifier;

use crate::fs::Inode;
use crate::reading::VerifiedBytes;

/// The page cache of one mount.
#[derive(Debug, Clone)]
pub struct PageCache(Notifier);

impl PageCache {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self(notifier)
    }

    /// Puts `bytes` at `offset` of the file `ino`: whole pages, within the length that the kernel
    /// knows, since it would take more for growth. Waits for answers to requests for these pages,
    /// so it may not be called by a thread that owes one. Whether the kernel did it.
    pub fn push(&self, ino: Inode, offset: u64, bytes: &VerifiedBytes) -> bool {
        match self.0.store(ino.into(), offset, bytes.as_slice()) {
            Ok(()) => true,
            Err(error) => {
                let ino = ino.number();
                tracing::debug!(%error, ino, offset, "verified pages not pushed");
                false
            }
        }
    }

    /// Takes all pages of the file `ino` away, also from programs that have them mapped; what is
    /// pinned, as in a pipe, stays. Waits for answers to requests for these pages, so it may not be
    /// called by a thread that owes one.
    pub fn drop_pages(&self, ino: Inode) {
        // Zero bytes stand for all of them.
        if let Err(error) = self.0.inval_inode(ino.into(), 0, 0) {
            let ino = ino.number();
            tracing::warn!(%error, ino, "the kernel didn't drop its pages of a file");
        }
    }
}
