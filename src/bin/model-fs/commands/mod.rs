//! The verbs, a file each.

mod umount;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::logging;

/// Does what the command line says.
///
/// Verbs return `()`; only `mount` may have another process's exit code to pass on.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let _detached = logging::init(&cli.log, cli.background_child)?;
    match cli.command {
        Command::Umount(args) => umount::run(&args)?,
        // MERGE: the other verbs are dispatched here, and this arm goes away.
        other => return Err(anyhow::anyhow!("{} is not part of this build", other.name()).into()),
    }
    Ok(Exit::Done.into())
}
