//! `model-fs`: sign, verify and mount models, on the command line.
//!
//! The library does the work: it finds out what is true of a model, and says it in types. This
//! program knows everything that only a person at a terminal, or a script, needs: arguments, the
//! words and the place of what is told, hints, exit codes, logging, and going to the background.
//!
//! Guarantees: results on stdout, everything else on stderr, and an exit code of [`exit::Exit`].
//! Doesn't: decide what is trusted. No flag makes anything trusted that the library doesn't find
//! so.

// What these macros write to may be closed or full, and then they panic: `terminal` doesn't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod asked;
mod attestation;
mod background;
mod claims;
mod commands;
mod exit;
mod findings;
mod hints;
mod hook;
mod index_store;
mod keeper;
mod key_files;
mod logging;
mod metrics;
mod mount_helper;
#[cfg(test)]
mod pages;
mod periodic;
mod pid_file;
mod progress;
mod signals;
mod signed_model;
mod signing;
mod system_hints;
mod systemd;
mod terminal;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use model_fs::files::abandon_files;

use crate::args::Cli;
use crate::exit::Failure;

fn main() -> ExitCode {
    signals::hold_back();
    let code = begin();
    // Threads of a mount may still be writing what was proved: this is the end of that.
    abandon_files();
    code
}

/// Does what this program is called for, and says what became of it.
fn begin() -> ExitCode {
    background::begin();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(called) = mount_helper::called(&arguments) {
        let result = called.and_then(|asked| match asked {
            Some(cli) => run(cli),
            None => Ok(ExitCode::SUCCESS),
        });
        return result.unwrap_or_else(|failure| {
            terminal::show_failure(&failure);
            mount_helper::exit(failure.exit).into()
        });
    }
    let result = match args::parse(&arguments) {
        Ok(cli) => run(cli),
        Err(message) => {
            // 2 for wrong usage, 0 for help that was asked for.
            let code = u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            terminal::show_clap(&message).map(|()| code)
        }
    };
    result.unwrap_or_else(|failure| {
        signals::wait_where_ending();
        terminal::show_failure(&failure);
        failure.exit.into()
    })
}

/// Does what the command line says.
fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Whether this process is the one that `mount` leaves in the background.
    let is_background_child = background::is_child();
    let in_background = is_background_child || keeper::is_kept_in_background();
    match logging::init(&cli.log, in_background) {
        Ok(logging) => commands::run(cli.command, is_background_child, &logging),
        Err(error) => commands::refuse(&cli.command, error.into()),
    }
}
