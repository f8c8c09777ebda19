//! `model-fs index`.

use std::path::PathBuf;

use clap::Args;

use super::model::ModelArgs;
use super::trust_flags::TrustArgs;

/// `index`.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    /// Remove the tables of earlier releases from the table store, which are no longer believed
    #[arg(long)]
    pub(crate) clean: bool,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}
