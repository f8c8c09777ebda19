//! Flags about what is told on the way; each verb has them.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// What these flags are shown under, after a verb's own.
const HEADING: &str = "Log";
const LAST: usize = 1000;

/// Flags about what is told on the way.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// More log messages (twice: debugging)
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        help_heading = HEADING,
        display_order = LAST
    )]
    pub(crate) verbose: u8,

    /// Append events to FILE [default: stderr; in the background the system log]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = HEADING,
        display_order = LAST
    )]
    pub(crate) log_file: Option<PathBuf>,

    /// Form of events on stderr and in a log file
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = HEADING,
        display_order = LAST
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
