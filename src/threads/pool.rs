//! The threads of a pool: those that do jobs, and one that finds jobs that are blocked.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::state::{Limits, State, Supervisor};
use crate::sync::{lock, wait, wait_timeout};

/// How long a job counts as one that keeps a core busy. Much longer than hashing a few megabytes
/// takes.
const BLOCKED_AFTER: Duration = Duration::from_millis(50);

/// How long a thread waits for a job before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most threads of a pool. One that waits takes some tens of kilobytes of memory.
pub(super) const MAX_THREADS: usize = 4096;

/// Threads, and queues before them.
pub(crate) struct ThreadPool(pub(super) Arc<Shared>);

/// What the threads of a pool share.
pub(super) struct Shared {
    name: &'static str,
    pub(super) limits: Limits,
    pub(super) state: Mutex<State>,
    /// For threads without a job.
    job_ready: Condvar,
    /// For the supervisor.
    supervisor_needed: Condvar,
}

impl ThreadPool {
    /// A pool for up to `max_running` jobs at a time on threads called `name`, none of them
    /// started. Jobs are done only if one can be.
    pub(crate) fn new(name: &'static str, max_running: usize) -> Self {
        Self::with(
            name,
            Limits {
                max_running: max_running.max(1),
                max_threads: MAX_THREADS,
                min_threads: 0,
                blocked_after: BLOCKED_AFTER,
                idle_timeout: IDLE_TIMEOUT,
            },
        )
    }

    /// The same with a thread started that stays, so that all jobs will be done.
    ///
    /// # Errors
    /// When it can't be.
    pub(crate) fn started(name: &'static str, max_running: usize) -> io::Result<Self> {
        let mut pool = Self::new(name, max_running);
        if let Some(shared) = Arc::get_mut(&mut pool.0) {
            shared.limits.min_threads = 1;
        }
        let mut state = lock(&pool.0.state);
        pool.0.start_thread(&mut state)?;
        pool.0.start_supervisor(&mut state)?;
        drop(state);
        Ok(pool)
    }

    pub(super) fn with(name: &'static str, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            name,
            limits,
            state: Mutex::default(),
            job_ready: Condvar::new(),
            supervisor_needed: Condvar::new(),
        }))
    }

    /// Has a thread do `job`, which is about `key`.
    pub(crate) fn run(&self, key: u64, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.0.state);
        state.queue(key, Box::new(job), &self.0.limits);
        if self.0.lacks_threads(&state) && !self.0.add_thread(&mut state) {
            self.0.wake_supervisor(&mut state);
        }
        if state.busy >= self.0.limits.max_running {
            self.0.wake_supervisor(&mut state);
        }
        drop(state);
        self.0.job_ready.notify_one();
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.job_ready.notify_all();
        self.0.supervisor_needed.notify_all();
    }
}

impl Shared {
    /// Whether there are more jobs to start than threads to do them. Some may have to wait for
    /// others of their key, so it may be fewer.
    fn lacks_threads(&self, state: &State) -> bool {
        let places = self.limits.max_running.saturating_sub(state.busy);
        state.waiting.min(places) > state.idle + state.starting
    }

    /// Starts a thread, if that can be done.
    fn add_thread(self: &Arc<Self>, state: &mut State) -> bool {
        if state.threads >= self.limits.max_threads {
            return false;
        }
        let started = self.start_thread(state);
        if let Err(error) = &started {
            // With fewer threads jobs wait longer.
            tracing::debug!(%error, threads = state.threads, "no more threads");
        }
        started.is_ok()
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let number = state.vacant.pop().unwrap_or(state.running.len());
        let shared = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name(format!("{}-{number}", self.name))
            .spawn(move || shared.work(number));
        if let Err(error) = started {
            if number < state.running.len() {
                state.vacant.push(number);
            }
            return Err(error);
        }
        if number == state.running.len() {
            state.running.push(None);
        }
        state.threads += 1;
        state.starting += 1;
        Ok(())
    }

    fn work(self: &Arc<Self>, thread: usize) {
        let mut state = lock(&self.state);
        state.starting -= 1;
        let mut waited_enough = false;
        loop {
            let job = state.next_job(thread, &self.limits);
            // What is left finds a thread, or its turn comes, only if the supervisor looks.
            if state.has_queued_keys() {
                self.wake_supervisor(&mut state);
            }
            if let Some(job) = job {
                drop(state);
                if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a job failed: this is a bug in model-fs");
                }
                state = lock(&self.state);
                state.finish(thread, &self.limits);
                waited_enough = false;
                continue;
            }
            let is_surplus = waited_enough && state.threads > self.limits.min_threads;
            // As many as can have jobs at a time wait for them already.
            if is_surplus
                || state.idle >= self.limits.max_running
                || state.closed && state.waiting == 0
            {
                break;
            }
            state.idle += 1;
            let timeout;
            (state, timeout) = wait_timeout(&self.job_ready, state, self.limits.idle_timeout);
            state.idle -= 1;
            waited_enough = timeout.timed_out();
        }
        state.threads -= 1;
        state.vacant.push(thread);
        if state.closed && state.waiting == 0 {
            drop(state);
            self.job_ready.notify_all();
            self.supervisor_needed.notify_all();
        }
    }

    /// Has the supervisor look after jobs that wait for a place.
    fn wake_supervisor(self: &Arc<Self>, state: &mut State) {
        match state.supervisor {
            Supervisor::Awake => {}
            Supervisor::Asleep => {
                state.supervisor = Supervisor::Awake;
                self.supervisor_needed.notify_one();
            }
            Supervisor::None => {
                if let Err(error) = self.start_supervisor(state) {
                    tracing::debug!(%error, "jobs that are blocked may hold up others");
                }
            }
        }
    }

    fn start_supervisor(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("{}-watch", self.name))
            .spawn(move || shared.supervise())?;
        state.supervisor = Supervisor::Awake;
        Ok(())
    }

    /// While jobs wait for a place, finds those that are blocked, and has threads for the places.
    fn supervise(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        while !(state.closed && state.waiting == 0) {
            if !state.has_queued_keys() {
                state.supervisor = Supervisor::Asleep;
                state = wait(&self.supervisor_needed, state);
                continue;
            }
            state.supervisor = Supervisor::Awake;
            let next = state.find_blocked(&self.limits);
            while self.lacks_threads(&state) && self.add_thread(&mut state) {}
            if state.idle > 0 && state.busy < self.limits.max_running {
                self.job_ready.notify_all();
            }
            // Without one that could become blocked there may be threads another time.
            let pause = next.map_or(self.limits.blocked_after, |next| {
                next.saturating_duration_since(Instant::now())
            });
            (state, _) = wait_timeout(&self.supervisor_needed, state, pause);
        }
    }
}
