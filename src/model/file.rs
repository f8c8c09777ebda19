//! A file of a model, to be read as any other.
//!
//! Guarantees: every byte is verified before it is given, and the end of the file is the signed
//! one. Doesn't: write.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::reading::{OpenFile, ReadError, SourceError, VerifiedBytes};

/// Most bytes that one call of [`Read::read`] gives: 4 MiB.
const MAX_READ: usize = 4 << 20;

/// An open file of a [`Model`](super::Model). Clones share the file, and have positions of their
/// own.
#[derive(Debug, Clone)]
pub struct ModelFile {
    open: Arc<OpenFile>,
    /// Where the next [`Read::read`] begins, in bytes.
    position: u64,
}

impl ModelFile {
    pub(super) fn new(open: Arc<OpenFile>) -> Self {
        Self { open, position: 0 }
    }

    /// The signed length in bytes.
    pub fn len(&self) -> u64 {
        self.open.len()
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from `offset`: `len` of them, fewer only at the end of the file. The position
    /// doesn't matter, and stays.
    ///
    /// # Errors
    /// [`ReadError`]; other parts of the file may be readable.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<VerifiedBytes, ReadError> {
        // Readers in order are noticed there, and verified ahead of.
        let now = self.open.read_now(offset, len);
        now.map_or_else(|| self.open.read(offset, len), Ok)
    }
}

impl Read for ModelFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(MAX_READ);
        let bytes = self.read_at(self.position, wanted).map_err(into_io)?;
        buffer[..bytes.len()].copy_from_slice(bytes.as_slice());
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for ModelFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The same error for [`std::io`]: bytes that aren't the signed ones are
/// [`InvalidData`](io::ErrorKind::InvalidData).
fn into_io(error: ReadError) -> io::Error {
    let kind = match &error {
        ReadError::Violation(_) => io::ErrorKind::InvalidData,
        ReadError::Source { error, .. } => match error {
            SourceError::Missing => io::ErrorKind::NotFound,
            SourceError::NotAFile(_) => io::ErrorKind::InvalidData,
            SourceError::Io(error) => match error.kind() {
                // Callers would try again for ever, or take it for the end of the file.
                io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => io::ErrorKind::Other,
                kind => kind,
            },
        },
        ReadError::Stopped { .. } | ReadError::Abandoned { .. } => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
