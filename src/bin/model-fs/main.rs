//! `model-fs`: sign, verify and mount models.
//!
//! Guarantees: results on stdout, everything else on stderr, and an exit code of [`exit::Exit`].
//! Doesn't: hold any logic; that is in the library and in `commands/`.

// What these macros write to may be closed or full, and then they panic: `terminal` doesn't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod background;
mod cli;
mod commands;
mod exit;
mod logging;
mod size;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(message) => terminal::show_clap(&message).map(|()| {
            // 2 for wrong usage, 0 for help that was asked for.
            u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            terminal::show_failure(&failure);
            failure.exit.into()
        }
    }
}
