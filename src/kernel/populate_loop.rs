//! Processes that the kernel would let spin for ever.
//!
//! A page that can't be read ends a process that touches it through a mapping with SIGBUS. Linux
//! fails to do so where the mapping is being populated (`MAP_POPULATE`, `mlock`): a page fault that
//! had to drop the mmap lock reports "try again" whether or not the read worked (`filemap_fault`,
//! `VM_FAULT_RETRY`), and `mm_populate` tries again without end. The process can't be interrupted,
//! and asks us for the same page some thousand times a second. llama.cpp maps models so.
//!
//! Whether a process is ended is decided here alone: [`PopulateLoops::failed`] is told of each
//! failing read before it is answered, and told nothing else.
//!
//! Guarantees: a process is ended (SIGKILL, the only signal that ends such a loop) only if
//! - a thread of it asked for the same unreadable page [`SPIN`] times, each time within [`PAUSE`]
//!   of the failure before;
//! - at each of the last [`PROBES`] of them, that thread slept in one and the same call that
//!   populates mappings ([`POPULATES`]), didn't move for as long as the answer was held back, and
//!   had moved since the answer before. So it is our answers that it waits for: failures of what
//!   was asked for without waiting (read-ahead, asynchronous reads), also by a thread that is gone
//!   and whose number is another's now, don't look like that.
//!
//! Threads and processes are held by descriptors, never by number, so no other can be hit.
//!
//! Doesn't: touch a program that gives up, that handles the error, that goes on to other pages or
//! waits between its attempts; or reach processes that we may not look into (other users' for an
//! ordinary user, other PID namespaces, any but its children where `kernel.yama.ptrace_scope` is
//! set). Those are named in the log. On other architectures than x86-64 and 64-bit Arm it ends
//! nothing.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::proc_thread::{self, Call, ProcThread};
use crate::fs::Inode;
use crate::sync::lock;

/// Failures of one page in a row that no program causes on purpose.
const SPIN: u32 = 256;

/// How many of the last failures are looked at closely.
const PROBES: u32 = 8;

/// How long an answer is held back, to see whether the thread waits for it.
const HOLD: Duration = Duration::from_millis(2);

/// A longer pause between two failures means that the program decided to try again.
const PAUSE: Duration = Duration::from_millis(100);

/// Pages watched at a time. Each takes two descriptors.
const WATCHED: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// The system calls that populate mappings of files and don't return when they can't
/// (`mm_populate`). `madvise` with `MADV_POPULATE_READ` gives an error instead, and is here in case
/// that a kernel doesn't. `brk` populates as well, but nothing of a file.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const POPULATES: &[i64] = &[
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_remap_file_pages,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const POPULATES: &[i64] = &[];

/// A page, and the thread that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// Thread id, as the kernel translates it for us; zero if it can't.
    pub(super) thread: u32,
    pub(super) ino: Inode,
    pub(super) offset: u64,
}

/// A look at a thread: the call that it sleeps in, and how often it has gone to sleep so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sleep {
    call: Call,
    count: u64,
}

/// A thread and its process.
trait Suspect: fmt::Debug + Send + Sync {
    /// `None` if it doesn't sleep in a system call.
    fn sleep(&self) -> io::Result<Option<Sleep>>;
    /// Ends the process.
    fn end(&self) -> io::Result<()>;
}

#[derive(Debug)]
struct Held {
    thread: ProcThread,
    process: OwnedFd,
}

impl Held {
    fn find(thread: u32) -> Option<Arc<dyn Suspect>> {
        let thread = ProcThread::find(thread)?;
        let process = thread.process()?;
        Some(Arc::new(Self { thread, process }))
    }
}

impl Suspect for Held {
    fn sleep(&self) -> io::Result<Option<Sleep>> {
        let Some(call) = self.thread.call()? else {
            return Ok(None);
        };
        let count = self.thread.status()?.sleeps;
        Ok(Some(Sleep { call, count }))
    }

    fn end(&self) -> io::Result<()> {
        proc_thread::kill(&self.process)
    }
}

/// Finds the thread of a number.
type Find = fn(u32) -> Option<Arc<dyn Suspect>>;

#[derive(Debug)]
struct Streak {
    suspect: Option<Arc<dyn Suspect>>,
    failures: u32,
    last: Instant,
    /// What the last probe saw.
    seen: Option<Sleep>,
}

/// Watches failing reads.
#[derive(Debug)]
pub(super) struct PopulateLoops {
    watched: Mutex<LruCache<Attempt, Streak>>,
    find: Find,
    hold: Duration,
}

impl Default for PopulateLoops {
    fn default() -> Self {
        Self::with(Held::find, HOLD)
    }
}

/// What a failure calls for.
#[derive(Debug)]
enum Next {
    /// Nothing.
    Answer,
    /// A closer look, and the end of the process if `last`.
    Probe {
        suspect: Arc<dyn Suspect>,
        seen: Option<Sleep>,
        last: bool,
    },
    /// The thread can't be seen.
    Unseen,
}

impl PopulateLoops {
    fn with(find: Find, hold: Duration) -> Self {
        Self {
            watched: Mutex::new(LruCache::new(WATCHED)),
            find,
            hold,
        }
    }

    /// Takes note of a failing read *before* it is answered, and ends the process if it loops. May
    /// hold the answer back for some milliseconds.
    pub(super) fn failed(&self, attempt: Attempt) {
        match self.count(attempt, Instant::now()) {
            Next::Answer => {}
            Next::Unseen => tracing::warn!(
                "a process keeps asking for unreadable content and can't be seen from here"
            ),
            Next::Probe {
                suspect,
                seen,
                last,
            } => match self.probe(suspect.as_ref(), seen) {
                Ok(Some(sleep)) if last => {
                    self.forget(attempt);
                    end(suspect.as_ref(), attempt, sleep);
                }
                Ok(Some(sleep)) => self.note(attempt, sleep),
                Ok(None) => self.forget(attempt),
                Err(error) => {
                    self.forget(attempt);
                    if !proc_thread::is_gone(&error) {
                        tracing::warn!(
                            thread = attempt.thread,
                            %error,
                            "a process keeps asking for unreadable content; if it hangs, end it \
                             with \"kill -9\", which isn't done from here: its state can't be \
                             looked at"
                        );
                    }
                }
            },
        }
    }

    fn count(&self, attempt: Attempt, now: Instant) -> Next {
        let mut watched = self.lock();
        let known = watched.get_mut(&attempt);
        let Some(streak) = known.filter(|streak| {
            now.saturating_duration_since(streak.last) <= PAUSE && streak.failures < SPIN
        }) else {
            let streak = Streak {
                suspect: (self.find)(attempt.thread),
                failures: 1,
                last: now,
                seen: None,
            };
            watched.put(attempt, streak);
            return Next::Answer;
        };
        streak.last = now;
        streak.failures += 1;
        if streak.failures <= SPIN - PROBES {
            return Next::Answer;
        }
        match &streak.suspect {
            Some(suspect) => Next::Probe {
                suspect: Arc::clone(suspect),
                seen: streak.seen,
                last: streak.failures == SPIN,
            },
            None if streak.failures == SPIN => Next::Unseen,
            None => Next::Answer,
        }
    }

    /// Whether the thread waits in one populating call for the answer that is held back meanwhile,
    /// and has taken the one before.
    fn probe(&self, suspect: &dyn Suspect, seen: Option<Sleep>) -> io::Result<Option<Sleep>> {
        let Some(before) = suspect.sleep()? else {
            return Ok(None);
        };
        if !POPULATES.contains(&before.call.number) {
            return Ok(None);
        }
        if seen.is_some_and(|seen| seen.call != before.call || seen.count >= before.count) {
            return Ok(None);
        }
        std::thread::sleep(self.hold);
        Ok(suspect.sleep()?.filter(|after| *after == before))
    }

    fn note(&self, attempt: Attempt, sleep: Sleep) {
        if let Some(streak) = self.lock().get_mut(&attempt) {
            streak.seen = Some(sleep);
        }
    }

    fn forget(&self, attempt: Attempt) {
        self.lock().pop(&attempt);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Attempt, Streak>> {
        lock(&self.watched)
    }
}

fn end(suspect: &dyn Suspect, attempt: Attempt, sleep: Sleep) {
    match suspect.end() {
        Ok(()) => tracing::error!(
            thread = attempt.thread,
            offset = attempt.offset,
            system_call = sleep.call.number,
            "killed a process that would have waited for unreadable content for ever"
        ),
        Err(error) => tracing::warn!(
            thread = attempt.thread,
            %error,
            "a process waits for unreadable content for ever and can't be ended"
        ),
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use rustix::io::Errno;

    use super::*;

    const MMAP: i64 = POPULATES[0];
    const READ: i64 = libc::SYS_pread64;

    fn attempt(offset: u64) -> Attempt {
        Attempt {
            thread: 7,
            ino: Inode::new(2),
            offset,
        }
    }

    fn call(number: i64, stack: u64) -> Call {
        let mut context = [0; 8];
        context[6] = stack;
        Call { number, context }
    }

    /// How a thread looks when it is looked at for the `nth` time. Each probe looks twice.
    type Looks = fn(nth: u64) -> io::Result<Option<Sleep>>;

    #[derive(Debug)]
    struct Actor {
        looks: Looks,
        looked: AtomicU64,
        ended: Arc<AtomicUsize>,
    }

    impl Suspect for Actor {
        fn sleep(&self) -> io::Result<Option<Sleep>> {
            (self.looks)(self.looked.fetch_add(1, Ordering::Relaxed))
        }

        fn end(&self) -> io::Result<()> {
            self.ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    thread_local! {
        /// The thread that has the number.
        static ACTOR: RefCell<Option<Arc<Actor>>> = const { RefCell::new(None) };
    }

    fn actor() -> Option<Arc<dyn Suspect>> {
        ACTOR.with_borrow(|actor| actor.clone().map(|actor| actor as Arc<dyn Suspect>))
    }

    /// Gives the number to a thread that looks so. The number counts how often it was ended.
    fn appear(looks: Looks) -> Arc<AtomicUsize> {
        let ended = Arc::default();
        let actor = Actor {
            looks,
            looked: AtomicU64::new(0),
            ended: Arc::clone(&ended),
        };
        ACTOR.set(Some(Arc::new(actor)));
        ended
    }

    fn loops() -> PopulateLoops {
        PopulateLoops::with(|_| actor(), Duration::ZERO)
    }

    /// How often a thread that looks so is ended by a streak of failures.
    fn ended(looks: Looks) -> usize {
        let ended = appear(looks);
        let watch = loops();
        for _ in 0..SPIN {
            watch.failed(attempt(0));
        }
        ended.load(Ordering::Relaxed)
    }

    /// Sleeps in one call, and takes each answer.
    fn populating(nth: u64) -> Sleep {
        Sleep {
            call: call(MMAP, 0),
            count: nth / 2,
        }
    }

    fn spins(pause: Duration, offsets: u64) -> bool {
        let loops = loops();
        appear(|nth| Ok(Some(populating(nth))));
        let start = Instant::now();
        (0..4 * SPIN).any(|step| {
            let attempt = attempt(u64::from(step) % offsets);
            let next = loops.count(attempt, start + pause * step);
            matches!(next, Next::Probe { last: true, .. })
        })
    }

    #[test]
    fn only_a_loop_without_a_pause_is_looked_at() {
        assert!(spins(Duration::from_micros(300), 1));
        // Read-ahead and the page itself take turns.
        assert!(spins(Duration::from_micros(300), 2));
        assert!(!spins(PAUSE * 2, 1), "a program that waits and tries again");
        let pages = u64::from(4 * SPIN);
        assert!(!spins(Duration::from_micros(300), pages), "a scan");
    }

    #[test]
    fn a_thread_that_waits_for_each_answer_in_one_populating_call_is_ended() {
        assert_eq!(ended(|nth| Ok(Some(populating(nth)))), 1);
    }

    #[test]
    fn a_thread_that_is_elsewhere_is_let_be() {
        // A page fault of the program itself, or no sleep at all.
        assert_eq!(ended(|_| Ok(None)), 0);
        // A read, which tells of the error.
        assert_eq!(
            ended(|nth| Ok(Some(Sleep {
                call: call(READ, 0),
                ..populating(nth)
            }))),
            0
        );
        // A program that populates anew each time: the call returned in between.
        assert_eq!(
            ended(|nth| Ok(Some(Sleep {
                call: call(MMAP, nth / 2),
                ..populating(nth)
            }))),
            0
        );
        assert_eq!(ended(|_| Err(Errno::PERM.into())), 0);
        assert_eq!(ended(|_| Err(Errno::SRCH.into())), 0);
    }

    #[test]
    fn a_thread_that_waits_for_something_else_is_let_be() {
        // It moves while the answer is held back: populating a file that is whole.
        assert_eq!(
            ended(|nth| Ok(Some(Sleep {
                count: nth,
                ..populating(nth)
            }))),
            0
        );
        // It doesn't move when the answer is given: waiting for a slow file.
        assert_eq!(
            ended(|nth| Ok(Some(Sleep {
                count: 1,
                ..populating(nth)
            }))),
            0
        );
    }

    #[test]
    fn a_thread_with_the_number_of_one_that_is_gone_is_not_ended_for_it() {
        let loops = loops();
        // Asks without waiting, and ends before the answers are given.
        let first = appear(|nth| match nth {
            0 => Ok(Some(populating(nth))),
            _ => Err(Errno::SRCH.into()),
        });
        for _ in 0..SPIN - PROBES {
            loops.failed(attempt(0));
        }
        // The number goes to a process that is populating a mapping.
        let second = appear(|nth| Ok(Some(populating(nth))));
        for _ in 0..PROBES {
            loops.failed(attempt(0));
        }
        assert_eq!(first.load(Ordering::Relaxed), 0);
        assert_eq!(second.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_look_that_acquits_begins_the_count_anew() {
        let ended = appear(|_| Ok(None));
        let loops = loops();
        for _ in 0..10 * SPIN {
            loops.failed(attempt(0));
        }
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        let looked = ACTOR.with_borrow(|actor| {
            let actor = actor.as_ref().unwrap();
            actor.looked.load(Ordering::Relaxed)
        });
        assert!(looked <= 11, "looked {looked} times");
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let loops = loops();
        ACTOR.set(None);
        for offset in 0..10_000 {
            loops.failed(attempt(offset));
        }
        assert_eq!(loops.lock().len(), WATCHED.get());
    }
}
