//! `model-fs umount`.

use std::path::PathBuf;

use clap::Args;

/// `umount`.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where the model is mounted. If it is in use, it goes out of sight now, and what is open
    /// there is served until it is closed
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,
}
