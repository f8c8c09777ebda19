//! The flags that say what of a model isn't looked at.

use std::path::PathBuf;

use clap::Args;

/// What of a model directory isn't signed.
#[derive(Debug, Args)]
pub(crate) struct IgnoreArgs {
    /// Leave PATH out, absolute or relative to MODEL (repeatable)
    #[arg(long, value_name = "PATH")]
    pub(crate) ignore_paths: Vec<PathBuf>,

    /// Accept files that the signature doesn't name, and hide them
    #[arg(long)]
    pub(crate) ignore_unsigned_files: bool,
}
