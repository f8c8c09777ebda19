//! `model-fs status`.

use std::path::PathBuf;

use clap::Args;

/// `status`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags")]
pub(crate) struct StatusArgs {
    /// Where the model is mounted [default: all models mounted on this host]
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: Option<PathBuf>,

    /// Print one JSON document: an object, or without MOUNTPOINT an array of them
    #[arg(long)]
    pub(crate) json: bool,

    /// Look again every second, until interrupted; with --json, one document a line
    #[arg(long, conflicts_with = "check")]
    pub(crate) watch: bool,

    /// For scripts: show nothing but what --json does, and exit with 4 if a violation was met, 1 if
    /// content couldn't be had or a mount can't be asked, else 0
    #[arg(long)]
    pub(crate) check: bool,

    /// This process is the one that asks the mount, which is its stdin.
    #[arg(long, hide = true)]
    pub(crate) status_child: bool,
}
