//! Whether the program behind a request still wants its answer.
//!
//! The kernel tells of a signal with `FUSE_INTERRUPT`, which `fuser` answers by itself (ENOSYS).
//! And no signal ends a thread whose request is being served until that is answered.
//! So what takes long asks here, from time to time, whether the thread has a signal that would end
//! or interrupt it, and answers with an error if it has.
//!
//! Guarantees: what is asked about is the thread that had the number when the [`Requester`] was
//! made, never a later one; a thread that can't be seen (other PID namespaces, `hidepid`) hasn't
//! been interrupted. Doesn't: tell of an interruption by itself, or see signals that a debugger
//! keeps.

use std::time::Duration;

use super::proc_thread::{self, ProcThread, Status};

/// Signals that a user or a service manager sends to a program that is to let go.
const ENDING: [i32; 5] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGKILL,
    libc::SIGTERM,
];

/// The thread behind a request.
#[derive(Debug)]
pub(super) struct Requester(Option<ProcThread>);

impl Requester {
    /// The thread of this number, as the kernel translates it for us: zero if it can't. Takes a
    /// descriptor.
    pub(super) fn new(thread: u32) -> Self {
        Self(ProcThread::find(thread))
    }

    /// Whether a signal waits for the thread that ends it, or that it has a handler for, among
    /// those which ask a program to let go; or whether the thread is gone.
    pub(super) fn is_interrupted(&self) -> bool {
        match self.0.as_ref().map(ProcThread::status) {
            None => false,
            Some(Ok(status)) => interrupts(&status),
            Some(Err(error)) => proc_thread::is_gone(&error),
        }
    }

    /// Whether nothing can keep the thread from ending but the answer that it waits for. A thread
    /// that is gone waits for nothing: its program may, for a read that it left under way
    /// (`io_submit(2)`).
    pub(super) fn is_killed(&self) -> bool {
        let status = self.0.as_ref().map(ProcThread::status);
        matches!(status, Some(Ok(status)) if status.pending & bit(libc::SIGKILL) != 0)
    }

    /// Whether the thread was there `then`, in time since the machine was started
    /// (`CLOCK_BOOTTIME`); if not, it has the number of one that is gone.
    pub(super) fn was_there(&self, then: Duration) -> bool {
        let started = self.0.as_ref().map(ProcThread::started);
        matches!(started, Some(Ok(started)) if started <= then)
    }
}

/// The place of a signal in a mask (`sigprocmask(2)`).
const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn interrupts(status: &Status) -> bool {
    let taken = status.pending & !status.blocked & !status.ignored;
    ENDING.iter().any(|&signal| taken & bit(signal) != 0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn set(signals: &[i32]) -> u64 {
        signals.iter().map(|&signal| bit(signal)).sum()
    }

    #[test]
    fn what_would_reach_the_thread_interrupts_it() {
        let status = |pending: &[i32], blocked: &[i32], ignored: &[i32]| Status {
            pending: set(pending),
            blocked: set(blocked),
            ignored: set(ignored),
            ..Status::default()
        };
        for signal in ENDING {
            assert!(interrupts(&status(&[signal], &[], &[])), "{signal}");
            assert!(!interrupts(&status(&[signal], &[signal], &[])), "{signal}");
            assert!(!interrupts(&status(&[signal], &[], &[signal])), "{signal}");
            let elsewhere = status(&[signal, libc::SIGUSR1], &[libc::SIGUSR1], &[]);
            assert!(interrupts(&elsewhere), "{signal}");
        }
        let harmless = [libc::SIGCHLD, libc::SIGWINCH, libc::SIGUSR1, libc::SIGALRM];
        assert!(!interrupts(&status(&harmless, &[], &[])));
        assert!(!interrupts(&status(&[], &[], &[])));
    }

    /// A child that takes no signal, as one doesn't in the middle of a request: it is stopped.
    struct Busy(Child);

    impl Busy {
        /// `ignored`: the shell's words for signals to ignore.
        fn new(ignored: &str) -> Self {
            let mut child = Command::new("/bin/sh")
                .args([
                    "-c",
                    &format!("trap '' {ignored}; echo ready; kill -STOP $$"),
                ])
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert_eq!(line, "ready\n");
            let this = Self(child);
            this.until(|text| text.contains("State:\tT"));
            this
        }

        fn until(&self, condition: impl Fn(&str) -> bool) {
            let path = format!("/proc/{}/status", self.0.id());
            let deadline = Instant::now() + Duration::from_secs(60);
            while !std::fs::read_to_string(&path).is_ok_and(|text| condition(&text)) {
                assert!(Instant::now() < deadline, "the child isn't as it should be");
                std::thread::yield_now();
            }
        }

        fn send(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.0), signal).unwrap();
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_waiting_signal_is_seen() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            let child = Busy::new("USR2");
            let requester = Requester::new(child.0.id());
            assert!(!requester.is_interrupted());
            child.send(Signal::USR1);
            child.send(Signal::WINCH);
            assert!(!requester.is_interrupted(), "{signal:?}");
            child.send(signal);
            assert!(requester.is_interrupted(), "{signal:?}");
        }
    }

    #[test]
    fn what_the_process_ignores_is_none() {
        let child = Busy::new("INT HUP");
        let requester = Requester::new(child.0.id());
        child.send(Signal::INT);
        child.send(Signal::HUP);
        assert!(!requester.is_interrupted());
        child.send(Signal::TERM);
        assert!(requester.is_interrupted());
    }

    #[test]
    fn a_thread_that_is_gone_wants_no_answer() {
        let mut child = Busy::new("USR2");
        let requester = Requester::new(child.0.id());
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert!(requester.is_interrupted());
    }

    #[test]
    fn a_thread_that_cannot_be_seen_waits_on() {
        assert!(!Requester::new(0).is_interrupted());
        // Beyond the largest number that a process can have (proc(5), pid_max).
        assert!(!Requester::new(u32::MAX).is_interrupted());
        let own = u32::try_from(rustix::thread::gettid().as_raw_pid()).unwrap();
        assert!(!Requester::new(own).is_interrupted());
    }
}
