//! `model-fs status`.

use std::path::PathBuf;

use clap::Args;

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Where the model is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,

    /// For scripts: show nothing but what --json does, and exit with 4 if a violation was met, 1 if
    /// content couldn't be had or the mount can't be asked, else 0
    #[arg(long)]
    pub(crate) check: bool,

    /// This process is the one that asks the mount, which is its stdin.
    #[arg(long, hide = true)]
    pub(crate) status_child: bool,
}
