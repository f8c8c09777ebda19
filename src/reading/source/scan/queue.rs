//! What remains of a scan to be done, shared by its threads.

use std::io;
use std::sync::{Condvar, Mutex};

use super::scanner::{Other, Scanner, Task};
use crate::name::FileName;
use crate::sync::{lock, wait};

#[derive(Default)]
struct State {
    waiting: Vec<Task>,
    /// Threads that may still add to it.
    working: usize,
    failed: Option<io::Error>,
}

/// What remains, until a thread fails.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// A queue that begins with these.
    pub(super) fn new(tasks: Vec<Task>) -> Self {
        let queue = Self::default();
        lock(&queue.state).waiting = tasks;
        queue
    }

    /// Does what there is to do until no thread has anything left. Adds to `found`.
    pub(super) fn work<S: Fn(&FileName) -> bool + Sync>(
        &self,
        scanner: &Scanner<'_, S>,
        mut found: Other,
    ) -> Other {
        let mut state = lock(&self.state);
        loop {
            if state.failed.is_some() {
                return found;
            }
            let Some(task) = state.waiting.pop() else {
                if state.working == 0 {
                    return found;
                }
                state = wait(&self.changed, state);
                continue;
            };
            state.working += 1;
            drop(state);
            let mut working = Working::on(self);
            working.outcome = scanner.perform(task, &mut found);
            drop(working);
            state = lock(&self.state);
        }
    }

    /// Why the scan was given up, if it was.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        lock(&self.state).failed.take()
    }
}

/// A task under way. However it ends, by a panic too, the other threads are told.
struct Working<'a> {
    queue: &'a Queue,
    /// What is left to do of it.
    outcome: io::Result<Vec<Task>>,
}

impl<'a> Working<'a> {
    fn on(queue: &'a Queue) -> Self {
        Self {
            queue,
            outcome: Err(io::Error::other("a thread of the scan has ended")),
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.working -= 1;
        match std::mem::replace(&mut self.outcome, Ok(Vec::new())) {
            Ok(tasks) => state.waiting.extend(tasks),
            Err(error) => state.failed = Some(error),
        }
        self.queue.changed.notify_all();
    }
}
