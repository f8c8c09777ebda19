//! Reading of at most so many bytes.
//!
//! Guarantees: no more is read, and no more memory taken, than the caller allows. Doesn't: say what
//! may be read; see [`open_given`] and [`open_found`](super::open_found).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::identity::too_large;
use super::open::open_given;

/// Reads at most `limit` bytes of what the *user* names, see [`open_given`].
///
/// # Errors
/// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn read_given(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_stream(&open_given(path)?, limit)
}

/// Reads what is left of an open file, at most `limit` bytes.
///
/// # Errors
/// As [`read_given`].
pub fn read_stream(file: &File, limit: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len > limit {
        return Err(too_large(limit));
    }
    // In one piece where the length is known: what is read may be a secret, and a vector that grows
    // leaves copies behind.
    let mut bytes = Vec::with_capacity(len.max(4096) + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

/// Reads a file of this length in the memory that it is then kept in: it may be large, so there is
/// never a second copy.
pub(crate) fn read_whole(mut file: File, len: usize) -> io::Result<Arc<[u8]>> {
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
    match Arc::get_mut(&mut bytes) {
        Some(buffer) => file.read_exact(buffer)?,
        None => return Err(io::Error::other("its memory is shared")),
    }
    if file.read(&mut [0])? > 0 {
        return Err(io::Error::other("it grew while it was read"));
    }
    Ok(bytes)
}
