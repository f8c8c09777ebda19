//! `model-fs upgrade`.

use std::path::PathBuf;

use clap::Args;

/// `upgrade`.
#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// Where the model is mounted, with --keep-alive
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,
}
