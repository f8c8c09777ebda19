//! Requests that take long, and programs that no longer wait for them.
//!
//! The kernel keeps a thread whose request is being served until it is answered, whatever signal it
//! gets. A full pass takes minutes, and a source that hangs longer; so requests that aren't
//! answered soon are looked after by a thread here, which answers EINTR where the program behind
//! one was interrupted or killed. A read is let go only for a program that was killed: through a
//! mapping, an error ends one that may only have to handle a signal.
//!
//! Guarantees: each request is answered once, by the thread that is first; the watch looks only
//! while something is pending, ten times a second. Doesn't: end the work for an answer that no
//! program waits for; the work itself asks [`Pending::is_wanted`].

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Errno, ReplyData, ReplyEntry, ReplyOpen, Request};
use rustix::time::{ClockId, clock_gettime};

use super::guarded::Unanswered;
use super::interrupt::Requester;
use crate::sync::{lock, wait_while};

/// How often waiting requests are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How many of them each time: some milliseconds' work.
const MOST_LOOKS: usize = 512;

/// What can be answered with an error.
pub(super) trait Answer: Send + 'static {
    /// Whether only the end of the program lets the request go.
    const UNTIL_KILLED: bool = false;

    fn fail(self, error: Errno);
}

impl Answer for ReplyData {
    const UNTIL_KILLED: bool = true;

    fn fail(self, error: Errno) {
        self.error(error);
    }
}

impl Answer for ReplyOpen {
    fn fail(self, error: Errno) {
        self.error(error);
    }
}

impl Answer for ReplyEntry {
    fn fail(self, error: Errno) {
        self.error(error);
    }
}

/// What answers a request, and what counts it until then.
type Answering<R> = (R, Option<Unanswered>);

/// A request that isn't answered yet.
pub(super) struct Pending<R>(Arc<Mutex<Option<Answering<R>>>>);

impl<R> Clone for Pending<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Answer> Pending<R> {
    /// The request that the calling thread is serving, which `reply` answers.
    pub(super) fn new(reply: R) -> Self {
        let answering = (reply, Unanswered::of_this_request());
        Self(Arc::new(Mutex::new(Some(answering))))
    }

    /// What answers it, unless it was answered.
    fn take(&self) -> Option<Answering<R>> {
        lock(&self.0).take()
    }

    /// What will answer it.
    pub(super) fn answerer(&self) -> Answerer<R> {
        Answerer(self.clone())
    }

    /// Answers with an error, unless it was answered.
    pub(super) fn fail(&self, error: Errno) {
        if let Some((reply, _unanswered)) = self.take() {
            reply.fail(error);
        }
    }

    /// Whether the answer is still waited for.
    pub(super) fn is_wanted(&self) -> bool {
        lock(&self.0).is_some()
    }
}

/// What will answer a request from another thread. If it is dropped before it did, as where a job
/// ends in a panic, the request is answered EIO.
pub(super) struct Answerer<R: Answer>(Pending<R>);

impl<R: Answer> Answerer<R> {
    /// What answers the request, unless it was let go.
    pub(super) fn take(&self) -> Option<Answering<R>> {
        self.0.take()
    }
}

impl<R: Answer> Drop for Answerer<R> {
    fn drop(&mut self) {
        if let Some((reply, _unanswered)) = self.0.take() {
            reply.fail(Errno::EIO);
        }
    }
}

/// A pending request of any kind, and the thread that waits for it.
trait Watched: Send {
    fn is_pending(&self) -> bool;
    /// Answers that it was interrupted, if it was.
    fn let_go(&self);
}

struct Waiting<R> {
    pending: Pending<R>,
    /// Looked up anew each time, so that requests that wait, however many, hold no descriptors.
    thread: u32,
    /// When the request was there (`CLOCK_BOOTTIME`): a thread that began later has the number of
    /// one that left its read under way.
    since: Duration,
    /// When it is answered EIO, if it waits as long as that.
    deadline: Option<Instant>,
}

impl<R: Answer> Watched for Waiting<R> {
    fn is_pending(&self) -> bool {
        self.pending.is_wanted()
    }

    fn let_go(&self) {
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            tracing::warn!("a request waited for too long and fails");
            return self.pending.fail(Errno::EIO);
        }
        let requester = Requester::new(self.thread);
        let is_let_go = if R::UNTIL_KILLED {
            requester.is_killed()
        } else {
            requester.is_interrupted()
        };
        // Asked last: hardly any request is let go.
        if is_let_go
            && requester.was_there(self.since)
            && let Some((reply, _unanswered)) = self.pending.take()
        {
            tracing::debug!("a request was interrupted");
            reply.fail(Errno::EINTR);
        }
    }
}

/// Looks after pending requests. Its thread ends once all copies of it are gone and all requests
/// are answered.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Owner>);

/// Ends the thread when it is dropped.
#[derive(Default)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.0.state).over = true;
        self.0.filled.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Box<dyn Watched>>,
    started: bool,
    /// Nothing more will be looked after.
    over: bool,
}

impl Watch {
    /// Looks after a request if it is still pending: it wasn't answered at once.
    pub(super) fn look_after<R: Answer>(&self, request: &Request, pending: &Pending<R>) {
        self.watch(request.pid(), pending, None);
    }

    /// The same, and answers it EIO after this time.
    pub(super) fn look_after_for<R: Answer>(
        &self,
        request: &Request,
        pending: &Pending<R>,
        most: Duration,
    ) {
        self.watch(request.pid(), pending, Instant::now().checked_add(most));
    }

    fn watch<R: Answer>(&self, thread: u32, pending: &Pending<R>, deadline: Option<Instant>) {
        if !pending.is_wanted() {
            return;
        }
        let waiting = Box::new(Waiting {
            pending: pending.clone(),
            thread,
            since: since_boot(),
            deadline,
        });
        let shared = &self.0.0;
        let mut state = lock(&shared.state);
        state.waiting.push(waiting);
        if !state.started {
            let shared = Arc::clone(shared);
            let spawned = thread::Builder::new()
                .name("interrupts".to_owned())
                .spawn(move || shared.attend());
            // Without it, requests wait until they are answered.
            state.started = spawned.is_ok();
        }
        drop(state);
        shared.filled.notify_one();
    }
}

/// Time since the machine was started.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

impl Shared {
    fn attend(&self) {
        loop {
            let state = lock(&self.state);
            let state = wait_while(&self.filled, state, |state| {
                state.waiting.is_empty() && !state.over
            });
            if state.waiting.is_empty() {
                return;
            }
            drop(state);
            thread::sleep(TICK);
            let mut waiting = std::mem::take(&mut lock(&self.state).waiting);
            waiting.retain(|it| it.is_pending());
            for it in waiting.iter().take(MOST_LOOKS) {
                it.let_go();
            }
            // The others are looked at first next time.
            let looked_at = MOST_LOOKS.min(waiting.len());
            waiting.rotate_left(looked_at);
            lock(&self.state).waiting.append(&mut waiting);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("waiting", &lock(&self.0.0.state).waiting.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    impl Answer for Sender<i32> {
        fn fail(self, error: Errno) {
            self.send(error.into()).unwrap();
        }
    }

    #[test]
    fn a_request_that_nothing_will_answer_any_more_is_an_error() {
        let (sender, receiver) = channel();
        let pending = Pending::new(sender);
        drop(pending.answerer());
        assert_eq!(receiver.recv(), Ok(libc::EIO));
        assert!(!pending.is_wanted());
    }

    #[test]
    fn a_request_of_an_interrupted_program_is_let_go_and_others_are_not() {
        let watch = Watch::default();
        let mut sleep = Command::new("sleep");
        let mut child = sleep.arg("1000").stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        // So that a signal waits for it, as for a thread that waits for an answer.
        kill_process(pid, Signal::STOP).unwrap();
        let (interrupted, of_interrupted) = channel();
        let (alive, of_alive) = channel();
        let (interrupted, alive) = (Pending::new(interrupted), Pending::new(alive));
        watch.watch(child.id(), &interrupted, None);
        watch.watch(std::process::id(), &alive, None);
        assert_eq!(
            of_interrupted.recv_timeout(TICK * 3),
            Err(RecvTimeoutError::Timeout)
        );
        kill_process(pid, Signal::INT).unwrap();
        let limit = Duration::from_secs(60);
        assert_eq!(of_interrupted.recv_timeout(limit), Ok(libc::EINTR));
        assert!(!interrupted.is_wanted());
        assert!(alive.is_wanted());
        assert!(of_alive.try_recv().is_err());
        alive.take().unwrap().0.fail(Errno::EIO);
        assert_eq!(of_alive.recv_timeout(limit), Ok(libc::EIO));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_thread_ends_with_the_watch_and_not_before_its_requests() {
        let watch = Watch::default();
        let shared = Arc::downgrade(&watch.0.0);
        let (pending, answered) = channel();
        let pending = Pending::new(pending);
        watch.watch(std::process::id(), &pending, Some(Instant::now() + TICK));
        drop(watch.clone());
        drop(watch);
        // The deadline holds all the same.
        let limit = Duration::from_secs(60);
        assert_eq!(answered.recv_timeout(limit), Ok(libc::EIO));
        let deadline = Instant::now() + limit;
        while shared.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread goes on");
            thread::sleep(TICK);
        }
    }
}
