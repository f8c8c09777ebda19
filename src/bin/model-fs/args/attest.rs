//! `model-fs attest`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::key::KeyArgs;

/// `attest`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").required(true))]
pub(crate) struct AttestArgs {
    /// Where the model is mounted. The mount must be this user's own, or root's
    #[arg(value_name = "MOUNTPOINT")]
    pub(crate) mountpoint: PathBuf,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Write the statement to FILE [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// State violations too, instead of refusing with exit code 4
    #[arg(long)]
    pub(crate) with_violations: bool,

    /// Replace a FILE that is no statement by the same key
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}
