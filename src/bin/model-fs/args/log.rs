//! Flags about what is told on the way; each verb has them.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags about what is told on the way.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// More log messages (twice: debugging)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Append events to FILE instead of showing them
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Form of events on stderr and in a log file
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

/// The form of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}
