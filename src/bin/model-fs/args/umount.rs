//! `model-fs umount`.

use std::path::PathBuf;

use clap::Args;

/// `umount`.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where the model is mounted
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,
}
