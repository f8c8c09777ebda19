//! `model-fs verify`.

use std::path::PathBuf;

use clap::Args;

use super::ignore::IgnoreArgs;
use super::model::ModelArgs;
use super::trust_flags::TrustArgs;

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) ignore: IgnoreArgs,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,

    /// Table store [default: ~/.cache/model-fs/index]
    #[arg(long, value_name = "DIR")]
    pub(crate) index_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}
