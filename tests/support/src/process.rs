//! Child processes that can't hang a test.
//!
//! Guarantees: [`finish`] returns; a child that outstays its limit is killed with all that it
//! started. Output goes through files, not pipes: a daemon that a command leaves behind keeps its
//! end of a pipe open, and a reader that waits for the end of that pipe waits for the daemon.
//!
//! Limits are there to end what is stuck, not to measure: each is many times what is needed.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    command: String,
    /// `None` when it outstayed its limit and was killed for that.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The exit status, where it exited at all.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// Whether this signal ended it.
    pub fn killed_by(&self, signal: i32) -> bool {
        self.status
            .is_some_and(|status| status.signal() == Some(signal))
    }

    /// What the test needs to go on, or a failure that shows everything the command said.
    #[track_caller]
    pub fn expect(self, what: &str) -> Self {
        assert!(self.succeeded(), "{what}: {self}");
        self
    }

    /// For commands whose exit status is the point.
    #[track_caller]
    pub fn expect_code(self, code: i32, what: &str) -> Self {
        assert_eq!(self.code(), Some(code), "{what}: {self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.status {
            None => "was killed at its time limit".to_owned(),
            Some(status) => match status.signal() {
                Some(signal) => format!("was killed by signal {signal}"),
                None => format!("exited with {}", status.code().unwrap_or(-1)),
            },
        };
        write!(
            f,
            "{} {end}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.stdout, self.stderr
        )
    }
}

/// Runs a command to its end, or for `limit`.
pub fn finish(command: &mut Command, limit: Duration) -> Finished {
    let description = format!("{command:?}");
    let mut stdout = scratch_file();
    let mut stderr = scratch_file();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().expect("duplicate a descriptor"))
        .stderr(stderr.try_clone().expect("duplicate a descriptor"))
        // A group of its own, so that killing it also ends what it started.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {description}: {error}"));

    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            break Some(status);
        }
        if Instant::now() >= deadline {
            let group = Pid::from_child(&child);
            // An error means that it ended just now.
            let _ = kill_process_group(group, Signal::KILL);
            // Not forever: a process inside a broken file system may not even die.
            let patience = Instant::now() + Duration::from_secs(10);
            while child.try_wait().expect("wait for a child").is_none() {
                assert!(Instant::now() < patience, "{description} survives SIGKILL");
                std::thread::sleep(Duration::from_millis(20));
            }
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Finished {
        command: description,
        status,
        stdout: contents(&mut stdout),
        stderr: contents(&mut stderr),
    }
}

fn scratch_file() -> File {
    tempfile::tempfile().expect("make a temporary file")
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("rewind a temporary file");
    file.read_to_end(&mut bytes).expect("read a temporary file");
    String::from_utf8_lossy(&bytes).into_owned()
}
