//! The digests of a file's chunks, and the comparison with them.
//!
//! Guarantees, held by the compiler: [`ChunkDigests`] are of signed content. Their fields are
//! private to this file, and each way to them takes a proof: the signature itself; a table file
//! whose header was required to be for this content, and whose values merge to the root hash in it;
//! a full pass that found what was signed. A [`ChunkProof`] is of bytes that were hashed here.
//!
//! Doesn't: say where a file ends. Values of larger subtrees merge to the same root, and so do
//! those of other lengths; `proved` proves lengths.

use super::digest::{ChunkDigest, Mismatch};
use super::file::{Required, TableFileError};
use super::full_pass::Hashed;
use super::geometry::signed_chunks;
use super::subtree::{self, MergedValues, VALUE_LEN};
use crate::chunk::{ChunkIndex, Chunks};
use crate::digest::Algorithm;
use crate::manifest::SignedContent;

/// The digests of a file's chunks: those that were signed, or chaining values under a root hash
/// that was. Neither says where the file ends.
#[derive(Clone)]
pub(crate) struct ChunkDigests {
    content: SignedContent,
    chunks: Chunks,
    /// `None` where the signed digests are those of the chunks.
    subtrees: Option<MergedValues>,
}

/// That bytes are the signed ones of a chunk, all of them. Only [`ChunkDigests::check`] makes one.
pub(crate) struct ChunkProof {
    chunk: ChunkIndex,
    digest: ChunkDigest,
    len: u64,
}

impl ChunkDigests {
    /// Digests that were signed as those of the chunks of a file of `len` bytes; `None` where it
    /// takes chaining values.
    pub(super) fn signed(content: &SignedContent, len: u64) -> Option<Self> {
        Some(Self {
            content: content.clone(),
            chunks: signed_chunks(content, len)?,
            subtrees: None,
        })
    }

    /// Chaining values that merge to the root hash of a header that is for the content.
    ///
    /// # Errors
    /// [`TableFileError::Root`].
    pub(super) fn under_root(
        required: Required,
        values: Box<[u8]>,
    ) -> Result<Self, TableFileError> {
        let (content, header) = required.into_parts();
        let chunks = header.chunks();
        let expected = chunks.count() * VALUE_LEN as u64;
        let merged = MergedValues::merge(header.size, values)
            .filter(|it| it.as_bytes().len() as u64 == expected && *it.root() == header.root);
        Ok(Self {
            content,
            chunks,
            subtrees: Some(merged.ok_or(TableFileError::Root)?),
        })
    }

    /// What a full pass found, if it is what was signed; its values are taken out then.
    pub(super) fn of_pass(content: &SignedContent, hashed: &mut Hashed) -> Option<Self> {
        if !hashed.is_of(content) {
            return None;
        }
        let len = hashed.len();
        Self::signed(content, len).or_else(|| {
            let values = hashed.take_values()?;
            Some(Self {
                content: content.clone(),
                chunks: Chunks::new(values.size().bytes(), len),
                subtrees: Some(values),
            })
        })
    }

    /// What they are the digests of.
    pub(super) const fn content(&self) -> &SignedContent {
        &self.content
    }

    /// The chaining values, where there are any.
    pub(super) const fn subtrees(&self) -> Option<&MergedValues> {
        self.subtrees.as_ref()
    }

    /// How the file is cut.
    pub(crate) const fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The algorithm that chunks are checked with.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.subtrees {
            Some(_) => Algorithm::Blake3,
            None => self.content.proving_algorithm(),
        }
    }

    /// Hashes `bytes` and compares them with what a chunk must be.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub(crate) fn check(&self, chunk: ChunkIndex, bytes: &[u8]) -> Result<ChunkProof, Mismatch> {
        let digest = self.digest(chunk, bytes);
        let expected = self.expected(chunk);
        if digest.as_bytes() == expected {
            Ok(ChunkProof {
                chunk,
                digest,
                len: bytes.len() as u64,
            })
        } else {
            Err(Mismatch {
                expected: hex::encode(expected),
                found: hex::encode(digest.as_bytes()),
            })
        }
    }

    fn expected(&self, chunk: ChunkIndex) -> &[u8] {
        match (&self.subtrees, &self.content) {
            (Some(subtrees), _) => subtrees.value(chunk),
            (None, SignedContent::Whole(whole)) => {
                assert_eq!(chunk.get(), 0, "a whole file is one chunk");
                whole.proving_digest().as_bytes()
            }
            (None, SignedContent::Shards(shards)) => {
                let digest = shards.raw_digest(chunk.get());
                digest.expect("a shard of this file")
            }
        }
    }

    fn digest(&self, chunk: ChunkIndex, bytes: &[u8]) -> ChunkDigest {
        match &self.subtrees {
            Some(_) => {
                let start = self.chunks.range(chunk).start;
                ChunkDigest::ChainingValue(subtree::chaining_value(start, bytes))
            }
            None => ChunkDigest::Ordinary(self.algorithm().hash(bytes)),
        }
    }

    /// Whether `proof` is about the chunk that the file ends with, if it has this length.
    pub(super) fn ends_with(&self, proof: &ChunkProof) -> bool {
        let last = self.chunks.last();
        let range = self.chunks.range(last);
        proof.chunk == last
            && proof.len == range.end - range.start
            && proof.digest.as_bytes() == self.expected(last)
    }
}
