//! Digests that chunks are compared by, and what is told of bytes that have another.
//!
//! Guarantees: a comparison is of all bytes of both. Doesn't: say which digest is the signed one.

use super::subtree::VALUE_LEN;
use crate::digest::Digest;
use crate::reading::violation::ViolationKind;

/// A digest as chunks are compared by: a chaining value or an ordinary digest.
#[derive(Clone, Copy)]
pub(super) enum ChunkDigest {
    /// Of the algorithm that was signed.
    Ordinary(Digest),
    /// Of a BLAKE3 subtree.
    ChainingValue([u8; VALUE_LEN]),
}

impl ChunkDigest {
    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ordinary(digest) => digest.as_bytes(),
            Self::ChainingValue(value) => value,
        }
    }
}

/// Bytes that aren't the signed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The digest that the table holds, in hexadecimal.
    pub(crate) expected: String,
    /// The digest of the bytes found, in hexadecimal.
    pub(crate) found: String,
}

impl From<Mismatch> for ViolationKind {
    fn from(mismatch: Mismatch) -> Self {
        Self::Digest {
            expected: mismatch.expected,
            found: mismatch.found,
            holds: None,
        }
    }
}
