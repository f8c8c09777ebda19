//! Which signed digests are those of chunks as they are, and which content needs a table.
//!
//! Guarantees: one answer for each content and length, so that what signs, stores and reads agree.
//! Doesn't: trust anything.

use crate::chunk::{Chunks, SubtreeSize};
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
    if len.is_some_and(|len| signed_chunks(content, len).is_some()) {
        Laziness::Signed
    } else if content.blake3().is_some() {
        Laziness::WithTable
    } else {
        Laziness::No
    }
}

/// The chunks of content of `len` bytes whose digests are the signed ones as they are; `None` where
/// it takes chaining values to read it lazily.
pub(super) fn signed_chunks(content: &SignedContent, len: u64) -> Option<Chunks> {
    match content {
        SignedContent::Shards(shards) => {
            let size = shards.shard_size().get();
            (size.min(len) <= MAX_DIRECT_SHARD).then(|| Chunks::new(size, len))
        }
        SignedContent::Whole(_) => {
            (len <= max_whole(content.proving_algorithm())).then(|| Chunks::new(len.max(1), len))
        }
    }
}
