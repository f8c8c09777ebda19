//! Which signed digests are those of chunks as they are, which content needs a table, and which
//! could prove one.
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
        SignedContent::Whole(digest) => len > max_whole(digest.algorithm()),
        SignedContent::Shards(_) => !shards_are_chunks(content),
    }
}

/// The signed digest that a table could prove itself against; `None` if `content` has none, so
/// that no table of it may come from anywhere but this host's store.
pub(super) fn signed_root(content: &SignedContent) -> Option<&[u8]> {
    match content {
        SignedContent::Whole(digest) if digest.algorithm() == Algorithm::Blake3 => {
            Some(digest.as_bytes())
        }
        SignedContent::Whole(_) | SignedContent::Shards(_) => None,
    }
}
