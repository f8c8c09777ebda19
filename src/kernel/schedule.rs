//! How the scheduler treats a session thread, and one that works in the background.
//!
//! The kernel wakes a session thread for each request. A reader that reads ahead sends several in a
//! row, and each of these threads may take the reader's core from it before it has sent the next.
//! As batch threads (`SCHED_BATCH`, `sched(7)`) they have the same share of the cores but don't
//! interrupt other threads when they wake up: reading in order through two cores is a tenth faster
//! (`docs/performance.md`). For a single page, which a program waits for while other programs
//! compute, interrupting is right: so they are batch threads for large requests only.
//!
//! Guarantees: a thread is a batch thread only while large requests come to it; a policy that
//! was chosen for the daemon stays. Doesn't: fail; where the policy can't be set, things stay
//! as they are.

use std::cell::Cell;

/// Requests from this size on, in bytes, are part of reading in order: a few times the largest that
/// a kernel without [tuning](super::tuning) sends.
const BULK: u32 = 512 << 10;

/// What a thread's policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Not looked at yet.
    Unknown,
    Usual,
    Batch,
    /// Another one, which was chosen for the daemon.
    Chosen,
}

thread_local! {
    static POLICY: Cell<Policy> = const { Cell::new(Policy::Unknown) };
}

/// Adapts the calling thread to a request for `size` bytes.
pub fn serve(size: u32) {
    if POLICY.get() == Policy::Unknown {
        POLICY.set(if policy() == libc::c_long::from(libc::SCHED_OTHER) {
            Policy::Usual
        } else {
            Policy::Chosen
        });
    }
    match (POLICY.get(), size >= BULK) {
        (Policy::Usual, true) => {
            POLICY.set(Policy::Batch);
            set_policy(libc::SCHED_BATCH);
        }
        (Policy::Batch, false) => {
            POLICY.set(Policy::Usual);
            set_policy(libc::SCHED_OTHER);
        }
        (Policy::Unknown | Policy::Usual | Policy::Batch | Policy::Chosen, _) => {}
    }
}

/// From now on the calling thread, and threads that it starts, compute only in the time that
/// others leave (a nice value of 19), and read from disks only when nothing else does
/// (`IOPRIO_CLASS_IDLE`, `ioprio_set(2)`), where the disk's scheduler knows priorities.
pub fn only_when_idle() {
    /// `IOPRIO_WHO_PROCESS`: with 0, the calling thread.
    const WHO_PROCESS: libc::c_int = 1;
    /// `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)`.
    const IDLE: libc::c_int = 3 << 13;
    // Of a process, says the manual; of the calling thread, does Linux.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "the priority stays as it is");
    }
    if !set_io_priority(WHO_PROCESS, IDLE) {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the I/O priority stays as it is");
    }
}

#[allow(unsafe_code)]
fn set_io_priority(who: libc::c_int, priority: libc::c_int) -> bool {
    // SAFETY: nothing is pointed to; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_set, who, 0, priority) == 0 }
}

/// The policy of the calling thread.
#[allow(unsafe_code)]
fn policy() -> libc::c_long {
    // SAFETY: nothing is pointed to; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) }
}

/// Sets the policy of the calling thread.
#[allow(unsafe_code)]
fn set_policy(policy: libc::c_int) {
    /// `struct sched_param` as the kernel has it.
    #[repr(C)]
    struct Param {
        priority: libc::c_int,
    }
    let param = Param { priority: 0 };
    // SAFETY: the kernel reads one `Param` from a valid address and writes nothing; 0 is the
    // calling thread. Not through the C library, where musl has no such function.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, policy, "scheduling stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_follows_its_requests() {
        std::thread::spawn(|| {
            for (size, expected) in [
                (4096, libc::SCHED_OTHER),
                (BULK, libc::SCHED_BATCH),
                (1 << 20, libc::SCHED_BATCH),
                (BULK - 1, libc::SCHED_OTHER),
                (128 << 10, libc::SCHED_OTHER),
            ] {
                serve(size);
                assert_eq!(policy(), libc::c_long::from(expected), "{size}");
            }
        })
        .join()
        .unwrap();
    }

    /// `IOPRIO_CLASS_IDLE`, as `ioprio_get(2)` tells it.
    #[allow(unsafe_code)]
    fn is_io_idle() -> bool {
        // SAFETY: nothing is pointed to; 1 is `IOPRIO_WHO_PROCESS`, 0 the calling thread.
        unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) >> 13 == 3 }
    }

    #[test]
    fn a_thread_in_the_background_leaves_others_alone_and_so_do_those_that_it_starts() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        std::thread::spawn(move || {
            only_when_idle();
            let started = std::thread::spawn(move || (nice(), is_io_idle())).join();
            assert_eq!(started.unwrap(), (19, true));
            assert_eq!((nice(), is_io_idle()), (19, true));
        })
        .join()
        .unwrap();
        assert_eq!((nice(), is_io_idle()), (before, false));
    }

    #[test]
    fn a_policy_that_was_chosen_stays() {
        std::thread::spawn(|| {
            set_policy(libc::SCHED_IDLE);
            for size in [1 << 20, 4096] {
                serve(size);
                assert_eq!(policy(), libc::c_long::from(libc::SCHED_IDLE));
            }
        })
        .join()
        .unwrap();
    }
}
