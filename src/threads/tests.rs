//! Jobs that hang, panic, and come in any number.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, RwLock};
use std::time::{Duration, Instant};

use super::pool::MAX_THREADS;
use super::state::Limits;
use super::*;
use crate::sync::lock;

/// Many times what anything here needs.
const GUARD: Duration = Duration::from_secs(60);

/// A pool that takes jobs to be blocked at once.
fn impatient(max_running: usize, max_threads: usize) -> ThreadPool {
    ThreadPool::with(
        "test",
        Limits {
            max_running,
            max_threads,
            min_threads: 0,
            blocked_after: Duration::from_millis(1),
            idle_timeout: Duration::from_millis(1),
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
    let pool = ThreadPool::started("test", 1).unwrap();
    let (sender, receiver) = channel();
    pool.run(1, || panic!("as if a job had a bug"));
    pool.run(1, move || sender.send(7).unwrap());
    assert_eq!(receiver.recv(), Ok(7));
}

#[test]
fn queued_jobs_outlive_the_pool() {
    let (sender, receiver) = channel();
    let pool = ThreadPool::new("test", 2);
    for index in 0..100 {
        let sender = sender.clone();
        pool.run(index % 3, move || sender.send(index).unwrap());
    }
    drop((pool, sender));
    assert_eq!(receiver.iter().count(), 100);
}

#[test]
fn as_many_threads_as_are_needed_and_no_more_than_allowed() {
    let mut pool = ThreadPool::new("test", 3);
    Arc::get_mut(&mut pool.0).unwrap().limits.blocked_after = GUARD;
    assert_eq!(lock(&pool.0.state).threads, 0);
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
    assert_eq!(lock(&pool.0.state).threads, 3);
}

#[test]
fn jobs_of_a_key_start_in_order_and_keys_take_turns() {
    let mut pool = ThreadPool::new("test", 1);
    Arc::get_mut(&mut pool.0).unwrap().limits.blocked_after = GUARD;
    let (sender, receiver) = channel();
    let gate = Gate::default();
    let closed = gate.0.write().unwrap();
    let at_gate = gate.clone();
    pool.run(9, move || at_gate.pass());
    wait_until("the first job runs", || lock(&pool.0.state).busy == 1);
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
    let state = lock(&pool.0.state);
    assert!(state.keys.values().all(|key| key.running <= 4));
    assert!(state.threads <= 64 * 4 + 4 + 1, "{}", state.threads);
    drop(state);
    assert_eq!(ended.load(Ordering::Relaxed), 0);
    drop(closed);
    wait_until("all jobs end", || ended.load(Ordering::Relaxed) == 64 * 16);
    wait_until("no thread stays", || lock(&pool.0.state).threads == 0);
    let state = lock(&pool.0.state);
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
    assert!(lock(&pool.0.state).keys[&1].running <= 4);
    drop(closed);
    wait_until("all jobs end", || lock(&pool.0.state).waiting == 0);
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
        let state = lock(&pool.0.state);
        state.threads == 3 && state.busy == 0
    });
    drop((closed, sender));
    drop(pool);
    assert_eq!(receiver.iter().count(), 10);
}

#[test]
fn a_key_with_blocked_jobs_gets_its_turn_however_many_others_come() {
    fn go_on(pool: &Arc<ThreadPool>, key: u64, enough: &Arc<AtomicBool>) {
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
    wait_until("the first is blocked", || {
        lock(&pool.0.state).keys[&1].blocked == 1
    });
    let (sender, receiver) = channel();
    pool.run(1, move || sender.send(1).unwrap());
    assert_eq!(receiver.recv_timeout(GUARD), Ok(1));
    enough.store(true, Ordering::Relaxed);
    drop(closed);
    wait_until("all jobs end", || lock(&pool.0.state).waiting == 0);
}
