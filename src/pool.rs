//! Threads for jobs that wait or compute, so that whoever brings them doesn't.
//!
//! Guarantees: jobs start in the order in which they come; threads are started as they are needed, up to a
//! bound; a job that panics ends neither its thread nor the pool; after the pool is dropped, what is queued is still
//! done. Doesn't: bound the queue; say when a job is done.

use std::collections::VecDeque;
use std::io;
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
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Threads, and a queue before them.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    name: &'static str,
    most: usize,
}

impl Pool {
    /// A pool of up to `most` threads called `name`, none of them started. Jobs are done only if one
    /// can be.
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self {
            queue: Arc::default(),
            name,
            most: most.max(1),
        }
    }

    /// The same with one thread started, so that all jobs will be done.
    ///
    /// # Errors
    /// When it can't be.
    pub(crate) fn started(name: &'static str, most: usize) -> io::Result<Self> {
        let pool = Self::new(name, most);
        pool.start_thread(&mut pool.queue.lock())?;
        Ok(pool)
    }

    /// Has a thread do `job`.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut jobs = self.queue.lock();
        jobs.waiting.push_back(Box::new(job));
        if jobs.waiting.len() > jobs.idle && jobs.threads < self.most {
            // With fewer threads jobs wait longer.
            if let Err(error) = self.start_thread(&mut jobs) {
                tracing::debug!(%error, threads = jobs.threads, "no more threads");
            }
        }
        drop(jobs);
        self.queue.filled.notify_one();
    }

    fn start_thread(&self, jobs: &mut Jobs) -> io::Result<()> {
        let queue = Arc::clone(&self.queue);
        std::thread::Builder::new()
            .name(format!("{}-{}", self.name, jobs.threads))
            .spawn(move || queue.work())?;
        jobs.threads += 1;
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job failed: this is a bug in model-fs");
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
            jobs.idle += 1;
            jobs = self
                .filled
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panicking_job_ends_nothing() {
        let pool = Pool::started("test", 1).unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.run(|| panic!("as if a job had a bug"));
        pool.run(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    }

    #[test]
    fn queued_jobs_outlive_the_pool() {
        let (sender, receiver) = mpsc::channel();
        let pool = Pool::new("test", 2);
        for index in 0..100 {
            let sender = sender.clone();
            pool.run(move || sender.send(index).unwrap());
        }
        drop((pool, sender));
        assert_eq!(receiver.iter().count(), 100);
    }

    #[test]
    fn as_many_threads_as_are_needed_and_no_more_than_allowed() {
        let pool = Pool::new("test", 3);
        assert_eq!(pool.queue.lock().threads, 0);
        // They wait for one another, so each needs a thread of its own.
        let meeting = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let meeting = Arc::clone(&meeting);
            pool.run(move || {
                meeting.wait();
            });
        }
        meeting.wait();
        for _ in 0..100 {
            pool.run(|| {});
        }
        assert_eq!(pool.queue.lock().threads, 3);
    }
}
