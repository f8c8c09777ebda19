//! `model-fs demo`.

use clap::Args;

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}
