//! `model-fs inspect`.

use std::path::PathBuf;

use clap::Args;

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A signed model, or its signature
    #[arg(value_name = "MODEL|SIGNATURE")]
    pub(crate) path: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}
