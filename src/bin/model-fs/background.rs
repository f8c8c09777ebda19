//! Going to the background once a mount answers.
//!
//! The command runs itself again, as a child that works in the foreground and says on a pipe when
//! it is ready. Guarantees: the first process exits with 0 only after that, and with the child's own
//! exit code if the child fails; an interrupt from the terminal before that reaches both. Doesn't:
//! fork, which a program with threads can't do safely.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context as _;

use crate::logging::Detached;

/// The flag that the child is started with, before everything else.
pub(crate) const CHILD_FLAG: &str = "--background-child";

/// What the child writes when it is ready. Whatever else comes is an error.
const READY: &[u8] = b"ready\n";

/// Starts the child and waits for it to be ready or to fail. In the latter case it has said why.
pub(crate) fn spawn() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| OsString::from("model-fs"));
    // Not by name: the file at that path may be another one by now.
    let child = Command::new("/proc/self/exe")
        .arg0(name)
        .arg(CHILD_FLAG)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the background process")?;
    wait_until_ready(child)
}

fn wait_until_ready(mut child: Child) -> anyhow::Result<ExitCode> {
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Ends when the child gives its standard output up, by going to the background or by ending.
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
        (_, Some(signal)) => Err(anyhow::anyhow!(
            "the background process was ended by signal {signal}"
        )),
        _ => Err(anyhow::anyhow!(
            "the background process ended before it was ready"
        )),
    }
}

/// In the child: tells the first process that all is well and leaves its terminal, session and
/// directory. Relative paths mean something else afterwards.
///
/// An error means that the first process is gone, or that this one is still tied to its terminal;
/// the child should then end.
pub(crate) fn detach(logging: &Detached) -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    // Fails only for the leader of a process group, which is nobody's child in ours; a leader isn't
    // hit by the terminal's signals to our group either.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "cannot start a session");
    }
    rustix::process::chdir("/")?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(READY)?;
    stdout.flush()?;
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
