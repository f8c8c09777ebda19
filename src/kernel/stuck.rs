//! Readers that the kernel would let spin for ever.
//!
//! A page that can't be read ends a process that touches it through a mapping with SIGBUS. Linux
//! fails to do so where the mapping is being populated (`MAP_POPULATE`, `mlock`): a page fault that
//! had to drop the mmap lock reports "try again" whether or not the read worked
//! (`filemap_fault`, `VM_FAULT_RETRY`), and `mm_populate` tries again without end. The process can't be
//! interrupted, and asks us for the same page some thousand times a second. llama.cpp maps models so.
//!
//! Guarantees: a thread that asks for the same unreadable page [`SPIN`] times, each time within
//! [`PAUSE`] of the failure before, has its process killed with SIGKILL, the only signal that ends
//! such a loop. It can be no other process: the thread is waiting for our answer. Doesn't: touch a
//! program that gives up, goes on to other pages, or waits between its attempts; or reach processes
//! that we may not signal or can't see (other users', other PID namespaces).

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use rustix::process::{Pid, Signal, kill_process};

/// Failures of one page in a row that no program causes on purpose.
const SPIN: u32 = 256;

/// A longer pause between two failures means that somebody decided to try again.
const PAUSE: Duration = Duration::from_millis(100);

/// Pages watched at a time.
const WATCHED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A page, and the thread that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// Thread id, as the kernel translates it for us; zero if it can't.
    pub(super) thread: u32,
    pub(super) ino: u64,
    pub(super) offset: u64,
}

#[derive(Debug)]
struct Streak {
    failures: u32,
    last: Instant,
}

/// Watches failing reads.
#[derive(Debug)]
pub(super) struct StuckReaders(Mutex<LruCache<Attempt, Streak>>);

impl Default for StuckReaders {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(WATCHED)))
    }
}

impl StuckReaders {
    /// Takes note of a failing read *before* it is answered, and ends the process if it is stuck.
    pub(super) fn failed(&self, attempt: Attempt) {
        if !self.is_spinning(attempt, Instant::now()) {
            return;
        }
        let Some(pid) = i32::try_from(attempt.thread).ok().and_then(Pid::from_raw) else {
            tracing::warn!("a process is stuck on unreadable content and can't be seen from here");
            return;
        };
        // A thread id stands for its process here (kill(2)).
        match kill_process(pid, Signal::KILL) {
            Ok(()) => tracing::error!(
                thread = attempt.thread,
                offset = attempt.offset,
                "killed a process that would have waited for unreadable content for ever"
            ),
            Err(error) => tracing::warn!(
                thread = attempt.thread,
                %error,
                "a process is stuck on unreadable content and can't be ended"
            ),
        }
    }

    fn is_spinning(&self, attempt: Attempt, now: Instant) -> bool {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = watched.get_or_insert_mut(attempt, || Streak {
            failures: 0,
            last: now,
        });
        if now.saturating_duration_since(streak.last) > PAUSE {
            streak.failures = 0;
        }
        streak.last = now;
        streak.failures += 1;
        let spins = streak.failures >= SPIN;
        if spins {
            watched.pop(&attempt);
        }
        spins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(offset: u64) -> Attempt {
        Attempt {
            thread: 7,
            ino: 2,
            offset,
        }
    }

    fn spins(pause: Duration, offsets: u64) -> bool {
        let readers = StuckReaders::default();
        let start = Instant::now();
        (0..4 * SPIN).any(|step| {
            readers.is_spinning(attempt(u64::from(step) % offsets), start + pause * step)
        })
    }

    #[test]
    fn only_a_loop_without_a_pause_is_stuck() {
        assert!(spins(Duration::from_micros(300), 1));
        // Read-ahead and the page itself take turns.
        assert!(spins(Duration::from_micros(300), 2));
        assert!(!spins(PAUSE * 2, 1), "a program that waits and tries again");
        let pages = u64::from(4 * SPIN);
        assert!(!spins(Duration::from_micros(300), pages), "a scan");
    }
}
