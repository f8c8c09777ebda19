//! Proving where a file ends.
//!
//! Guarantees: the length that is proved is the signer's: the bytes of the last chunk end where it
//! does, or they would hash to something else. Costs one read of one chunk. Doesn't: say what else
//! of the file is as it was signed.

use std::sync::Arc;

use crate::manifest::ManifestFile;
use crate::reading::chunk::buffer::BufferPool;
use crate::reading::chunk::{VerifiedBytes, verify_length};
use crate::reading::source::{Caching, SourceError, SourceFile};
use crate::reading::table::{Candidate, ChunkTable};
use crate::reading::violation::{ReadError, Violation, ViolationKind};

/// Reads the last chunk of `file` and verifies it. Gives the table and the bytes.
///
/// # Errors
/// [`ReadError`]: the chunk isn't what was signed, or can't be read.
pub(in crate::reading) fn prove_length(
    file: &ManifestFile,
    candidate: Candidate,
    source: &dyn SourceFile,
    caching: Caching,
    pool: &Arc<BufferPool>,
) -> Result<(ChunkTable, VerifiedBytes), ReadError> {
    let digests = candidate.digests();
    let algorithm = digests.algorithm();
    let range = digests.chunks().range(digests.chunks().last());
    let violation = |kind| {
        ReadError::from(Violation {
            file: file.name.clone(),
            range: range.clone(),
            algorithm,
            kind,
        })
    };
    let unreadable = |error: std::io::Error| ReadError::Source {
        file: file.name.clone(),
        range: range.clone(),
        error: SourceError::from(error),
    };
    // Chunks are far smaller than the address space.
    let len = usize::try_from(range.end - range.start)
        .map_err(|error| unreadable(std::io::Error::other(error)))?;
    let mut buffer = pool.take(len);
    let read = source
        .read_at(buffer.as_mut_slice(), range.start, caching)
        .map_err(unreadable)?;
    if read < len {
        let end = range.start + read as u64;
        return Err(violation(ViolationKind::Truncated { end }));
    }
    verify_length(candidate, buffer).map_err(|mismatch| violation(mismatch.into()))
}
