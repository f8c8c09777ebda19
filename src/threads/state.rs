//! What a pool knows about its jobs and threads, and which job is next.
//!
//! Guarantees: the order and the limits that the [module](super) promises. Doesn't: start a thread,
//! lock, or wait.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// What a thread is to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Keys without jobs that are remembered, so that the next job finds them.
const MAX_IDLE_KEYS: usize = 1024;

/// How much a pool may do at a time.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Jobs that run at a time, those that are blocked not counted.
    pub(super) max_running: usize,
    pub(super) max_threads: usize,
    /// Threads that stay though they have nothing to do.
    pub(super) min_threads: usize,
    /// How long a job counts as one that keeps a core busy.
    pub(super) blocked_after: Duration,
    /// How long a thread waits for a job before it ends.
    pub(super) idle_timeout: Duration,
}

/// The jobs of a pool and its threads.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: HashMap<u64, KeyState>,
    /// Keys that may start a job, in turn: those without blocked jobs, and the others. A key that
    /// gets its first blocked job moves over when its turn comes.
    unblocked_keys: VecDeque<u64>,
    blocked_keys: VecDeque<u64>,
    /// Whether the last job started was of the former.
    last_was_unblocked: bool,
    /// By thread.
    pub(super) running: Vec<Option<RunningJob>>,
    /// Numbers of threads that have ended.
    pub(super) vacant: Vec<usize>,
    /// Jobs that haven't begun.
    pub(super) waiting: usize,
    /// Jobs that run and aren't blocked, and those among them of keys that have blocked jobs.
    pub(super) busy: usize,
    pub(super) probing: usize,
    pub(super) threads: usize,
    /// Threads that were started and haven't begun, and threads that have nothing to do.
    pub(super) starting: usize,
    pub(super) idle: usize,
    pub(super) supervisor: Supervisor,
    pub(super) closed: bool,
}

/// The thread that finds blocked jobs.
#[derive(Default, PartialEq, Eq)]
pub(super) enum Supervisor {
    #[default]
    None,
    /// It has to be woken.
    Asleep,
    /// It looks again by itself.
    Awake,
}

/// The jobs of a key.
#[derive(Default)]
pub(super) struct KeyState {
    waiting: VecDeque<Job>,
    /// Those that run, blocked ones included.
    pub(super) running: usize,
    pub(super) blocked: usize,
    /// Whether it is in one of the two queues.
    is_queued: bool,
}

/// A job that a thread does.
pub(super) struct RunningJob {
    key: u64,
    since: Instant,
    is_blocked: bool,
    /// Whether its key had blocked jobs when it was started.
    is_probing: bool,
}

impl State {
    pub(super) fn queue(&mut self, key: u64, job: Job, limits: &Limits) {
        self.waiting += 1;
        self.keys.entry(key).or_default().waiting.push_back(job);
        self.enqueue_key(key, limits);
    }

    /// Puts a key last in the queue where it belongs, if it may start a job and isn't there.
    fn enqueue_key(&mut self, key: u64, limits: &Limits) {
        let max_running = self.max_running_of_a_key(limits);
        let Some(found) = self.keys.get_mut(&key) else {
            return;
        };
        if found.is_queued || found.waiting.is_empty() || found.running >= max_running {
            return;
        }
        found.is_queued = true;
        match found.blocked {
            0 => self.unblocked_keys.push_back(key),
            _ => self.blocked_keys.push_back(key),
        }
    }

    /// Jobs that a key may have running.
    fn max_running_of_a_key(&self, limits: &Limits) -> usize {
        match self.threads {
            threads if threads < limits.max_threads / 16 => limits.max_running.max(4),
            threads if threads < limits.max_threads / 4 => 4,
            _ => 1,
        }
    }

    pub(super) fn has_queued_keys(&self) -> bool {
        !(self.unblocked_keys.is_empty() && self.blocked_keys.is_empty())
    }

    /// The job that thread `thread` is to do now, if any.
    pub(super) fn next_job(&mut self, thread: usize, limits: &Limits) -> Option<Job> {
        while self.busy < limits.max_running {
            let (key, was_blocked) = self.next_key(limits)?;
            let max_running = self.max_running_of_a_key(limits);
            let found = self.keys.get_mut(&key)?;
            found.is_queued = false;
            if found.running >= max_running {
                // It is queued again when one of them has ended.
                continue;
            }
            if found.blocked > 0 && !was_blocked {
                self.enqueue_key(key, limits);
                continue;
            }
            let Some(job) = found.waiting.pop_front() else {
                continue;
            };
            found.running += 1;
            let is_probing = found.blocked > 0;
            self.waiting -= 1;
            self.busy += 1;
            self.probing += usize::from(is_probing);
            self.last_was_unblocked = !is_probing;
            self.running[thread] = Some(RunningJob {
                key,
                since: Instant::now(),
                is_blocked: false,
                is_probing,
            });
            self.enqueue_key(key, limits);
            return Some(job);
        }
        None
    }

    /// The key whose turn it is, and whether it had blocked jobs when it was queued.
    fn next_key(&mut self, limits: &Limits) -> Option<(u64, bool)> {
        let quarter = (limits.max_running / 4).max(1);
        let (places, may_be_next) = if self.unblocked_keys.is_empty() {
            // Some are left for keys that come.
            ((limits.max_running - limits.max_running / 4).max(1), true)
        } else {
            (quarter, self.last_was_unblocked)
        };
        if may_be_next
            && self.probing < places
            && let Some(key) = self.blocked_keys.pop_front()
        {
            return Some((key, true));
        }
        self.unblocked_keys.pop_front().map(|key| (key, false))
    }

    /// Takes in that the job of a thread has ended.
    pub(super) fn finish(&mut self, thread: usize, limits: &Limits) {
        let Some(ended) = self.running[thread].take() else {
            return;
        };
        if !ended.is_blocked {
            self.busy -= 1;
            self.probing -= usize::from(ended.is_probing);
        }
        let Some(key) = self.keys.get_mut(&ended.key) else {
            return;
        };
        key.running -= 1;
        key.blocked -= usize::from(ended.is_blocked);
        if key.running == 0 && key.waiting.is_empty() && self.keys.len() > MAX_IDLE_KEYS {
            self.keys.remove(&ended.key);
        } else {
            self.enqueue_key(ended.key, limits);
        }
    }

    /// Finds the jobs that are blocked by now. Gives when the next one will be, if it goes on.
    pub(super) fn find_blocked(&mut self, limits: &Limits) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for running in self.running.iter_mut().flatten() {
            let then = running.since + limits.blocked_after;
            if running.is_blocked {
                continue;
            }
            if then > now {
                next = next.min(Some(then)).or(Some(then));
                continue;
            }
            running.is_blocked = true;
            self.busy -= 1;
            self.probing -= usize::from(running.is_probing);
            if let Some(key) = self.keys.get_mut(&running.key) {
                key.blocked += 1;
            }
        }
        next
    }
}
