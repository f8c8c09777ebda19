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
mod hints;
mod logging;
mod size;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;
use model_fs::name::Escaped;

use crate::cli::Cli;

/// The same message, with arguments as they may be shown: clap repeats them, and a name that a shell's
/// pattern found isn't the user's.
fn shown(message: clap::Error) -> clap::Error {
    let escaped = std::env::args_os().map(|argument| match argument.to_str() {
        Some(text) => Escaped::again(text),
        None => Escaped::path(&argument),
    });
    let escaped = escaped.map(|argument| argument.to_string());
    // It is about the same argument. Where it isn't, it was about one that is no text, and shows none.
    Cli::try_parse_from(escaped).err().unwrap_or(message)
}

fn main() -> ExitCode {
    background::begin();
    let result = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(message) => {
            // 2 for wrong usage, 0 for help that was asked for.
            let code = u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            terminal::show_clap(&shown(message)).map(|()| code)
        }
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            terminal::show_failure(&failure);
            failure.exit.into()
        }
    }
}
