//! What a read can end in other than verified bytes.
//!
//! Guarantees: every error names the file and the byte range, with hostile names escaped. Doesn't:
//! act; the file system maps these to errno values, and the reader reports them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::digest::Algorithm;
use crate::name::FileName;

use super::source::SourceError;

/// Content that isn't the signed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file.
    pub file: FileName,
    /// Bytes whose digest is wrong, from the first to one past the last.
    pub range: Range<u64>,
    /// The algorithm they were checked with.
    pub algorithm: Algorithm,
    /// What is wrong with them.
    pub kind: ViolationKind,
}

/// How content differs from the signed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViolationKind {
    /// The bytes have another digest. Both in hexadecimal; for a chunk of a larger file signed with
    /// BLAKE3, and wherever a binding is used, these are chaining values of its subtree.
    Digest {
        /// What was signed.
        expected: String,
        /// What is there.
        found: String,
        /// Another hash of which the signed digest is that of these very bytes: then the signer has
        /// signed two contents under one name.
        holds: Option<Algorithm>,
    },
    /// The source ends before the range does.
    Truncated {
        /// Offset at which it ends.
        end: u64,
    },
    /// The source is longer than what was signed.
    Extended {
        /// Its length in bytes.
        len: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        write!(f, "\"{}\" bytes {start} to {end}: ", self.file)?;
        match &self.kind {
            ViolationKind::Digest {
                expected,
                found,
                holds,
            } => {
                let algorithm = self.algorithm;
                write!(
                    f,
                    "content isn't what was signed ({algorithm} expected {expected}, found {found})"
                )?;
                match holds {
                    Some(holds) => write!(
                        f,
                        ", though its signed {holds} digest holds: two contents were signed"
                    ),
                    None => Ok(()),
                }
            }
            ViolationKind::Truncated { end } => {
                write!(f, "the file was cut: it ends at byte {end}")
            }
            ViolationKind::Extended { len } => {
                write!(f, "the file was extended: it has {len} bytes")
            }
        }
    }
}

/// Why a read, or the opening of a file, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The content isn't the signed content.
    #[error("{0}")]
    Violation(Arc<Violation>),
    /// The source didn't give the bytes.
    #[error("\"{file}\" bytes {} to {}: {error}", range.start, range.end)]
    Source {
        /// The file.
        file: FileName,
        /// What was asked for.
        range: Range<u64>,
        /// What the source says.
        error: SourceError,
    },
    /// The reader is shutting down, or was locked after a violation.
    #[error("\"{file}\": reading was stopped")]
    Stopped {
        /// The file.
        file: FileName,
    },
    /// The thread that was verifying this chunk failed. A bug of ours, never of the data.
    #[error("\"{file}\": verification was abandoned")]
    Abandoned {
        /// The file.
        file: FileName,
    },
}

impl From<Violation> for ReadError {
    fn from(violation: Violation) -> Self {
        Self::Violation(Arc::new(violation))
    }
}
