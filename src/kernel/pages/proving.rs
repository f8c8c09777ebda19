//! Proving all lengths before an image tells them.
//!
//! Guarantees: a stop that is asked for meanwhile ends it; how far it is is said now and then.
//! Doesn't: prove anything itself; the [file system](FileSystem::prove_lengths) does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{NoPages, NotStarted};
use crate::fs::{FileSystem, Lengths};
use crate::kernel::mount_error::MountError;
use crate::kernel::shutdown::{Event, Shutdown};

/// How often it is looked whether a stop was asked for.
const LENGTHS_STEP: Duration = Duration::from_millis(100);

/// How often it is said how far it is.
const PROGRESS_STEP: Duration = Duration::from_secs(10);

/// Proves all lengths, with full passes where they are needed.
pub(super) fn prove_lengths(fs: &Arc<FileSystem>, shutdown: &Shutdown) -> Result<(), NotStarted> {
    let manifest = fs.reader().manifest();
    let mut proving = fs.prove_lengths(true);
    let mut said = Instant::now();
    loop {
        match proving.go_on(LENGTHS_STEP) {
            Lengths::Proved => return Ok(()),
            Lengths::TakesPass(index) => {
                let file = manifest.at(index).name.clone();
                return Err(NoPages::TakesPass { file }.into());
            }
            Lengths::Failed(index, error) => {
                return Err(NoPages::length(&manifest.at(index).name, &error).into());
            }
            Lengths::UnderWay { left } => {
                if let Ok(Event::Stop(_)) = shutdown.events.try_recv() {
                    return Err(MountError::Interrupted.into());
                }
                if said.elapsed() >= PROGRESS_STEP {
                    said = Instant::now();
                    tracing::info!(files = left, "lengths are still being proved");
                }
            }
        }
    }
}
