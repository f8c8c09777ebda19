//! A directory on the way of a scan, and what went wrong in it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::super::SourceError;
use super::super::boundary::Place;
use crate::name::Escaped;

/// A directory on the way.
pub(super) struct Directory {
    /// By `O_PATH`.
    pub(super) fd: OwnedFd,
    /// Its path in the model, empty for the root.
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) depth: usize,
    pub(super) parent: Option<Arc<Directory>>,
}

impl Directory {
    /// The path of an entry.
    pub(super) fn join(&self, entry: &str) -> String {
        if self.path.is_empty() {
            entry.to_owned()
        } else {
            format!("{}/{entry}", self.path)
        }
    }

    /// Whether it or a directory above it is in this place.
    pub(super) fn is_within(&self, place: Place) -> bool {
        let above = std::iter::successors(Some(self), |directory| directory.parent.as_deref());
        above.into_iter().any(|above| above.place == place)
    }

    pub(super) fn failed(&self, errno: Errno) -> io::Error {
        self.failed_with(&errno.into())
    }

    pub(super) fn failed_with(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown()))
    }

    /// The scan is over, since there is more than it takes in: `what`.
    pub(super) fn beyond(&self, what: &std::fmt::Arguments<'_>) -> io::Error {
        io::Error::other(format!("stopped at {}: there are {what}", self.shown()))
    }

    fn shown(&self) -> Escaped {
        Escaped::bounded(match self.path.as_str() {
            "" => ".",
            path => path,
        })
    }
}

/// What a [`SourceError`] says, as an error of a scan.
pub(super) fn into_io(error: SourceError) -> io::Error {
    match error {
        SourceError::Io(error) => io::Error::new(error.kind(), error.to_string()),
        error => io::Error::other(error.to_string()),
    }
}
