//! A file that couldn't be opened, in the place of one that could.

use std::io;

use super::{Caching, SourceError, SourceFile};

/// Answers everything with the reason why the file couldn't be opened.
#[derive(Debug)]
pub(in crate::reading) struct Absent(pub(in crate::reading) SourceError);

impl Absent {
    fn error(&self) -> io::Error {
        match &self.0 {
            SourceError::Missing => io::ErrorKind::NotFound.into(),
            SourceError::NotAFile(_) => io::Error::other(self.0.to_string()),
            SourceError::Io(error) => match error.raw_os_error() {
                Some(raw) => io::Error::from_raw_os_error(raw),
                None => io::Error::new(error.kind(), error.to_string()),
            },
        }
    }
}

impl SourceFile for Absent {
    fn len(&self) -> io::Result<u64> {
        Err(self.error())
    }

    fn read_at(&self, _: &mut [u8], _: u64, _: Caching) -> io::Result<usize> {
        Err(self.error())
    }
}
