//! What tells one image from another: a digest of all of it.
//!
//! Guarantees: what is hashed is what is written, in the same pass. Doesn't: hash content, which is
//! in no image.

use std::fmt;
use std::io::{self, Write};

/// The context for what tells one image from another. Another encoding needs another context.
const CONTEXT: &str = "model-fs 2026-12-01 digest of an image v2";

/// A digest of all that a kernel that has the image goes on believing: the image, to the byte,
/// where each file lies in the data file, and the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageDigest(blake3::Hash);

impl ImageDigest {
    /// What the image has of it, its UUID: the beginning.
    pub fn uuid(&self) -> [u8; 16] {
        std::array::from_fn(|at| self.0.as_bytes()[at])
    }

    /// What a kernel that has the image says of it (`f_fsid` of statvfs(3)), made of its UUID.
    pub fn number(&self) -> u64 {
        let uuid = u128::from_le_bytes(self.uuid());
        let halves = [uuid, uuid >> 64].map(|half| half & u128::from(u64::MAX));
        u64::try_from(halves[0] ^ halves[1]).unwrap_or_default()
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hashes what it passes on.
pub(super) struct Hashing<W> {
    hasher: blake3::Hasher,
    out: W,
}

impl<W: Write> Hashing<W> {
    /// The image is of a file system that shows what has the digest `shown`.
    pub(super) fn new(shown: &str, out: W) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(shown.as_bytes());
        Self { hasher, out }
    }

    /// The digest of all that was written, with zeros in the place of the UUID.
    pub(super) fn digest(&self) -> ImageDigest {
        ImageDigest(self.hasher.finalize())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
