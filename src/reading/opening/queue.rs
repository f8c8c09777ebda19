//! Threads for full passes, shared fairly.
//!
//! Guarantees: passes start in the order in which they are asked for, some at a time; one that a
//! source keeps waiting holds no other back, and neither do those that take long: the longer the
//! next one has waited, the more may run beside one another. Each has hashing threads of its own,
//! so that a read that hangs takes no thread from any other. Doesn't: end a pass; its observer
//! does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use crate::manifest::FileIndex;
use crate::sync::{lock, wait, wait_timeout};

/// In a read for so long, a pass is taken to wait for its source.
const STALLED: Duration = Duration::from_millis(500);

/// How long the next pass waits for each one beyond the usual number, times how many run already.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether the next one may start.
const TICK: Duration = Duration::from_millis(50);

/// For how many of these looks no thread may be had before one does without.
const PATIENT_TICKS: u32 = 20;

/// Most passes at a time, stalled ones included: each takes a few threads and some 4 MiB, whatever
/// its file claims to be.
const MOST: usize = 256;

/// So many passes, stalled ones included, have many hashing threads each; those beyond have one.
const ROOMY: usize = 16;

/// Most hashing threads of one pass.
const MOST_THREADS: usize = 16;

/// Bytes of a file that are worth another hashing thread.
const BYTES_A_THREAD: u64 = 16 << 20;

type Pass = Box<dyn FnOnce(&Progress) + Send>;

/// How a pass that is under way gets on.
#[derive(Debug)]
pub(super) struct Progress {
    /// Enough others run beside it: it has one hashing thread.
    crowded: bool,
    started: Instant,
    /// Reads of its source that are under way.
    reading: AtomicUsize,
    /// Milliseconds after `started` when a read began or ended last.
    last: AtomicU64,
    /// What it is over, once it has begun.
    over: Mutex<Option<Over>>,
    /// Bytes of that which were hashed.
    hashed: AtomicU64,
}

/// What a pass is over.
#[derive(Debug, Clone, Copy)]
struct Over {
    file: FileIndex,
    /// Bytes to hash.
    len: u64,
    since: Instant,
}

/// A full pass that is being made.
#[derive(Debug, Clone, Copy)]
pub struct PassUnderway {
    /// The file.
    pub file: FileIndex,
    /// Bytes to hash.
    pub len: u64,
    /// Bytes of these that were.
    pub hashed: u64,
    /// For how long.
    pub elapsed: Duration,
}

impl Progress {
    fn new(crowded: bool) -> Self {
        Self {
            crowded,
            started: Instant::now(),
            reading: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            over: Mutex::default(),
            hashed: AtomicU64::new(0),
        }
    }

    /// Begins with a file of so many bytes, or begins anew.
    pub(super) fn begins(&self, file: FileIndex, len: u64) {
        let since = Instant::now();
        self.hashed.store(0, Ordering::Relaxed);
        *lock(&self.over) = Some(Over { file, len, since });
    }

    /// So many more bytes were hashed.
    pub(super) fn hashed(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Ordering::Relaxed);
    }

    fn underway(&self) -> Option<PassUnderway> {
        let over = *lock(&self.over);
        over.map(|over| PassUnderway {
            file: over.file,
            len: over.len,
            hashed: self.hashed.load(Ordering::Relaxed).min(over.len),
            elapsed: over.since.elapsed(),
        })
    }

    /// Takes note that the source is asked for something.
    pub(super) fn begins_read(&self) {
        self.reading.fetch_add(1, Ordering::Relaxed);
        self.last.store(self.age(), Ordering::Relaxed);
    }

    /// Takes note that it has answered.
    pub(super) fn ends_read(&self) {
        self.reading.fetch_sub(1, Ordering::Relaxed);
        self.last.store(self.age(), Ordering::Relaxed);
    }

    fn age(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the source keeps it waiting; not whether there are too few cores.
    fn is_stalled(&self) -> bool {
        let since = self.age().saturating_sub(self.last.load(Ordering::Relaxed));
        self.reading.load(Ordering::Relaxed) > 0 && u128::from(since) >= STALLED.as_millis()
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Instant, Pass)>,
    running: Vec<Arc<Progress>>,
    /// When a pass was started last.
    started: Option<Instant>,
    /// A thread looks after those that wait.
    attended: bool,
    closed: bool,
}

impl Queue {
    /// How many passes get on.
    fn active(&self) -> usize {
        self.running.iter().filter(|it| !it.is_stalled()).count()
    }
}

/// The queue, and what runs.
struct Shared {
    usual: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The queue of full passes.
pub(super) struct PassQueue(Arc<Shared>);

impl PassQueue {
    /// `usual`: how many run beside one another while all of them get on.
    pub(super) fn new(usual: usize) -> Self {
        let passes = Self(Arc::new(Shared {
            usual: usual.max(1),
            queue: Mutex::default(),
            changed: Condvar::new(),
        }));
        // If it can't be started now, it is tried again when there is something to look after.
        passes.attend();
        passes
    }

    /// The passes that are being made, in the order in which they were begun, and how many wait to
    /// be.
    pub(super) fn underway(&self) -> (Vec<PassUnderway>, usize) {
        let queue = self.0.lock();
        let (running, waiting) = (queue.running.clone(), queue.waiting.len());
        drop(queue);
        let underway = running.iter().filter_map(|it| it.underway());
        (underway.collect(), waiting)
    }

    /// Starts the thread that looks after those that wait. Whether there is one.
    fn attend(&self) -> bool {
        let mut queue = self.0.lock();
        if !queue.attended {
            let shared = Arc::clone(&self.0);
            let spawned = thread::Builder::new()
                .name("pass-queue".to_owned())
                .spawn(move || shared.attend());
            queue.attended = spawned.is_ok();
        }
        queue.attended
    }

    /// Has a pass made, on a thread of its own where there is one to be had.
    pub(super) fn run(&self, pass: impl FnOnce(&Progress) + Send + 'static) {
        self.0
            .lock()
            .waiting
            .push_back((Instant::now(), Box::new(pass)));
        let attended = self.attend();
        if let Err((run, pass)) = self.0.start_next() {
            if attended {
                self.0.put_back(run, pass);
            } else {
                // No thread to be had for anything: better slow than stuck.
                pass(&run.progress);
            }
        }
        self.0.changed.notify_all();
    }
}

impl Drop for PassQueue {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// Starts passes as they may start.
    fn attend(self: &Arc<Self>) {
        let mut failures = 0;
        loop {
            let mut queue = self.lock();
            if queue.waiting.is_empty() {
                if queue.closed {
                    return;
                }
                drop(wait(&self.changed, queue));
                continue;
            }
            if !self.may_start(&queue) {
                queue = wait_timeout(&self.changed, queue, TICK).0;
            }
            drop(queue);
            match self.start_next() {
                Ok(()) => failures = 0,
                Err((run, pass)) if failures < PATIENT_TICKS => {
                    failures += 1;
                    self.put_back(run, pass);
                    thread::sleep(TICK);
                }
                Err((run, pass)) => {
                    tracing::warn!("no thread for a full pass: they are made one after another");
                    pass(&run.progress);
                }
            }
        }
    }

    /// Starts the pass that comes next, if it may. Gives it back if there is no thread for it.
    fn start_next(self: &Arc<Self>) -> Result<(), (Run, Pass)> {
        let (run, pass) = {
            let mut queue = self.lock();
            if !self.may_start(&queue) {
                return Ok(());
            }
            let Some((_, pass)) = queue.waiting.pop_front() else {
                return Ok(());
            };
            let crowded = queue.active() >= self.usual || queue.running.len() >= ROOMY;
            let progress = Arc::new(Progress::new(crowded));
            queue.running.push(Arc::clone(&progress));
            queue.started = Some(Instant::now());
            let shared = Arc::clone(self);
            (Run { shared, progress }, pass)
        };
        let made = Arc::new(Mutex::new(Some((run, pass))));
        let taken = Arc::clone(&made);
        let spawned = thread::Builder::new()
            .name("full-pass".to_owned())
            .spawn(move || {
                let taken = lock(&taken).take();
                if let Some((run, pass)) = taken {
                    pass(&run.progress);
                }
            });
        match spawned {
            Ok(_) => Ok(()),
            Err(_) => lock(&made).take().map_or(Ok(()), Err),
        }
    }

    /// Has a pass wait again, before all others.
    fn put_back(&self, run: Run, pass: Pass) {
        drop(run);
        self.lock().waiting.push_front((Instant::now(), pass));
    }

    fn may_start(&self, queue: &Queue) -> bool {
        let Some(&(waiting, _)) = queue.waiting.front() else {
            return false;
        };
        let beyond = u32::try_from(queue.active() / self.usual).unwrap_or(u32::MAX);
        let since = queue
            .started
            .map_or(waiting, |started| started.max(waiting));
        queue.running.len() < MOST && since.elapsed() >= PATIENCE.saturating_mul(beyond)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// A pass that runs; gone when it has ended, however that was.
struct Run {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let ours = &self.progress;
        self.shared
            .lock()
            .running
            .retain(|running| !Arc::ptr_eq(running, ours));
        // Nothing is started from here: this may be the end of one that had no thread of its own.
        self.shared.changed.notify_all();
    }
}

/// Runs `work`, which hashes a file of `len` bytes, with hashing threads of its own, few where
/// other passes run; in those of the process where there are no more to be had.
pub(super) fn with_own_threads<T: Send>(
    len: u64,
    progress: &Progress,
    work: impl FnOnce() -> T + Send,
) -> T {
    let cores = available_parallelism().map_or(1, usize::from);
    let useful = usize::try_from(len / BYTES_A_THREAD).unwrap_or(MOST_THREADS);
    let most = if progress.crowded { 1 } else { MOST_THREADS };
    let threads = cores.min(most).min(useful.saturating_add(2));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("hashing-{index}"))
        .build();
    match pool {
        Ok(pool) => pool.install(work),
        Err(error) => {
            // The process has no thread left to give; this one will do. Its registration stays for
            // as long as the process lives, and is small.
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
        let passes = PassQueue::new(1);
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
        let passes = PassQueue::new(2);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..64 {
            let held = Arc::clone(&held);
            passes.run(move |progress| {
                progress.begins_read();
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
        let passes = PassQueue::new(1);
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..3 {
            let done = Arc::clone(&done);
            passes.run(move |progress| {
                while done.load(Ordering::Relaxed) == 0 {
                    progress.begins_read();
                    progress.ends_read();
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
        let passes = PassQueue::new(1);
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
        let passes = PassQueue::new(1);
        let (sender, receiver) = mpsc::channel();
        passes.run(|_| panic!("as if there were a bug"));
        passes.run(move |_| sender.send(()).unwrap());
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
    }
}
