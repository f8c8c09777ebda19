//! The program that an operator has run when content isn't what was signed.
//!
//! Guarantees: it is run by its path, never through a shell, and what is known of the violation is
//! in environment variables, with names escaped, for they are the adversary's. It runs once at a
//! time, and [`MOST_RUNS`] times in a [`PERIOD`] at most; what found no place in the queue is
//! counted, and the next run is told how many. Doesn't: end a program that never ends; no other is
//! started then.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use model_fs::name::Escaped;
use model_fs::reading::Violation;
use rustix::fs::{Access, access};

use crate::exit::{Exit, Failure};

/// Violations that may wait for their run.
const MAX_WAITING: usize = 64;

/// Most runs in a [`PERIOD`].
const MOST_RUNS: u32 = 32;

/// What runs are counted in.
const PERIOD: Duration = Duration::from_secs(60);

/// A program to run for each new violation.
#[derive(Debug)]
pub(crate) struct Hook(PathBuf);

impl Hook {
    /// Looks whether it can be run, before anything is mounted.
    ///
    /// # Errors
    /// Wrong usage: it isn't the absolute path of an executable file.
    pub(crate) fn new(program: &Path) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            let path = Escaped::path(program);
            let error = anyhow::anyhow!("--on-violation-exec {path}: {what}");
            let hint = "give the absolute path of a program; it is run without a shell and \
                        without arguments, so put these into a script";
            Failure::new(Exit::Usage, error).with_hint(hint.to_owned())
        };
        if !program.is_absolute() {
            return Err(wrong("this is no absolute path"));
        }
        match std::fs::metadata(program) {
            Ok(found) if !found.is_file() => Err(wrong("this is no file")),
            Err(error) => Err(wrong(&error.to_string())),
            Ok(_) if access(program, Access::EXEC_OK).is_err() => {
                Err(wrong("this file isn't executable"))
            }
            Ok(_) => Ok(Self(program.to_owned())),
        }
    }

    /// Starts the thread that runs it. What is returned never waits.
    ///
    /// # Errors
    /// No thread to be had.
    pub(crate) fn start(self) -> Result<impl Fn(&Violation) + Send + Sync + 'static, Failure> {
        let (sender, receiver) = sync_channel::<Violation>(MAX_WAITING);
        let left_out = Arc::<AtomicU64>::default();
        let untold = Arc::clone(&left_out);
        std::thread::Builder::new()
            .name("on-violation".to_owned())
            .spawn(move || {
                let mut runs = Runs::default();
                for violation in receiver {
                    if let Some(pause) = runs.pause(Instant::now()) {
                        std::thread::sleep(pause);
                    }
                    self.run(&violation, untold.swap(0, Ordering::Relaxed));
                }
            })?;
        Ok(move |violation: &Violation| tell(&sender, &left_out, violation))
    }

    fn run(&self, violation: &Violation, left_out: u64) {
        let status = Command::new(&self.0)
            .env("MODEL_FS_FILE", violation.file.to_string())
            .env("MODEL_FS_START", violation.range.start.to_string())
            .env("MODEL_FS_END", violation.range.end.to_string())
            .env("MODEL_FS_KIND", violation.kind.name())
            .env("MODEL_FS_MESSAGE", violation.to_string())
            .env("MODEL_FS_LEFT_OUT", left_out.to_string())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::warn!(%status, "the program for violations failed"),
            Err(error) => tracing::warn!(%error, "the program for violations didn't start"),
        }
    }
}

fn tell(sender: &SyncSender<Violation>, left_out: &AtomicU64, violation: &Violation) {
    // One that was full says so once, and once more after the next run.
    if sender.try_send(violation.clone()).is_err() && left_out.fetch_add(1, Ordering::Relaxed) == 0
    {
        tracing::warn!(
            "too many violations wait for their program: some have no run of their own, and are \
             counted"
        );
    }
}

/// How many runs there were lately.
#[derive(Default)]
struct Runs {
    /// When the period began.
    start: Option<Instant>,
    runs: u32,
}

impl Runs {
    /// Counts a run, and says how long it has to wait.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let left = self.start.and_then(|start| {
            let age = now.saturating_duration_since(start);
            PERIOD.checked_sub(age).filter(|left| !left.is_zero())
        });
        let pause = match left {
            None => {
                (self.start, self.runs) = (Some(now), 0);
                None
            }
            Some(pause) if self.runs >= MOST_RUNS => {
                (self.start, self.runs) = (Some(now + pause), 0);
                Some(pause)
            }
            Some(_) => None,
        };
        self.runs += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_limited_in_each_period() {
        let (mut runs, start) = (Runs::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..MOST_RUNS {
            assert_eq!(runs.pause(at(0)), None);
        }
        assert_eq!(runs.pause(at(20)), Some(Duration::from_secs(40)));
        // That one was the first of the next period.
        for _ in 1..MOST_RUNS {
            assert_eq!(runs.pause(at(60)), None);
        }
        assert_eq!(runs.pause(at(61)), Some(Duration::from_secs(59)));
        assert_eq!(runs.pause(at(500)), None);
    }

    #[test]
    fn only_an_executable_file_by_its_absolute_path_is_a_hook() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "#!/bin/sh\n").unwrap();
        for (program, why) in [
            (Path::new("true"), "no absolute path"),
            (Path::new("touch /tmp/x"), "no absolute path"),
            (Path::new("/bin/true --help"), "No such file"),
            (folder.path(), "no file"),
            (&plain, "executable"),
        ] {
            let failure = Hook::new(program).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            let text = failure.error.to_string();
            assert!(text.contains(why), "{text}");
            assert!(failure.hint.is_some());
        }
        Hook::new(Path::new("/bin/sh")).unwrap();
    }
}
