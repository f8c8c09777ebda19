//! `model-fs demo`.
use crate::cli::DemoArgs;
use crate::exit::Failure;
pub(crate) fn run(_args: &DemoArgs) -> Result<(), Failure> { Ok(()) }
