//! `model-fs upgrade`.
//!
//! The keeper of the mount is sent SIGUSR2, and starts the program that lies where its own lay. How
//! that went is in the status of the mount.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use model_fs::fs::{Kept, Status};
use model_fs::name::Escaped;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use crate::args::UpgradeArgs;
use crate::asked::Mount;
use crate::exit::Failure;
use crate::terminal;

/// How long verifying the model once more may take: a directory of a million files has to be looked
/// through.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked how far it is.
const STEP: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &UpgradeArgs) -> Result<(), Failure> {
    let path = Escaped::path(&args.mountpoint);
    let mount = Mount::find(&args.mountpoint)?;
    let before = kept(&mount)?;
    let Some(before) = before else {
        let hint = "unmount, and mount again: with --keep-alive the next upgrade can be done";
        let error = anyhow!("the mount at {path} isn't kept alive, so no other process can go on");
        return Err(Failure::from(error).with_hint(hint.to_owned()));
    };
    ask(&mount, &before)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        std::thread::sleep(STEP);
        // A server says who keeps it a moment after it answers.
        let Some(now) = kept(&mount)? else {
            continue;
        };
        if now.upgrades > before.upgrades {
            terminal::note(&format!(
                "{path} is served by the program as it is installed now"
            ));
            return Ok(());
        }
        if now.failed_upgrades > before.failed_upgrades {
            let why = now.last_failed_upgrade.unwrap_or_default();
            let why = Escaped::again(&why).to_string();
            return Err(anyhow!("cannot upgrade; the process before serves on: {why}").into());
        }
    }
    Err(anyhow!("nothing is known of the upgrade of {path}: see the log of the mount").into())
}

/// Who keeps the mount, by its own word.
fn kept(mount: &Mount) -> Result<Option<Kept>, Failure> {
    let status: Status = serde_json::from_value(Value::Object(mount.facts()?))
        .context("a status that can't be read")?;
    Ok(status.owner.and_then(|owner| owner.kept))
}

/// Asks the keeper. A signal is sent only to a process of the user who mounted: the mount may be
/// anybody's, and name any process.
fn ask(mount: &Mount, kept: &Kept) -> Result<(), Failure> {
    let number = kept.keeper;
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{number} is no process"))?;
    let gone = || format!("the process {number}, which keeps the mount, is gone");
    let process = pidfd_open(pid, PidfdFlags::empty()).with_context(gone)?;
    // Looked at while it is held, so that the number can't become another's.
    let directory = format!("/proc/{number}");
    let user = std::fs::metadata(&directory).with_context(gone)?.uid();
    let name = std::fs::read_to_string(format!("{directory}/comm")).with_context(gone)?;
    if mount.user() != Some(user) || name.trim_end() != "model-fs" {
        return Err(anyhow!(
            "process {number}, which the mount names, isn't a process of this program by the user \
             who mounted"
        )
        .into());
    }
    pidfd_send_signal(&process, Signal::USR2).with_context(gone)?;
    Ok(())
}
