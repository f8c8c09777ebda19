//! Going to the background once a mount answers.
//!
//! The command runs itself again, with the same arguments, as a child that works in the foreground
//! and says on a pipe when it is ready. Guarantees: the first process exits with 0 only after that,
//! and with the child's own exit code if the child fails; an interrupt from the terminal before
//! that reaches both. What stays in the background keeps no descriptor of the process that started
//! it, no directory and no terminal. Doesn't: fork, which a program with threads can't do safely.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use model_fs::kernel::MountError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::exit::Failure;
use crate::logging::Detached;
use crate::{hints, signals};

/// The variable by which a child knows that it is one: it holds the number of the first process,
/// its parent. Not an argument, which `ps` would show for as long as the mount is there.
///
/// A user who sets it by hand, to the number of a shell, gets a mount that serves without going to
/// the background, and that says nothing once it is there: nothing that they couldn't have
/// otherwise. A process that the child itself starts has another parent, and so doesn't take itself
/// for one.
const PARENT_VARIABLE: &str = "MODEL_FS_BACKGROUND_PARENT";

/// How long a child may take to end that isn't ready yet.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What the child writes when it is ready. Whatever else comes is an error.
const READY: &[u8] = b"ready\n";

/// Whether this process is such a child.
pub(crate) fn is_child() -> bool {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid().to_string());
    parent
        .is_some_and(|parent| std::env::var_os(PARENT_VARIABLE).is_some_and(|set| *set == *parent))
}

/// Descriptors that this process was started with, beyond the usual three: a lock that `flock`
/// holds, a file on a volume that is to be unmounted, a pipe whose reader waits for its end.
///
/// They stay open until [`detach`] closes them, because an argument may name one (`/dev/fd/63`).
static INHERITED: OnceLock<Vec<RawFd>> = OnceLock::new();

/// What every process of this program does first, before it opens anything.
pub(crate) fn begin() {
    let _ = INHERITED.set(open_descriptors());
    // The one in the background runs a file called `exe`, and would be called so too. An error
    // leaves it at that.
    let _ = rustix::thread::set_name(c"model-fs");
}

fn open_descriptors() -> Vec<RawFd> {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let listed: Vec<RawFd> = listed
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&number| number > 2)
        .collect();
    // One of them was that of the list, which is closed again.
    let open =
        |number: &RawFd| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    listed.into_iter().filter(open).collect()
}

/// Closes what this process was started with. Only the first call does anything.
#[allow(unsafe_code)]
fn close_inherited() {
    static CLOSED: AtomicBool = AtomicBool::new(false);
    if CLOSED.swap(true, Ordering::Relaxed) {
        return;
    }
    for &number in INHERITED.get().into_iter().flatten() {
        // SAFETY: it was open before anything in this process opened one, and nothing here takes a
        // descriptor over by its number; so no object owns it. It is closed once.
        unsafe { rustix::io::close(number) };
    }
}

/// `HOME` for the child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Home {
    /// What this process was given.
    #[default]
    AsGiven,
    /// This one, or none.
    Is(Option<PathBuf>),
}

/// Starts the child, and waits for it to be ready or to fail. In the latter case it has said why.
pub(crate) fn spawn(home: &Home) -> Result<ExitCode, Failure> {
    signals::as_usual();
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| OsString::from("model-fs"));
    // Not by name: the file at that path may be another one by now.
    let mut command = Command::new("/proc/self/exe");
    match home {
        Home::AsGiven => {}
        Home::Is(Some(home)) => drop(command.env("HOME", home)),
        Home::Is(None) => drop(command.env_remove("HOME")),
    }
    command
        .arg0(name)
        .args(args)
        .env(PARENT_VARIABLE, std::process::id().to_string())
        // A key may come through it. The child gives it up when it goes to the background.
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped());
    let end = EndBefore::new();
    match end.start(&mut command) {
        Ok(child) => {
            let result = wait_until_ready(child);
            end.decide();
            result
        }
        // The program is there, since it runs.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MountError::NoProc.into()),
        Err(error) => {
            let hint = hints::start(&error);
            let error = anyhow::Error::new(error).context("cannot start the background process");
            Err(Failure::from(error).with_hint(hint))
        }
    }
}

/// A signal that ends this process ends the child before: who interrupts a mount finds none. Once
/// it is decided what has become of the child, it is too late for that.
struct EndBefore {
    /// The child, if there is one. Whoever decides holds the lock: this process is ended, or goes
    /// on to its exit code.
    child: Arc<Mutex<Option<OwnedFd>>>,
    /// Zero until a signal has come.
    signal: Arc<AtomicUsize>,
}

impl EndBefore {
    fn new() -> Self {
        let child = Arc::<Mutex<Option<OwnedFd>>>::default();
        let to_end = Arc::clone(&child);
        let end = move || {
            let child = to_end.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(process) = &*child {
                let _ = pidfd_send_signal(process, Signal::TERM);
                // Its end, or too late; then it will find that nobody waits for it.
                let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&PATIENCE));
            }
            std::mem::forget(child);
        };
        // Where it can't be, the child ends too, and perhaps a moment later.
        let signal = signals::before_the_end(end).unwrap_or_default();
        Self { child, signal }
    }

    /// Starts the child.
    fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let started = command.spawn()?;
        *child = pidfd_open(Pid::from_child(&started), PidfdFlags::empty()).ok();
        Ok(started)
    }

    /// Never returns where a signal was first.
    fn decide(self) {
        let child = self.child.lock();
        if self.signal.load(Ordering::SeqCst) != 0 {
            // The child may have had it, too. The other thread ends this process.
            drop(child);
            loop {
                std::thread::park();
            }
        }
        // From here on, the other thread waits.
        std::mem::forget(child);
    }
}

fn wait_until_ready(mut child: Child) -> Result<ExitCode, Failure> {
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Ends when the child gives its standard output up, by going to the background or by
        // ending.
        let limit = READY.len() as u64 + 1;
        stdout
            .take(limit)
            .read_to_end(&mut said)
            .context("lost the background process")?;
    }
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().context("lost the background process")?;
    match (status.code(), status.signal()) {
        (Some(code @ 1..=255), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        (_, Some(signal)) => {
            let error = anyhow::anyhow!("the background process was ended by signal {signal}");
            Err(Failure::from(error).with_hint(hints::ended(signal)))
        }
        _ => Err(anyhow::anyhow!("the background process ended before it was ready").into()),
    }
}

/// In the child: tells the first process that all is well and leaves its terminal, session,
/// directory and descriptors. Relative paths mean something else afterwards.
///
/// An error means that the first process is gone, or that this one is still tied to its terminal;
/// the child should then end.
pub(crate) fn detach(logging: &Detached) -> io::Result<()> {
    logging.warn_if_unheard();
    detach_quietly(logging)
}

/// The same for a process that has little to log.
pub(crate) fn detach_quietly(logging: &Detached) -> io::Result<()> {
    hand_on(logging, || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(READY)?;
        stdout.flush()
    })
}

/// In a process that serves for a child that [`detach`] is for: leaves terminal, session, directory
/// and descriptors as well.
pub(crate) fn leave(logging: &Detached) -> io::Result<()> {
    logging.warn_if_unheard();
    hand_on(logging, || Ok(()))
}

fn hand_on(logging: &Detached, say: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    // Fails only for the leader of a process group. A child that `spawn` starts is none; and a
    // leader isn't reached by the terminal's signals to our group either.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "cannot start a session");
    }
    rustix::process::chdir("/")?;
    close_inherited();
    say()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    logging.switch();
    // The first process waits for the end of this pipe, so it comes last.
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(script: &str) -> Child {
        Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn ready_is_success_whatever_comes_later() {
        let code = wait_until_ready(child("echo ready; exec >/dev/null; exit 7"));
        assert_eq!(code.unwrap(), ExitCode::SUCCESS);
    }

    #[test]
    fn a_failing_child_gives_its_code() {
        for code in [1u8, 2, 3, 4] {
            let result = wait_until_ready(child(&format!("exit {code}")));
            assert_eq!(result.unwrap(), ExitCode::from(code));
        }
    }

    #[test]
    fn a_killed_child_may_have_wanted_memory() {
        for signal in ["KILL", "ABRT"] {
            let failure = wait_until_ready(child(&format!("kill -{signal} $$"))).unwrap_err();
            assert!(failure.hint.unwrap().contains("memory"), "{signal}");
        }
        let failure = wait_until_ready(child("kill -TERM $$")).unwrap_err();
        assert_eq!(failure.hint, None);
    }

    #[test]
    fn an_early_end_is_no_success() {
        for script in [
            "exit 0",
            "printf ready; exit 0",
            "echo readyx; exit 0",
            "kill -9 $$",
        ] {
            assert!(wait_until_ready(child(script)).is_err(), "{script}");
        }
    }
}
