//! The end of all reading after a violation, where the user wants that.
//!
//! Guarantees: once [`begin`](Lockdown::begin) has returned, nothing new is read or pushed, and
//! every file that nobody waits for any more is named to those who drop what the kernel has cached of it. Doesn't:
//! take back what was delivered.
//!
//! The kernel drops a page only once it is unlocked, and a page that is being read is locked until it
//! is answered. So a file that a thread of ours still owes an answer or a page is left for later:
//! whoever drops pages must never wait for a source that hangs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::{FileSystem, Node, ROOT};
use crate::sync::lock;

/// Between two looks whether what was owed has been given.
const LATER: Duration = Duration::from_millis(50);

/// Whether reading has ended, and what is still owed from before.
#[derive(Debug)]
pub(super) struct Lockdown {
    wanted: bool,
    met: AtomicBool,
    /// By file, answers and pages that a thread is at.
    owed: Mutex<HashMap<usize, usize>>,
    start: Sender<()>,
    started: Mutex<Option<Receiver<()>>>,
}

impl Lockdown {
    /// `wanted`: whether a violation ends all reading.
    pub(super) fn new(wanted: bool) -> Arc<Self> {
        let (start, started) = channel();
        Arc::new(Self {
            wanted,
            met: AtomicBool::new(false),
            owed: Mutex::default(),
            start,
            started: Mutex::new(Some(started)),
        })
    }

    /// Whether a violation ends all reading.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether reading has ended.
    pub(super) fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// Ends reading. True for the first call.
    pub(super) fn begin(&self) -> bool {
        // Under the lock, so that whatever is owed later knows.
        let owed = lock(&self.owed);
        let first = !self.met.swap(true, Ordering::SeqCst);
        drop(owed);
        if first {
            // Fails where nobody is there to drop anything.
            let _ = self.start.send(());
        }
        first
    }

    /// Notes that something is owed about file `index` until the guard goes. Nothing may be any more once
    /// reading has ended.
    pub(super) fn owe(self: &Arc<Self>, index: usize) -> Option<Owed> {
        if !self.wanted {
            return Some(Owed(None));
        }
        let mut owed = lock(&self.owed);
        if self.is_met() {
            return None;
        }
        *owed.entry(index).or_default() += 1;
        Some(Owed(Some((Arc::clone(self), index))))
    }

    /// What tells of the beginning; nothing for the second call.
    pub(super) fn take_start(&self) -> Option<Receiver<()>> {
        lock(&self.started).take()
    }

    fn is_owed(&self, index: usize) -> bool {
        lock(&self.owed).contains_key(&index)
    }
}

/// Calls `drop_pages` with each inode that is a file, as soon as nothing is owed about it, once reading
/// has ended, for as long as the file system is there.
pub(super) fn drop_when_met(
    fs: &Weak<FileSystem>,
    started: &Receiver<()>,
    drop_pages: impl Fn(u64),
) {
    if started.recv().is_err() {
        return;
    }
    let mut left: Option<Vec<u64>> = None;
    while let Some(fs) = fs.upgrade() {
        let left = left.get_or_insert_with(|| (ROOT..).take(fs.tree.len()).collect());
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

/// Something that is owed about a file; nothing where no violation ends reading.
#[derive(Debug)]
pub(super) struct Owed(Option<(Arc<Lockdown>, usize)>);

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some((lockdown, index)) = &self.0
            && let Entry::Occupied(mut entry) = lock(&lockdown.owed).entry(*index)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_new_is_owed_once_reading_has_ended() {
        let lockdown = Lockdown::new(true);
        assert!(lockdown.take_start().is_some() && lockdown.take_start().is_none());
        let (one, two) = (lockdown.owe(3).unwrap(), lockdown.owe(3).unwrap());
        assert!(!lockdown.is_met());
        assert!(lockdown.begin() && !lockdown.begin());
        assert!(lockdown.is_met());
        assert!(lockdown.owe(3).is_none() && lockdown.owe(4).is_none());
        drop(one);
        assert!(lockdown.is_owed(3) && !lockdown.is_owed(4));
        drop(two);
        assert!(!lockdown.is_owed(3));
    }
}
