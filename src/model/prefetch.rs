//! Warming a mount up: proving tables, and reading content before anybody asks.
//!
//! Guarantees: one thread that computes only where others don't and reads only where nothing else
//! does (as far as the kernel's I/O scheduler knows priorities); what it meets is told as what any
//! reader meets; it ends with the mount. Doesn't: read through the mount. A process that waits for
//! its own answers can't be ended, see `reading/source`.

use std::sync::Arc;

use crate::fs::{Prefetch, PrefetchProgress};
use crate::kernel::schedule;
use crate::reading::{OpenFile, ReadError, Reader};

/// Bytes that are read at a time.
const STEP: u64 = 1 << 20;

/// Begins, in a thread of its own.
///
/// # Errors
/// No thread to be had.
pub(super) fn start(reader: Arc<Reader>, progress: Arc<PrefetchProgress>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("prefetch-all".to_owned())
        .spawn(move || {
            // Threads that hash for it are started by this one, and have that from it.
            schedule::only_when_idle();
            prefetch(&reader, &progress);
            progress.end();
            tracing::info!(what = progress.what().name(), "prefetched");
        })?;
    Ok(())
}

fn prefetch(reader: &Arc<Reader>, progress: &PrefetchProgress) {
    let files = || reader.manifest().indexed().map(|(index, _)| index);
    for index in files() {
        match reader.open(index) {
            Ok(_) => progress.file(),
            Err(ReadError::Stopped { .. }) => return,
            Err(_) => {
                progress.file();
                progress.failure();
            }
        }
    }
    if progress.what() != Prefetch::All {
        return;
    }
    for index in files() {
        // One that fails was counted above.
        if let Ok(file) = reader.open(index)
            && !read(&file, progress)
        {
            return;
        }
    }
}

/// Reads a file. Whether to go on with others.
fn read(file: &OpenFile, progress: &PrefetchProgress) -> bool {
    let mut offset = 0;
    while offset < file.len() {
        let len = STEP.min(file.len() - offset);
        match file.warm(offset, len) {
            Ok(()) => {}
            Err(ReadError::Stopped { .. }) => return false,
            Err(ReadError::Violation(_)) => progress.failure(),
            // The rest of it can't be read either, and each read may take long to say so.
            Err(ReadError::Source { .. } | ReadError::Abandoned { .. }) => {
                progress.failure();
                progress.bytes(file.len() - offset);
                return true;
            }
        }
        progress.bytes(len);
        offset += len;
    }
    true
}
