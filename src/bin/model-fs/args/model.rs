//! The flags that say which model, and where its signature is.

use std::path::PathBuf;

use clap::Args;

/// A signed model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model: a directory or a file
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,

    /// The signature [default: MODEL/model.sig; MODEL.sig for a file]
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
}
