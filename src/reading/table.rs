//! Chunk tables: for each chunk of a file, the digest its bytes must have.
//!
//! Guarantees: a [`ChunkTable`] is made only from what was signed: the signed digest itself, the
//! signed shards, or chaining values that merge to a trusted root hash. Doesn't: prove the file's
//! length where the manifest doesn't sign it; see [`ChunkTable::length_is_proved`].

use crate::chunk::{Chunks, SubtreeSize};
use crate::digest::{Algorithm, Digest};
use crate::manifest::ShardDigests;

use super::subtree::{self, RootHash};

/// Largest number of bytes that chaining values may take: 1 GiB. Tables that are
/// made here are smaller. Keeps a hostile table file from filling memory.
pub const MAX_VALUES: u64 = 1 << 30;

/// The digests of a file's chunks, under a trusted root.
#[derive(Debug, Clone)]
pub struct ChunkTable {
    chunks: Chunks,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The file is one chunk, and the signed digest its digest.
    Whole(Digest),
    /// The signed shards are the chunks.
    Shards(ShardDigests),
    /// BLAKE3 subtree chaining values, [`subtree::VALUE_LEN`] bytes each.
    Subtrees {
        values: Box<[u8]>,
        /// The length comes from a source that we trust, not from a claim.
        length_proved: bool,
    },
}

/// A digest as chunk tables compare them: a chaining value or an ordinary digest.
#[derive(Clone, Copy)]
pub(crate) enum ChunkDigest {
    Ordinary(Digest),
    ChainingValue([u8; subtree::VALUE_LEN]),
}

impl ChunkDigest {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ordinary(digest) => digest.as_bytes(),
            Self::ChainingValue(value) => value,
        }
    }
}

/// Where a file's claimed or known length comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A binding of our own store, or a full pass that has just been made.
    Proved(u64),
    /// A table file beside the model, or the source's own size.
    Claimed(u64),
}

impl Length {
    const fn bytes(self) -> u64 {
        match self {
            Self::Proved(len) | Self::Claimed(len) => len,
        }
    }
}

/// Why chaining values aren't a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Too few or too many values for the length.
    #[error("{found} bytes of chaining values where {expected} belong to a file of that length")]
    Count {
        /// Bytes that the length asks for.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The values merge to another root hash.
    #[error("the chaining values don't merge to the trusted root hash")]
    Root,
    /// One chunk or none: such a file's digest is its own table.
    #[error("a file of one chunk has no chaining values")]
    SingleChunk,
}

impl ChunkTable {
    /// The table of a file that is verified in one piece, of `len` claimed bytes.
    pub fn whole(digest: Digest, len: u64) -> Self {
        Self {
            chunks: Chunks::new(len.max(1), len),
            kind: Kind::Whole(digest),
        }
    }

    /// The signed shards as a table.
    pub fn shards(shards: ShardDigests) -> Self {
        Self {
            chunks: Chunks::new(shards.shard_size().get(), shards.len()),
            kind: Kind::Shards(shards),
        }
    }

    /// A table of chaining values, authenticated by merging all of them.
    ///
    /// # Errors
    /// [`TableError`] if they aren't those of a file of that length under `root`.
    pub fn subtrees(
        root: &RootHash,
        size: SubtreeSize,
        len: Length,
        values: Box<[u8]>,
    ) -> Result<Self, TableError> {
        let chunks = Chunks::new(size.bytes(), len.bytes());
        if chunks.count() < 2 {
            return Err(TableError::SingleChunk);
        }
        let expected = chunks.count().saturating_mul(subtree::VALUE_LEN as u64);
        let found = values.len() as u64;
        if found != expected {
            return Err(TableError::Count { expected, found });
        }
        if subtree::merge(&values).as_ref() != Some(root) {
            return Err(TableError::Root);
        }
        Ok(Self {
            chunks,
            kind: Kind::Subtrees {
                values,
                length_proved: matches!(len, Length::Proved(_)),
            },
        })
    }

    /// How the file is cut.
    pub const fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Bytes in the file: proved, or a claim that holds once the last chunk is verified.
    pub const fn len(&self) -> u64 {
        self.chunks.file_len()
    }

    /// Whether the file is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the length is beyond doubt. If not, verifying the last chunk proves it: its bytes
    /// end where the signer's did, or they hash to something else.
    pub const fn length_is_proved(&self) -> bool {
        match &self.kind {
            Kind::Whole(_) => false,
            Kind::Shards(_) => true,
            Kind::Subtrees { length_proved, .. } => *length_proved,
        }
    }

    /// The algorithm that chunks are checked with.
    pub fn algorithm(&self) -> Algorithm {
        match &self.kind {
            Kind::Whole(digest) => digest.algorithm(),
            Kind::Shards(shards) => shards.algorithm(),
            Kind::Subtrees { .. } => Algorithm::Blake3,
        }
    }

    /// Bytes of memory that the table takes.
    pub fn footprint(&self) -> usize {
        match &self.kind {
            // Shards are shared with the manifest.
            Kind::Whole(_) | Kind::Shards(_) => 0,
            Kind::Subtrees { values, .. } => values.len(),
        }
    }

    /// The digest that the bytes of chunk `index` must have.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub(crate) fn expected(&self, index: u64) -> &[u8] {
        match &self.kind {
            Kind::Whole(digest) => {
                assert_eq!(index, 0, "a whole file is one chunk");
                digest.as_bytes()
            }
            Kind::Shards(shards) => shards.raw_digest(index).expect("a shard of this file"),
            Kind::Subtrees { values, .. } => {
                let (values, _) = values.as_chunks::<{ subtree::VALUE_LEN }>();
                &values[usize::try_from(index).expect("a chunk of a table in memory")]
            }
        }
    }

    /// The digest that `bytes` have as chunk `index`.
    pub(crate) fn digest(&self, index: u64, bytes: &[u8]) -> ChunkDigest {
        match &self.kind {
            Kind::Whole(digest) => ChunkDigest::Ordinary(digest.algorithm().hash(bytes)),
            Kind::Shards(shards) => ChunkDigest::Ordinary(shards.algorithm().hash(bytes)),
            Kind::Subtrees { .. } => ChunkDigest::ChainingValue(subtree::chaining_value(
                self.chunks.range(index).start,
                bytes,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SubtreeSize = SubtreeSize::MIN;

    fn values_of(bytes: &[u8]) -> Box<[u8]> {
        let mut values = Vec::new();
        subtree::chaining_values(SIZE, 0, bytes, &mut values);
        values.into()
    }

    #[test]
    fn a_table_proves_itself_or_is_refused() {
        let bytes = vec![3; 3 * 16384 + 5];
        let root = *blake3::hash(&bytes).as_bytes();
        let values = values_of(&bytes);
        let len = Length::Claimed(bytes.len() as u64);
        let table = ChunkTable::subtrees(&root, SIZE, len, values.clone()).unwrap();
        assert!(!table.length_is_proved());
        assert_eq!(table.chunks().count(), 4);

        for flipped in 0..values.len() {
            let mut edited = values.clone();
            edited[flipped] ^= 1;
            let edited = ChunkTable::subtrees(&root, SIZE, len, edited);
            assert_eq!(edited.unwrap_err(), TableError::Root);
        }
        let short = Length::Claimed(3 * 16384);
        assert!(matches!(
            ChunkTable::subtrees(&root, SIZE, short, values.clone()),
            Err(TableError::Count { .. })
        ));
        let huge = Length::Claimed(u64::MAX);
        assert!(matches!(
            ChunkTable::subtrees(&root, SIZE, huge, values),
            Err(TableError::Count { .. })
        ));
    }

    /// The number of values fixes the number of chunks, not where the last one ends: a table with a
    /// wrong length merges, and only the last chunk tells.
    #[test]
    fn the_last_chunk_proves_the_length() {
        let bytes = vec![9; 2 * 16384 + 100];
        let root = *blake3::hash(&bytes).as_bytes();
        for claimed in [bytes.len() - 1, bytes.len(), bytes.len() + 1] {
            let len = Length::Claimed(claimed as u64);
            let table = ChunkTable::subtrees(&root, SIZE, len, values_of(&bytes)).unwrap();
            let mut padded = bytes.clone();
            padded.resize(claimed, 0);
            let last = &padded[2 * 16384..];
            let holds = table.digest(2, last).as_bytes() == table.expected(2);
            assert_eq!(holds, claimed == bytes.len(), "claimed {claimed}");
        }
    }

    /// Values of larger subtrees merge to the same root. Passed off as values of smaller chunks,
    /// they must not verify any bytes.
    #[test]
    fn values_of_another_chunk_size_verify_nothing() {
        let bytes = vec![1; 4 * 16384];
        let root = *blake3::hash(&bytes).as_bytes();
        let mut values = Vec::new();
        let double = SubtreeSize::from_log2(15).unwrap();
        subtree::chaining_values(double, 0, &bytes, &mut values);
        let len = Length::Claimed(2 * 16384);
        let table = ChunkTable::subtrees(&root, SIZE, len, values.into()).unwrap();
        for (index, chunk) in bytes.chunks(16384).take(2).enumerate() {
            let index = index as u64;
            assert_ne!(table.digest(index, chunk).as_bytes(), table.expected(index));
        }
    }
}
