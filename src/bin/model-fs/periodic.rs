//! Something that is done again and again while a mount is served.
//!
//! Guarantees: it is done at once, then in the given interval, and never again once the
//! [`Periodic`] is dropped. Doesn't: make up for turns that took too long.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that does something until this is dropped.
#[derive(Debug)]
pub(crate) struct Periodic {
    end: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Periodic {
    /// Does `turn` in a thread of this name.
    pub(crate) fn new(
        name: &str,
        interval: Duration,
        mut turn: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                loop {
                    turn();
                    if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                }
            })?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked, which its message has said.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn it_is_done_until_it_is_dropped() {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let periodic = Periodic::new("test", Duration::from_millis(1), count).unwrap();
        while turns.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        drop(periodic);
        let after = turns.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(turns.load(Ordering::Relaxed), after);
        // It doesn't wait for the next turn.
        drop(Periodic::new("test", Duration::from_secs(3600), || {}).unwrap());
    }
}
