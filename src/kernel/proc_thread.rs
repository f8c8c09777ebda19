//! A thread of another process, looked at through `/proc` (`proc_pid_status(5)`,
//! `proc_pid_syscall(5)`).
//!
//! Guarantees: a [`ProcThread`] stays the thread that had the number when it was found: its
//! directory in `/proc` is held open, and the kernel doesn't give that directory to a later thread
//! of the same number. Looking at it asks nothing of any mounted file system. Doesn't: see threads
//! of processes that `/proc` hides, or of other PID namespaces.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// More than the files read here have, in bytes.
const MOST: u64 = 64 << 10;

/// A thread.
#[derive(Debug)]
pub(super) struct ProcThread {
    directory: OwnedFd,
    number: u32,
}

/// What `status` tells of a thread, as far as it is needed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// The number of its process.
    pub(super) process: u32,
    /// Signals that wait for the thread or its process, bit 0 for signal 1.
    pub(super) pending: u64,
    /// Signals that the thread doesn't take now.
    pub(super) blocked: u64,
    /// Signals that the process ignores.
    pub(super) ignored: u64,
    /// How often it has gone to sleep.
    pub(super) sleeps: u64,
}

/// The system call that a sleeping thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// Its number, on this architecture.
    pub(super) number: i64,
    /// Its six arguments, the stack pointer, and the program counter.
    pub(super) context: [u64; 8],
}

impl ProcThread {
    /// The thread that has the number `thread` now, as the kernel translates it for us; `None` if
    /// it can't be seen.
    pub(super) fn find(thread: u32) -> Option<Self> {
        // 0 is how the kernel names threads outside of our PID namespace.
        if thread == 0 || !numbers_are_ours() {
            return None;
        }
        let directory = rustix::fs::open(
            format!("/proc/{thread}"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        Some(Self {
            directory: directory.ok()?,
            number: thread,
        })
    }

    /// Its state now.
    ///
    /// # Errors
    /// [`is_gone`] tells that the thread has ended.
    pub(super) fn status(&self) -> io::Result<Status> {
        Ok(Status::parse(&self.read("status")?))
    }

    /// When it was started, in time since the machine was (`CLOCK_BOOTTIME`), to a hundredth of a
    /// second.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub(super) fn started(&self) -> io::Result<Duration> {
        // The one of the thread: that of the process adds up what all its threads used.
        let stat = self.read(&format!("task/{}/stat", self.number))?;
        let ticks = started(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks.saturating_mul(1000) / second))
    }

    /// The system call that it sleeps in; `None` if it runs, or sleeps in a page fault of its
    /// program.
    ///
    /// # Errors
    /// Where the thread has ended, or we may not look (`ptrace(2)`, "access mode checking").
    pub(super) fn call(&self) -> io::Result<Option<Call>> {
        Ok(Call::parse(&self.read("syscall")?))
    }

    /// A handle of its process; `None` if the thread has ended or the process can't be had.
    pub(super) fn process(&self) -> Option<OwnedFd> {
        let number = self.status().ok()?.process;
        let pid = Pid::from_raw(i32::try_from(number).ok()?)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The number is its process's for as long as the thread lives, so it was when it was
        // opened.
        (self.status().ok()?.process == number).then_some(process)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(MOST)
            .read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The field `starttime` (`proc_pid_stat(5)`), the twenty-second; the second is a name in brackets.
fn started(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

/// Whether an error of a [`ProcThread`] means that the thread has ended.
pub(super) fn is_gone(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::SRCH]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Ends a process.
pub(super) fn kill(process: &OwnedFd) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(process, Signal::KILL)?)
}

/// Whether `/proc` counts processes as we do: a container may have that of another PID namespace.
fn numbers_are_ours() -> bool {
    let own = std::process::id().to_string();
    std::fs::read_link("/proc/self").is_ok_and(|to| to.as_os_str() == own.as_str())
}

impl Status {
    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let number = || value.parse().unwrap_or(0);
            let set = || u64::from_str_radix(value, 16).unwrap_or(0);
            match name {
                "Tgid" => status.process = value.parse().unwrap_or(0),
                "SigPnd" | "ShdPnd" => status.pending |= set(),
                "SigBlk" => status.blocked = set(),
                "SigIgn" => status.ignored = set(),
                "voluntary_ctxt_switches" => status.sleeps = number(),
                _ => {}
            }
        }
        status
    }
}

impl Call {
    /// `NUMBER ARGUMENT×6 STACK-POINTER PROGRAM-COUNTER`; a thread that runs is `running`, and one
    /// that sleeps outside of a system call has -1 and two numbers.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut context = [0; 8];
        for place in &mut context {
            *place = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        }
        words.next().is_none().then_some(Self { number, context })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_time_of_start_is_read_whatever_the_name_is() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(started(stat), Some(4711));
        assert_eq!(started("7 (a) S 1"), None);
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = Duration::try_from(clock).unwrap();
        let own = ProcThread::find(std::process::id()).unwrap();
        let age = now.saturating_sub(own.started().unwrap());
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn what_proc_tells_is_read() {
        let text = "Name:\tTgid: 9\nTgid:\t7\nPid:\t8\nSigPnd:\t0000000000000100\n\
                    ShdPnd:\t0000000000004000\nSigBlk:\t0000000000010000\nSigIgn:\t1\n\
                    voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t99\n";
        let expected = Status {
            process: 7,
            pending: 0x4100,
            blocked: 0x1_0000,
            ignored: 1,
            sleeps: 12,
        };
        assert_eq!(Status::parse(text), expected);
        assert_eq!(Status::parse("nothing of it"), Status::default());
        let call = Call::parse("9 0x0 0x1000 0x1 0x8002 0x3 0x0 0x7ffc 0x7f00\n").unwrap();
        assert_eq!(call.number, 9);
        assert_eq!(call.context, [0, 0x1000, 1, 0x8002, 3, 0, 0x7ffc, 0x7f00]);
        for none in [
            "running\n",
            "-1 0x7ffc 0x7f00\n",
            "",
            "9 0x0\n",
            "9 1 2 3 4 5 6 7 8",
        ] {
            assert_eq!(Call::parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_thread_is_seen_until_it_ends_and_no_later_one_is() {
        assert!(ProcThread::find(0).is_none());
        let mut child = Command::new("/bin/cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let thread = ProcThread::find(child.id()).unwrap();
        assert_eq!(thread.status().unwrap().process, child.id());
        let process = thread.process().unwrap();
        kill(&process).unwrap();
        child.wait().unwrap();
        assert!(is_gone(&thread.status().unwrap_err()));
        assert!(thread.process().is_none());
        assert!(kill(&process).is_err());
    }

    #[test]
    fn a_thread_that_leads_no_process_belongs_to_ours() {
        let (ready, number) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            ready.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            let _ = ended.recv();
        });
        let number = u32::try_from(number.recv().unwrap()).unwrap();
        let found = ProcThread::find(number).unwrap();
        assert_eq!(found.status().unwrap().process, std::process::id());
        assert!(found.process().is_some());
        drop(end);
        thread.join().unwrap();
        // A thread is joined a moment before the kernel forgets it.
        while found.status().is_ok() {
            std::thread::yield_now();
        }
        assert!(is_gone(&found.status().unwrap_err()));
    }
}
