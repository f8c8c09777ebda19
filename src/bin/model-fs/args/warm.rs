//! `model-fs warm`.

use std::path::PathBuf;

use clap::Args;

/// `warm`.
#[derive(Debug, Args)]
pub(crate) struct WarmArgs {
    /// Where the model is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,

    /// Files and directories of the model, relative to MOUNTPOINT [default: all of it]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Wait until all is read; without it, that is done in the background
    #[arg(long)]
    pub(crate) wait: bool,
}
