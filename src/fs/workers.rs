//! Threads that wait, so that the kernel's session threads don't.
//!
//! Guarantees: jobs start in the order in which they come; a job that panics ends neither its thread
//! nor the queue. Doesn't: bound the queue. The kernel bounds the requests it has under way.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    filled: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
}

/// A fixed number of threads and a queue before them. Dropping it lets queued jobs finish.
pub(super) struct Workers {
    queue: Arc<Queue>,
}

impl Workers {
    /// Starts `count` threads, at least one.
    pub(super) fn start(count: usize) -> std::io::Result<Self> {
        let workers = Self {
            queue: Arc::default(),
        };
        for index in 0..count.max(1) {
            let queue = Arc::clone(&workers.queue);
            std::thread::Builder::new()
                .name(format!("reader-{index}"))
                .spawn(move || queue.work())?;
        }
        Ok(workers)
    }

    /// Has a thread do `job`.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.queue.lock().waiting.push_back(Box::new(job));
        self.queue.filled.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            // The job's reply, dropped unsent, answers EIO.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a request failed: this is a bug in model-fs");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            jobs = self
                .filled
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panicking_job_ends_nothing() {
        let workers = Workers::start(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        workers.run(|| panic!("as if a request had a bug"));
        workers.run(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    }

    #[test]
    fn queued_jobs_outlive_the_pool() {
        let (sender, receiver) = mpsc::channel();
        let workers = Workers::start(2).unwrap();
        for index in 0..100 {
            let sender = sender.clone();
            workers.run(move || sender.send(index).unwrap());
        }
        drop((workers, sender));
        assert_eq!(receiver.iter().count(), 100);
    }
}
