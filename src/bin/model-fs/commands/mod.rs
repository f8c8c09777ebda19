//! The verbs, a file each.

mod demo;
mod index;
mod inspect;
mod mount;
mod progress;
mod sign;
mod signed_model;
#[cfg(feature = "sigstore-sign")]
mod sigstore;
mod status;
mod trust;
mod umount;
mod verify;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::logging;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let detached = match (logging::init(&cli.log, cli.background_child), &cli.command) {
        (Ok(detached), _) => detached,
        (Err(error), Command::Verify(args)) if args.json => {
            return verify::report_failure(error.into()).map(ExitCode::from);
        }
        (Err(error), _) => return Err(error.into()),
    };
    match cli.command {
        // May have another process's exit code to pass on.
        Command::Mount(args) => return mount::run(args, cli.background_child, &detached),
        Command::Umount(args) => umount::run(&args)?,
        Command::Status(args) => status::run(&args)?,
        Command::Verify(args) => return verify::run(args).map(ExitCode::from),
        Command::Sign(args) => sign::run(&args)?,
        Command::Index(args) => index::run(args)?,
        Command::Inspect(args) => inspect::run(&args)?,
        Command::Trust(args) => trust::run(args)?,
        Command::Demo(args) => demo::run(&args)?,
    }
    Ok(Exit::Done.into())
}
