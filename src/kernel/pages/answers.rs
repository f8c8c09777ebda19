//! Requests for content that wait for their answers.
//!
//! A page that is being read is locked, and who waits for it may not even be killed: `umount` is
//! one. So each request is answered in bounded time, and all of them when the mount is to end.
//!
//! Guarantees: once [`Answers::cut_off`] has returned, nothing waits and nothing new will. Doesn't:
//! end the work for an answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fuser::{Errno, ReplyData};

use crate::kernel::pending::Pending;
use crate::sync::lock;

/// The requests that wait.
#[derive(Clone, Default)]
pub(in crate::kernel) struct Answers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, Pending<ReplyData>>>,
    next: AtomicU64,
    is_cut_off: AtomicBool,
}

/// A request that is noted, until this is dropped.
pub(super) struct Noted {
    answers: Answers,
    number: u64,
}

impl Answers {
    /// Notes a request that will take a while.
    pub(super) fn note(&self, pending: &Pending<ReplyData>) -> Noted {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.waiting).insert(number, pending.clone());
        // Noted first: whatever was cut off in between is seen here.
        if self.is_cut_off() {
            pending.fail(Errno::EIO);
        }
        Noted {
            answers: self.clone(),
            number,
        }
    }

    /// Whether nothing is answered with content any more.
    pub(super) fn is_cut_off(&self) -> bool {
        self.0.is_cut_off.load(Ordering::SeqCst)
    }

    /// Answers all that wait with EIO, and all that come later.
    pub(in crate::kernel) fn cut_off(&self) {
        self.0.is_cut_off.store(true, Ordering::SeqCst);
        let waiting: Vec<_> = lock(&self.0.waiting).values().cloned().collect();
        for pending in waiting {
            pending.fail(Errno::EIO);
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let gone = lock(&self.answers.0.waiting).remove(&self.number);
        drop(gone);
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers")
            .field("waiting", &lock(&self.0.waiting).len())
            .field("is_cut_off", &self.is_cut_off())
            .finish()
    }
}
