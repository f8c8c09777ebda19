//! `model-fs`: sign, verify and mount models.
//!
//! Guarantees: results on stdout, everything else on stderr, and an exit code of [`exit::Exit`].
//! Doesn't: hold any logic; that is in the library and in `commands/`.

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
    background::begin();
    // Wrong usage ends here, with clap's message and exit code 2.
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            terminal::show_failure(&failure);
            failure.exit.into()
        }
    }
}
