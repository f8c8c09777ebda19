//! Which signed digests are those of chunks as they are, and which content needs a table.
//!
//! Guarantees: one answer for each content and length, so that what signs, stores and reads agree.
//! Doesn't: trust anything.

use crate::chunk::SubtreeSize;
use crate::digest::Algorithm;
use crate::manifest::SignedContent;

/// Largest shard that is a chunk as it is: 4 MiB, about 2 ms of SHA-256. Larger ones would make
/// every small read wait for the whole of them.
pub const MAX_DIRECT_SHARD: u64 = 4 << 20;

/// Largest file that is one chunk under its SHA-256 or BLAKE2b digest: 1 MiB, about half a
/// millisecond of SHA-256. Such files need no table.
pub const MAX_WHOLE: u64 = 1 << 20;

/// The largest file of this digest that is verified in one piece, without a table, in bytes.
pub(in crate::reading) const fn max_whole(algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Blake3 => SubtreeSize::DEFAULT.bytes(),
        Algorithm::Sha256 | Algorithm::Blake2b => MAX_WHOLE,
    }
}

/// What it takes to read a file lazily on a host that has never seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Laziness {
    /// Its signed digests alone.
    Signed,
    /// A chunk table beside them, which may come from anywhere.
    WithTable,
    /// It can't be: it is hashed once, as a whole.
    No,
}

/// The same of signed content of `len` bytes, as far as that is known.
pub fn laziness(content: &SignedContent, len: Option<u64>) -> Laziness {
    let is_small = || len.is_some_and(|len| !needs_values(content, len));
    match content {
        SignedContent::Shards(_) if shards_are_chunks(content) => Laziness::Signed,
        SignedContent::Whole(_) if is_small() => Laziness::Signed,
        SignedContent::Whole(whole) if whole.blake3().is_some() => Laziness::WithTable,
        SignedContent::Whole(_) | SignedContent::Shards(_) => Laziness::No,
    }
}

/// Whether the signed shards are chunks as they are.
pub(super) fn shards_are_chunks(content: &SignedContent) -> bool {
    match content {
        SignedContent::Whole(_) => false,
        SignedContent::Shards(shards) => {
            shards.shard_size().get().min(shards.len()) <= MAX_DIRECT_SHARD
        }
    }
}

/// Whether content of `len` bytes needs chaining values to be read lazily.
pub(super) fn needs_values(content: &SignedContent, len: u64) -> bool {
    match content {
        SignedContent::Whole(whole) => len > max_whole(whole.proving_digest().algorithm()),
        SignedContent::Shards(_) => !shards_are_chunks(content),
    }
}
