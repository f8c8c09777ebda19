//! What a lockdown does to pages in the kernel's cache.
//!
//! Guarantees: a page is dropped only once nothing of ours is owed about its file, and none is
//! filled in afterwards; see [`lockdown`](super::lockdown). Doesn't: know how the kernel drops one.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::file_system::FileSystem;
use super::inode::Inode;
#[cfg(feature = "mount")]
use super::lockdown::Owed;
use super::tree::Node;
#[cfg(feature = "mount")]
use crate::manifest::FileIndex;

/// Between two looks whether what was owed has been given.
const LATER: Duration = Duration::from_millis(50);

impl FileSystem {
    /// Starts a thread that calls `drop_pages` with the inode of each file once a violation has
    /// ended all reading, if that is what violations do: what the kernel has cached isn't to be
    /// read any more either. By then nothing of ours is owed about that file, so `drop_pages` may
    /// wait for answers to the kernel. Only the first call counts.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn on_lockdown(
        self: &Arc<Self>,
        drop_pages: impl Fn(Inode) + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(started) = self
            .lockdown
            .take_start()
            .filter(|_| self.lockdown.is_wanted())
        else {
            return Ok(());
        };
        let fs = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("lockdown".to_owned())
            .spawn(move || drop_when_met(&fs, &started, drop_pages))?;
        Ok(())
    }

    /// Whether a violation ends all reading, so that what the kernel has cached is to be dropped.
    #[cfg(feature = "mount")]
    pub(crate) fn ends_on_violation(&self) -> bool {
        self.lockdown.is_wanted()
    }

    /// The inode of file `index`, whose pages may be put into the kernel's cache for as long as the
    /// guard is there. `None` before the length is proved, and once reading has ended.
    #[cfg(feature = "mount")]
    pub(crate) fn pages_to_fill(&self, index: FileIndex) -> Option<(Inode, Owed)> {
        self.inode(index).zip(self.lockdown.owe(index))
    }
}

/// Calls `drop_pages` with each inode that is a file, as soon as nothing is owed about it, once
/// reading has ended, for as long as the file system is there.
fn drop_when_met(fs: &Weak<FileSystem>, started: &Receiver<()>, drop_pages: impl Fn(Inode)) {
    if started.recv().is_err() {
        return;
    }
    let mut left: Option<Vec<Inode>> = None;
    while let Some(fs) = fs.upgrade() {
        let left = left.get_or_insert_with(|| fs.tree.inodes().collect());
        left.retain(|&ino| {
            match fs.tree.node(ino) {
                Some(Node::File(index)) if fs.lockdown.is_owed(index) => return true,
                // The kernel has pages only of what is proved.
                Some(Node::File(index)) => fs.inode(index).into_iter().for_each(&drop_pages),
                Some(Node::Signature) => drop_pages(ino),
                Some(Node::Directory(_)) | None => {}
            }
            false
        });
        if left.is_empty() {
            tracing::info!("lockdown: what the kernel had cached is dropped");
            return;
        }
        drop(fs);
        std::thread::sleep(LATER);
    }
}
