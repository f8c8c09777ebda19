//! An open file: verified bytes at any offset.
//!
//! Guarantees: what is read is the signed bytes at that offset, all that was asked for up to the
//! proved end of the file, or an error. Doesn't: wait in [`OpenFile::read_now`].

use std::fmt;
use std::sync::Arc;

use super::ahead::FileAhead;
use super::chunk::VerifiedBytes;
use super::fetch::{Answer, FileChunks, NoAnswer, Request, Wait};
use super::table::ChunkTable;
use super::violation::ReadError;
use crate::manifest::FileIndex;

/// An open file of a signed model. All that have it open share what is behind it.
pub struct OpenFile {
    chunks: Arc<FileChunks>,
    ahead: Arc<FileAhead>,
}

impl OpenFile {
    /// One more handle on what `ahead` is about. It is what the reader finds again as long as it is
    /// in use: by a handle, or by a job that verifies ahead. So a file that is opened anew knows of
    /// the pushes that are still under way.
    pub(super) fn new(ahead: Arc<FileAhead>) -> Self {
        Self {
            chunks: Arc::clone(ahead.chunks()),
            ahead,
        }
    }

    /// The position of the file in the manifest.
    pub fn index(&self) -> FileIndex {
        self.chunks.index()
    }

    /// The proved length in bytes.
    pub fn len(&self) -> u64 {
        self.table().len()
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digests it is verified with.
    pub fn table(&self) -> &ChunkTable {
        self.chunks.table()
    }

    /// Reads `len` bytes from `offset`, fewer only at the end of the file.
    ///
    /// # Errors
    /// [`ReadError`]; then no byte is given, though other parts of the range may be readable.
    pub fn read(&self, offset: u64, len: usize) -> Result<VerifiedBytes, ReadError> {
        let Some(request) = self.request(offset, len)? else {
            return Ok(VerifiedBytes::end_of_file());
        };
        self.ahead.await_push(&request.range);
        match self.chunks.read(&request, Wait::Yes) {
            Ok(answer) => Ok(answer.bytes),
            Err(NoAnswer::Failed(error)) => Err(error),
            // Not while it waits.
            Err(NoAnswer::Underway | NoAnswer::NotNow) => {
                Err(self.chunks.shared().abandoned(self.index()))
            }
        }
    }

    /// Reads and verifies the chunks that begin in `len` bytes from `offset`, and leaves them in
    /// the memory of the source, which has them for the next reader. Waits for the source.
    ///
    /// # Errors
    /// [`ReadError`], the first; each was reported.
    pub fn warm(&self, offset: u64, len: u64) -> Result<(), ReadError> {
        self.chunks.warm(offset, len)
    }

    /// [`read`](Self::read) if neither the source nor another thread has to be waited for: what is
    /// in the cache, and what the source has in memory, verified on this thread. Whatever isn't as
    /// it should be is left to `read`.
    pub fn read_now(&self, offset: u64, len: usize) -> Option<VerifiedBytes> {
        let Some(request) = self.request(offset, len).ok()? else {
            return Some(VerifiedBytes::end_of_file());
        };
        let answer = if self.ahead.arrive(&request.range) {
            self.chunks.read(&request, Wait::No)
        } else {
            Err(NoAnswer::Underway)
        };
        self.ahead.observe(request.range, &answer);
        answer.ok().map(|Answer { bytes, .. }| bytes)
    }

    /// What is asked for; `None` at the end of the file or beyond it.
    fn request(&self, offset: u64, len: usize) -> Result<Option<Request>, ReadError> {
        if self.chunks.shared().is_stopped() {
            return Err(self.chunks.shared().stopped(self.index()));
        }
        Ok(Request::new(self.chunks.chunks(), offset, len))
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.chunks.shared().file(self.index()).name;
        f.debug_struct("OpenFile")
            .field("name", name)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
