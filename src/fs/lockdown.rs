//! The end of all reading after a violation, where the user wants that.
//!
//! Guarantees: once [`begin`](Lockdown::begin) has returned, nothing new is read or pushed, and
//! what the kernel has cached of a file is dropped as soon as no request for the file waits any
//! more. Doesn't: take back what was delivered.
//!
//! The kernel drops a page only once it is unlocked, and a page that is being read is locked until
//! the read is answered. So a file about which a thread of ours still owes an answer or a page is
//! left for later: the thread that drops pages must never wait for a source that hangs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::manifest::FileIndex;
use crate::sync::lock;

/// Whether reading has ended, and what is still owed from before.
#[derive(Debug)]
pub(super) struct Lockdown {
    wanted: bool,
    met: AtomicBool,
    /// By file, answers and pages that a thread is at.
    owed: Mutex<HashMap<FileIndex, usize>>,
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
        // Under the lock: after it, nothing more is owed.
        let owed = self.owed();
        let first = !self.met.swap(true, Ordering::SeqCst);
        drop(owed);
        if first {
            // Fails where no thread was started to drop pages.
            let _ = self.start.send(());
        }
        first
    }

    /// Notes that something is owed about file `index` until the guard is dropped. `None` once
    /// reading has ended: then nothing new may be owed.
    pub(super) fn owe(self: &Arc<Self>, index: FileIndex) -> Option<Owed> {
        if !self.wanted {
            return Some(Owed(None));
        }
        let mut owed = self.owed();
        if self.is_met() {
            return None;
        }
        *owed.entry(index).or_default() += 1;
        Some(Owed(Some((Arc::clone(self), index))))
    }

    /// What tells of the beginning; nothing for the second call.
    pub(super) fn take_start(&self) -> Option<Receiver<()>> {
        let mut started = lock(&self.started);
        started.take()
    }

    fn owed(&self) -> MutexGuard<'_, HashMap<FileIndex, usize>> {
        lock(&self.owed)
    }

    /// Whether anything is.
    pub(super) fn is_owed(&self, index: FileIndex) -> bool {
        self.owed().contains_key(&index)
    }
}

/// Something that is owed about a file; nothing where no violation ends reading.
#[derive(Debug)]
pub(crate) struct Owed(Option<(Arc<Lockdown>, FileIndex)>);

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some((lockdown, index)) = &self.0
            && let Entry::Occupied(mut entry) = lockdown.owed().entry(*index)
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
        let (one, two) = (
            lockdown.owe(FileIndex::new(3)).unwrap(),
            lockdown.owe(FileIndex::new(3)).unwrap(),
        );
        assert!(!lockdown.is_met());
        assert!(lockdown.begin() && !lockdown.begin());
        assert!(lockdown.is_met());
        assert!(
            lockdown.owe(FileIndex::new(3)).is_none() && lockdown.owe(FileIndex::new(4)).is_none()
        );
        drop(one);
        assert!(lockdown.is_owed(FileIndex::new(3)) && !lockdown.is_owed(FileIndex::new(4)));
        drop(two);
        assert!(!lockdown.is_owed(FileIndex::new(3)));
    }
}
