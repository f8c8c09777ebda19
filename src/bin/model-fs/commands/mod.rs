//! The verbs, a file each. The entry of each file is `run`.

mod attest;
mod demo;
mod index;
mod inspect;
mod mount;
mod sign;
mod status;
mod trust;
mod umount;
mod upgrade;
mod verify;
mod warm;

use std::process::ExitCode;

use crate::args::Command;
use crate::exit::{Exit, Failure};
use crate::logging::Detached;
use crate::signals;

/// Does what a verb says.
pub(crate) fn run(
    command: Command,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    // A mount has an answer of its own, when it serves.
    if !matches!(command, Command::Mount(_)) {
        signals::as_usual();
    }
    match command {
        // May have another process's exit code to pass on.
        Command::Mount(args) => return mount::run(args, is_background_child, logging),
        Command::Warm(args) => return warm::run(&args, is_background_child, logging),
        Command::Umount(args) => umount::run(&args)?,
        Command::Upgrade(args) => upgrade::run(&args)?,
        Command::Status(args) => status::run(&args)?,
        Command::Attest(args) => attest::run(&args)?,
        Command::Verify(args) => return verify::run(args).map(ExitCode::from),
        Command::Sign(args) => sign::run(&args)?,
        Command::Index(args) => index::run(args)?,
        Command::Inspect(args) => inspect::run(&args)?,
        Command::Trust(args) => trust::run(args)?,
        Command::Demo(args) => demo::run(&args)?,
    }
    Ok(Exit::Done.into())
}

/// Doesn't even begin, because of `failure`. A script that asked `verify` for JSON gets a document.
pub(crate) fn refuse(command: &Command, failure: Failure) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify(args) if args.json => verify::report_failure(failure).map(ExitCode::from),
        _ => Err(failure),
    }
}
