//! Threads for jobs that wait or compute, so that the thread that brings them doesn't.
//!
//! Each job has a key: the file that it is about. Some files may never answer (a network file system
//! whose server is gone, an adversary's FUSE daemon), and however many jobs wait for those, jobs of
//! other files go on.
//!
//! Guarantees:
//! - Jobs of a key start in the order in which they come; keys take turns.
//! - Up to `most` jobs run at a time, on threads that are started as they are needed. A job that has run for
//!   [`AWAY`] while others wait is *away*: it is taken to wait for something, and no longer counts.
//! - A key may have `most` jobs running, those that are away counted; four where there are hundreds of
//!   threads, and one where there are a thousand. The rest of its jobs wait in its own queue. So the
//!   thread that a key without jobs away needs is there, up to [`MAX_THREADS`] keys that have some.
//! - Keys that have jobs away are given no more than a quarter of the places while others wait, but
//!   always get their turn.
//! - Threads that have nothing to do for a while end.
//! - A job that panics ends neither its thread nor the pool; after the pool is dropped, what is queued is
//!   still done.
//!
//! Doesn't: bound the queue; say when a job is done; end a job.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// How long a job counts as one that keeps a core busy. Much longer than hashing a few megabytes takes.
const AWAY: Duration = Duration::from_millis(50);

/// How long a thread waits for a job before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// Most threads of a pool. One that waits takes some tens of kilobytes of memory.
const MAX_THREADS: usize = 4096;

/// Keys without jobs whose place is kept, so that the next job finds it.
const KEPT_KEYS: usize = 1024;

/// Threads, and queues before them.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    limits: Limits,
    state: Mutex<State>,
    /// For threads without a job.
    filled: Condvar,
    /// For the supervisor.
    stuck: Condvar,
}

#[derive(Clone, Copy)]
struct Limits {
    /// Jobs that run at a time, those that are away not counted.
    most: usize,
    threads: usize,
    /// Threads that stay though they have nothing to do.
    kept: usize,
    away: Duration,
    idle: Duration,
}

#[derive(Default)]
struct State {
    keys: HashMap<u64, Key>,
    /// Keys that may start a job, in turn: those without jobs away, and the others. A key that gets
    /// its first job away moves over when its turn comes.
    fresh: VecDeque<u64>,
    suspect: VecDeque<u64>,
    /// Whether the last job started was of the former.
    was_fresh: bool,
    /// By thread.
    running: Vec<Option<Running>>,
    /// Numbers of threads that have ended.
    vacant: Vec<usize>,
    /// Jobs that haven't begun.
    waiting: usize,
    /// Jobs that run and aren't away, and those among them of keys that have jobs away.
    busy: usize,
    probing: usize,
    threads: usize,
    /// Threads that were started and haven't begun, and threads that have nothing to do.
    starting: usize,
    idle: usize,
    supervisor: Supervisor,
    closed: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Supervisor {
    #[default]
    None,
    /// It has to be woken.
    Asleep,
    /// It looks again by itself.
    Awake,
}

#[derive(Default)]
struct Key {
    waiting: VecDeque<Job>,
    running: usize,
    away: usize,
    /// Whether it is in one of the two queues.
    in_turn: bool,
}

struct Running {
    key: u64,
    since: Instant,
    away: bool,
    probing: bool,
}

impl Pool {
    /// A pool for up to `most` jobs at a time on threads called `name`, none of them started. Jobs are
    /// done only if one can be.
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self::with(
            name,
            Limits {
                most: most.max(1),
                threads: MAX_THREADS,
                kept: 0,
                away: AWAY,
                idle: IDLE,
            },
        )
    }

    /// The same with a thread started that stays, so that all jobs will be done.
    ///
    /// # Errors
    /// When it can't be.
    pub(crate) fn started(name: &'static str, most: usize) -> io::Result<Self> {
        let mut pool = Self::new(name, most);
        if let Some(shared) = Arc::get_mut(&mut pool.0) {
            shared.limits.kept = 1;
        }
        let mut state = pool.0.lock();
        pool.0.start_thread(&mut state)?;
        pool.0.start_supervisor(&mut state)?;
        drop(state);
        Ok(pool)
    }

    fn with(name: &'static str, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            name,
            limits,
            state: Mutex::default(),
            filled: Condvar::new(),
            stuck: Condvar::new(),
        }))
    }

    /// Has a thread do `job`, which is about `key`.
    pub(crate) fn run(&self, key: u64, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.queue(key, Box::new(job), &self.0.limits);
        if self.0.lacks_threads(&state) && !self.0.add_thread(&mut state) {
            self.0.wake_supervisor(&mut state);
        }
        if state.busy >= self.0.limits.most {
            self.0.wake_supervisor(&mut state);
        }
        drop(state);
        self.0.filled.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_all();
        self.0.stuck.notify_all();
    }
}

impl State {
    fn queue(&mut self, key: u64, job: Job, limits: &Limits) {
        self.waiting += 1;
        self.keys.entry(key).or_default().waiting.push_back(job);
        self.take_turn(key, limits);
    }

    /// Puts a key last in the queue where it belongs, if it may start a job and isn't there.
    fn take_turn(&mut self, key: u64, limits: &Limits) {
        let share = self.share(limits);
        let Some(found) = self.keys.get_mut(&key) else {
            return;
        };
        if found.in_turn || found.waiting.is_empty() || found.running >= share {
            return;
        }
        found.in_turn = true;
        match found.away {
            0 => self.fresh.push_back(key),
            _ => self.suspect.push_back(key),
        }
    }

    /// Jobs that a key may have running.
    fn share(&self, limits: &Limits) -> usize {
        match self.threads {
            threads if threads < limits.threads / 16 => limits.most.max(4),
            threads if threads < limits.threads / 4 => 4,
            _ => 1,
        }
    }

    fn has_turns(&self) -> bool {
        !(self.fresh.is_empty() && self.suspect.is_empty())
    }

    /// The job that is to be started now, if any, on thread `thread`.
    fn start(&mut self, thread: usize, limits: &Limits) -> Option<Job> {
        while self.busy < limits.most {
            let (key, from_suspect) = self.next_key(limits)?;
            let share = self.share(limits);
            let found = self.keys.get_mut(&key)?;
            found.in_turn = false;
            if found.running >= share {
                // It takes its turn again when one of them has ended.
                continue;
            }
            if found.away > 0 && !from_suspect {
                self.take_turn(key, limits);
                continue;
            }
            let Some(job) = found.waiting.pop_front() else {
                continue;
            };
            found.running += 1;
            let probing = found.away > 0;
            self.waiting -= 1;
            self.busy += 1;
            self.probing += usize::from(probing);
            self.was_fresh = !probing;
            self.running[thread] = Some(Running {
                key,
                since: Instant::now(),
                away: false,
                probing,
            });
            self.take_turn(key, limits);
            return Some(job);
        }
        None
    }

    /// The key whose turn it is, and whether it had jobs away when it took its turn.
    fn next_key(&mut self, limits: &Limits) -> Option<(u64, bool)> {
        let quarter = (limits.most / 4).max(1);
        let (places, may_be_next) = if self.fresh.is_empty() {
            // Some are left for keys that come.
            ((limits.most - limits.most / 4).max(1), true)
        } else {
            (quarter, self.was_fresh)
        };
        if may_be_next
            && self.probing < places
            && let Some(key) = self.suspect.pop_front()
        {
            return Some((key, true));
        }
        self.fresh.pop_front().map(|key| (key, false))
    }

    /// Takes note that the job of a thread has ended.
    fn end(&mut self, thread: usize, limits: &Limits) {
        let Some(ended) = self.running[thread].take() else {
            return;
        };
        if !ended.away {
            self.busy -= 1;
            self.probing -= usize::from(ended.probing);
        }
        let Some(key) = self.keys.get_mut(&ended.key) else {
            return;
        };
        key.running -= 1;
        key.away -= usize::from(ended.away);
        if key.running == 0 && key.waiting.is_empty() && self.keys.len() > KEPT_KEYS {
            self.keys.remove(&ended.key);
        } else {
            self.take_turn(ended.key, limits);
        }
    }

    /// Takes note of jobs that are away. When the next one will be, if it goes on.
    fn find_away(&mut self, limits: &Limits) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for running in self.running.iter_mut().flatten() {
            let then = running.since + limits.away;
            if running.away {
                continue;
            }
            if then > now {
                next = next.min(Some(then)).or(Some(then));
                continue;
            }
            running.away = true;
            self.busy -= 1;
            self.probing -= usize::from(running.probing);
            if let Some(key) = self.keys.get_mut(&running.key) {
                key.away += 1;
            }
        }
        next
    }
}

impl Shared {
    /// Whether there are more jobs to start than threads to do them. Some may have to wait for others
    /// of their key, so it may be fewer.
    fn lacks_threads(&self, state: &State) -> bool {
        let places = self.limits.most.saturating_sub(state.busy);
        state.waiting.min(places) > state.idle + state.starting
    }

    /// Starts a thread, if that can be done.
    fn add_thread(self: &Arc<Self>, state: &mut State) -> bool {
        if state.threads >= self.limits.threads {
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
        let mut state = self.lock();
        state.starting -= 1;
        let mut waited_enough = false;
        loop {
            let job = state.start(thread, &self.limits);
            // What is left finds a thread, or its turn comes, only if the supervisor looks.
            if state.has_turns() {
                self.wake_supervisor(&mut state);
            }
            if let Some(job) = job {
                drop(state);
                if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a job failed: this is a bug in model-fs");
                }
                state = self.lock();
                state.end(thread, &self.limits);
                waited_enough = false;
                continue;
            }
            let is_surplus = waited_enough && state.threads > self.limits.kept;
            // As many as can have jobs at a time wait for them already.
            if is_surplus || state.idle >= self.limits.most || state.closed && state.waiting == 0 {
                break;
            }
            state.idle += 1;
            let (woken, timeout) = self
                .filled
                .wait_timeout(state, self.limits.idle)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            waited_enough = timeout.timed_out();
        }
        state.threads -= 1;
        state.vacant.push(thread);
        if state.closed && state.waiting == 0 {
            drop(state);
            self.filled.notify_all();
            self.stuck.notify_all();
        }
    }

    /// Has the supervisor look after jobs that wait for a place.
    fn wake_supervisor(self: &Arc<Self>, state: &mut State) {
        match state.supervisor {
            Supervisor::Awake => {}
            Supervisor::Asleep => {
                state.supervisor = Supervisor::Awake;
                self.stuck.notify_one();
            }
            Supervisor::None => {
                if let Err(error) = self.start_supervisor(state) {
                    tracing::debug!(%error, "jobs that wait for nothing may hold up others");
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

    /// While jobs wait for a place, finds those that are away, and has threads for the places.
    fn supervise(self: &Arc<Self>) {
        let mut state = self.lock();
        while !(state.closed && state.waiting == 0) {
            if !state.has_turns() {
                state.supervisor = Supervisor::Asleep;
                let woken = self.stuck.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.supervisor = Supervisor::Awake;
            let next = state.find_away(&self.limits);
            while self.lacks_threads(&state) && self.add_thread(&mut state) {}
            if state.idle > 0 && state.busy < self.limits.most {
                self.filled.notify_all();
            }
            // Without one that could be away there may be threads another time.
            let pause = next.map_or(self.limits.away, |next| {
                next.saturating_duration_since(Instant::now())
            });
            let woken = self.stuck.wait_timeout(state, pause);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::sync::{Barrier, RwLock};

    use super::*;

    /// Many times what anything here needs.
    const GUARD: Duration = Duration::from_secs(60);

    /// A pool that takes jobs to be away at once.
    fn impatient(most: usize, threads: usize) -> Pool {
        Pool::with(
            "test",
            Limits {
                most,
                threads,
                kept: 0,
                away: Duration::from_millis(1),
                idle: Duration::from_millis(1),
            },
        )
    }

    /// What jobs wait for.
    #[derive(Clone, Default)]
    struct Gate(Arc<RwLock<()>>);

    impl Gate {
        fn pass(&self) {
            drop(self.0.read().unwrap());
        }
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < GUARD, "{what}: not within {GUARD:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn channel() -> (Sender<u64>, Receiver<u64>) {
        mpsc::channel()
    }

    #[test]
    fn a_panicking_job_ends_nothing() {
        let pool = Pool::started("test", 1).unwrap();
        let (sender, receiver) = channel();
        pool.run(1, || panic!("as if a job had a bug"));
        pool.run(1, move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(7));
    }

    #[test]
    fn queued_jobs_outlive_the_pool() {
        let (sender, receiver) = channel();
        let pool = Pool::new("test", 2);
        for index in 0..100 {
            let sender = sender.clone();
            pool.run(index % 3, move || sender.send(index).unwrap());
        }
        drop((pool, sender));
        assert_eq!(receiver.iter().count(), 100);
    }

    #[test]
    fn as_many_threads_as_are_needed_and_no_more_than_allowed() {
        let mut pool = Pool::new("test", 3);
        Arc::get_mut(&mut pool.0).unwrap().limits.away = GUARD;
        assert_eq!(pool.0.lock().threads, 0);
        // They wait for one another, so each needs a thread of its own.
        let meeting = Arc::new(Barrier::new(4));
        for key in 0..3 {
            let meeting = Arc::clone(&meeting);
            pool.run(key, move || {
                meeting.wait();
            });
        }
        meeting.wait();
        for key in 0..100 {
            pool.run(key, || {});
        }
        assert_eq!(pool.0.lock().threads, 3);
    }

    #[test]
    fn jobs_of_a_key_start_in_order_and_keys_take_turns() {
        let mut pool = Pool::new("test", 1);
        Arc::get_mut(&mut pool.0).unwrap().limits.away = GUARD;
        let (sender, receiver) = channel();
        let gate = Gate::default();
        let closed = gate.0.write().unwrap();
        let at_gate = gate.clone();
        pool.run(9, move || at_gate.pass());
        wait_until("the first job runs", || pool.0.lock().busy == 1);
        for job in [10, 11, 12, 20, 30, 31] {
            let sender = sender.clone();
            pool.run(job / 10, move || sender.send(job).unwrap());
        }
        drop((closed, sender));
        let order: Vec<_> = receiver.iter().collect();
        assert_eq!(order, [10, 20, 30, 11, 31, 12]);
    }

    #[test]
    fn jobs_that_never_end_hold_up_no_other_key() {
        let pool = impatient(4, MAX_THREADS);
        let gate = Gate::default();
        let closed = gate.0.write().unwrap();
        let (sender, receiver) = channel();
        let ended = Arc::new(AtomicUsize::new(0));
        for job in 0..64 * 16 {
            let (gate, ended) = (gate.clone(), Arc::clone(&ended));
            pool.run(job / 16, move || {
                gate.pass();
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        for job in 1000..1010 {
            let sender = sender.clone();
            pool.run(1000, move || sender.send(job).unwrap());
            assert_eq!(receiver.recv_timeout(GUARD), Ok(job));
        }
        // No key has more than fit at a time, and there is room for more keys.
        let state = pool.0.lock();
        assert!(state.keys.values().all(|key| key.running <= 4));
        assert!(state.threads <= 64 * 4 + 4 + 1, "{}", state.threads);
        drop(state);
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        drop(closed);
        wait_until("all jobs end", || ended.load(Ordering::Relaxed) == 64 * 16);
        wait_until("no thread stays", || pool.0.lock().threads == 0);
        let state = pool.0.lock();
        assert_eq!((state.waiting, state.busy, state.probing), (0, 0, 0));
    }

    #[test]
    fn few_threads_are_kept_for_keys_that_have_none() {
        // One key would take all of them; it gets one when there are few.
        let pool = impatient(4, 16);
        let gate = Gate::default();
        let closed = gate.0.write().unwrap();
        for _ in 0..100 {
            let gate = gate.clone();
            pool.run(1, move || gate.pass());
        }
        let (sender, receiver) = channel();
        for key in 2..8 {
            let (gate, sender) = (gate.clone(), sender.clone());
            pool.run(key, move || {
                sender.send(key).unwrap();
                gate.pass();
            });
        }
        let mut begun: Vec<_> = (2..8)
            .map(|_| receiver.recv_timeout(GUARD).unwrap())
            .collect();
        begun.sort_unstable();
        assert_eq!(begun, [2, 3, 4, 5, 6, 7]);
        assert!(pool.0.lock().keys[&1].running <= 4);
        drop(closed);
        wait_until("all jobs end", || pool.0.lock().waiting == 0);
    }

    #[test]
    fn at_the_limit_jobs_wait_and_are_done_later() {
        let pool = impatient(1, 3);
        let gate = Gate::default();
        let closed = gate.0.write().unwrap();
        let (sender, receiver) = channel();
        for key in 0..10 {
            let (gate, sender) = (gate.clone(), sender.clone());
            pool.run(key, move || {
                gate.pass();
                sender.send(key).unwrap();
            });
        }
        wait_until("all threads hang", || {
            let state = pool.0.lock();
            state.threads == 3 && state.busy == 0
        });
        drop((closed, sender));
        drop(pool);
        assert_eq!(receiver.iter().count(), 10);
    }

    #[test]
    fn a_key_with_jobs_away_gets_its_turn_however_many_others_come() {
        fn go_on(pool: &Arc<Pool>, key: u64, enough: &Arc<AtomicBool>) {
            let (next, enough) = (Arc::clone(pool), Arc::clone(enough));
            pool.run(key, move || {
                if !enough.load(Ordering::Relaxed) {
                    go_on(&next, key + 1, &enough);
                }
            });
        }
        let pool = Arc::new(impatient(1, MAX_THREADS));
        let gate = Gate::default();
        let closed = gate.0.write().unwrap();
        let at_gate = gate.clone();
        pool.run(1, move || at_gate.pass());
        let enough = Arc::new(AtomicBool::new(false));
        for key in 2..4 {
            go_on(&pool, key * 1_000_000_000, &enough);
        }
        wait_until("the first is away", || pool.0.lock().keys[&1].away == 1);
        let (sender, receiver) = channel();
        pool.run(1, move || sender.send(1).unwrap());
        assert_eq!(receiver.recv_timeout(GUARD), Ok(1));
        enough.store(true, Ordering::Relaxed);
        drop(closed);
        wait_until("all jobs end", || pool.0.lock().waiting == 0);
    }
}
