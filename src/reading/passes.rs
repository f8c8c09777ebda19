//! Threads for full passes, shared fairly.
//!
//! Guarantees: passes start in the order in which they are asked for, some at a time; one that a
//! source keeps waiting holds no other back, and neither do those that take long: the longer the
//! next one has waited, the more may run beside one another. Each has hashing threads of its own, so
//! that a read that hangs takes no thread from anybody. Doesn't: end a pass; its observer does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

/// Without progress for so long, a pass is taken to wait for its source.
const STALLED: Duration = Duration::from_millis(500);

/// How long the next pass waits for each one beyond the usual number, times how many run already.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether the next one may start.
const TICK: Duration = Duration::from_millis(50);

/// Most passes at a time, stalled ones included: each takes a few threads and some 4 MiB, whatever
/// its file claims to be.
const MOST: usize = 256;

/// Most hashing threads of one pass.
const MOST_THREADS: usize = 16;

/// Bytes of a file that are worth another hashing thread.
const BYTES_A_THREAD: u64 = 16 << 20;

type Pass = Box<dyn FnOnce(&Progress) + Send>;

/// How a pass that is under way gets on.
#[derive(Debug)]
pub(super) struct Progress {
    /// Others run beside it.
    crowded: bool,
    started: Instant,
    /// Milliseconds after `started` when something was hashed last.
    last: AtomicU64,
}

impl Progress {
    fn new(crowded: bool) -> Self {
        Self {
            crowded,
            started: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Takes note that something was hashed.
    pub(super) fn made(&self) {
        self.last.store(self.age(), Ordering::Relaxed);
    }

    fn age(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_stalled(&self) -> bool {
        let since = self.age().saturating_sub(self.last.load(Ordering::Relaxed));
        u128::from(since) >= STALLED.as_millis()
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Instant, Pass)>,
    running: Vec<Arc<Progress>>,
    /// A thread looks after those that wait.
    attended: bool,
}

/// The queue, and what runs.
pub(super) struct Passes {
    usual: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Passes {
    /// `usual`: how many run beside one another while all of them get on.
    pub(super) fn new(usual: usize) -> Arc<Self> {
        Arc::new(Self {
            usual: usual.max(1),
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Has a pass made, on a thread of its own where there is one to be had.
    pub(super) fn run(self: &Arc<Self>, pass: impl FnOnce(&Progress) + Send + 'static) {
        let mut queue = self.lock();
        queue.waiting.push_back((Instant::now(), Box::new(pass)));
        let started = self.take_what_may_start(&mut queue);
        let unattended = !queue.waiting.is_empty() && !queue.attended;
        queue.attended |= unattended;
        drop(queue);
        Self::start(started);
        if unattended {
            let this = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("pass-queue".to_owned())
                .spawn(move || this.attend());
            // Without that thread they start when others end. With it, only it says when it is gone: it
            // may be by now.
            if spawned.is_err() {
                self.lock().attended = false;
            }
        }
    }

    /// Starts passes as they may start, until none waits.
    fn attend(self: &Arc<Self>) {
        let mut queue = self.lock();
        while !queue.waiting.is_empty() {
            let started = self.take_what_may_start(&mut queue);
            if !started.is_empty() {
                drop(queue);
                Self::start(started);
                queue = self.lock();
                continue;
            }
            queue = self
                .changed
                .wait_timeout(queue, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        queue.attended = false;
    }

    fn take_what_may_start(self: &Arc<Self>, queue: &mut Queue) -> Vec<(Run, Pass)> {
        let mut started = Vec::new();
        while self.may_start(queue) {
            let Some((_, pass)) = queue.waiting.pop_front() else {
                break;
            };
            let crowded = queue.running.len() >= self.usual;
            let progress = Arc::new(Progress::new(crowded));
            queue.running.push(Arc::clone(&progress));
            let passes = Arc::clone(self);
            started.push((Run { passes, progress }, pass));
        }
        started
    }

    /// No lock may be held: what can't have a thread of its own is done here.
    fn start(passes: Vec<(Run, Pass)>) {
        for (run, pass) in passes {
            let pass = Arc::new(Mutex::new(Some((run, pass))));
            let taken = Arc::clone(&pass);
            let make = move |slot: &Mutex<Option<(Run, Pass)>>| {
                let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some((run, pass)) = taken {
                    pass(&run.progress);
                }
            };
            let spawned = thread::Builder::new()
                .name("full-pass".to_owned())
                .spawn(move || make(&taken));
            if let Err(error) = spawned {
                // Better slow than stuck.
                tracing::warn!(%error, "no thread for a full pass");
                make(&pass);
            }
        }
    }

    fn may_start(&self, queue: &Queue) -> bool {
        let Some((since, _)) = queue.waiting.front() else {
            return false;
        };
        let active = queue.running.iter().filter(|it| !it.is_stalled()).count();
        let beyond = u32::try_from(active / self.usual).unwrap_or(u32::MAX);
        queue.running.len() < MOST && since.elapsed() >= PATIENCE.saturating_mul(beyond)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that runs; gone when it has ended, however that was.
struct Run {
    passes: Arc<Passes>,
    progress: Arc<Progress>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut queue = self.passes.lock();
        let ours = &self.progress;
        queue.running.retain(|running| !Arc::ptr_eq(running, ours));
        let started = self.passes.take_what_may_start(&mut queue);
        drop(queue);
        Passes::start(started);
        self.passes.changed.notify_all();
    }
}

/// Runs `work`, which hashes a file of `len` bytes, with hashing threads of its own, few where other
/// passes run; in those of the process where there are no more to be had.
pub(super) fn with_own_threads<T: Send>(
    len: u64,
    progress: &Progress,
    work: impl FnOnce() -> T + Send,
) -> T {
    let cores = available_parallelism().map_or(1, usize::from);
    let useful = usize::try_from(len / BYTES_A_THREAD).unwrap_or(MOST_THREADS);
    let most = if progress.crowded { 2 } else { MOST_THREADS };
    let threads = cores.min(most).min(useful.saturating_add(2));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("hashing-{index}"))
        .build();
    match pool {
        Ok(pool) => pool.install(work),
        Err(error) => {
            // The process has no thread left to give; this one will do. Its registration stays for as
            // long as the process lives, and is small.
            tracing::debug!(%error, "a full pass has one thread");
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1);
            match alone.use_current_thread().build() {
                Ok(pool) => pool.install(work),
                Err(_) => work(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    /// Many times what anything here needs.
    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn they_run_in_order_and_end() {
        let passes = Passes::new(1);
        let (sender, receiver) = mpsc::channel();
        for index in 0..20 {
            let sender = sender.clone();
            passes.run(move |_| sender.send(index).unwrap());
        }
        drop(sender);
        let order: Vec<i32> = receiver.iter().collect();
        assert_eq!(order.len(), 20);
        assert_eq!(order[0], 0);
    }

    #[test]
    fn however_many_hang_the_next_one_is_made() {
        let passes = Passes::new(2);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..64 {
            let held = Arc::clone(&held);
            passes.run(move |_| {
                let _ = held.lock().unwrap().recv();
            });
        }
        let (sender, receiver) = mpsc::channel();
        passes.run(move |_| sender.send(()).unwrap());
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
        drop(release);
    }

    #[test]
    fn however_long_others_take_the_next_one_is_made() {
        let passes = Passes::new(1);
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..3 {
            let done = Arc::clone(&done);
            passes.run(move |progress| {
                while done.load(Ordering::Relaxed) == 0 {
                    progress.made();
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let (sender, receiver) = mpsc::channel();
        passes.run(move |_| sender.send(()).unwrap());
        let next = receiver.recv_timeout(LIMIT);
        done.store(1, Ordering::Relaxed);
        assert_eq!(next, Ok(()));
        assert_eq!(
            receiver.recv_timeout(LIMIT),
            Err(RecvTimeoutError::Disconnected)
        );
    }

    /// The thread that looks after the queue may be gone before it is known that it was started.
    #[test]
    fn the_queue_is_attended_however_often_it_was() {
        let passes = Passes::new(1);
        for round in 0..200 {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..3 {
                let sender = sender.clone();
                passes.run(move |_| sender.send(()).unwrap());
            }
            for _ in 0..3 {
                assert_eq!(receiver.recv_timeout(LIMIT), Ok(()), "round {round}");
            }
        }
        let (release, held) = mpsc::channel::<()>();
        passes.run(move |_| {
            let _ = held.recv();
        });
        let (sender, receiver) = mpsc::channel();
        passes.run(move |_| sender.send(()).unwrap());
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
        drop(release);
    }

    #[test]
    fn a_pass_that_panics_makes_room() {
        let passes = Passes::new(1);
        let (sender, receiver) = mpsc::channel();
        passes.run(|_| panic!("as if there were a bug"));
        passes.run(move |_| sender.send(()).unwrap());
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
    }
}
