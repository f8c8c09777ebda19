//! What was signed about the content of one file.
//!
//! Guarantees: [`ShardDigests`] cover a file from its first to its last byte, one digest for each
//! shard, and so prove its length. Where a BLAKE3 digest was signed, that is what a file is read by
//! and found by ([`WholeDigest::proving_digest`]), whichever hash the signature lists.
//!
//! Doesn't: read any file.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::digest::{Algorithm, Digest};
use crate::oms::statement::{Annotations, Serialization};

/// The context of [`SignedContent::identity`]. Another encoding needs another context.
const IDENTITY_CONTEXT: &str = "model-fs 2026-11-22 signed content identity v1";

/// What the signer said about a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedContent {
    /// The digest of all of it, and what was signed besides.
    Whole(WholeDigest),
    /// The digests of its shards.
    Shards(ShardDigests),
}

impl SignedContent {
    /// The hash.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Whole(whole) => whole.digest.algorithm(),
            Self::Shards(shards) => shards.algorithm(),
        }
    }

    /// The hash of the digests that it is read by.
    pub fn proving_algorithm(&self) -> Algorithm {
        match self {
            Self::Whole(whole) => whole.proving_digest().algorithm(),
            Self::Shards(shards) => shards.algorithm(),
        }
    }

    /// How the content became digests.
    pub fn serialization(&self) -> Serialization {
        match self {
            Self::Whole(whole) => Serialization::files(whole.digest.algorithm()),
            Self::Shards(shards) => Serialization::shards(shards.algorithm, shards.shard_size),
        }
    }

    /// The signed length in bytes; `None` where the signature doesn't say.
    #[allow(clippy::len_without_is_empty)] // what has shards is never empty
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(whole) => whole.size(),
            Self::Shards(shards) => Some(shards.len()),
        }
    }

    /// The BLAKE3 digest of all of it, if one was signed: the root that a table of chaining values
    /// can prove itself against.
    pub fn blake3(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Whole(whole) => whole.blake3(),
            Self::Shards(_) => None,
        }
    }

    /// The BLAKE3 digest that was signed beside another one of all of it: both have to hold.
    pub fn annotated_blake3(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Whole(whole) => whole.annotated_blake3(),
            Self::Shards(_) => None,
        }
    }

    /// A name for what this content is proved by, 32 bytes: the same for two files if and only if
    /// the same digests prove them, under whatever names and by whichever signer. For whole files
    /// that is [`WholeDigest::proving_digest`]. Content addresses of the index store are made of
    /// it, so it must not change between releases.
    ///
    /// BLAKE3 in its key derivation mode, under a context of its own, over: one byte of form (0
    /// whole, 1 shards); the algorithm's name, its length before it in one byte; for shards, the
    /// shard size, the file's length and the number of shards, 8 bytes each, little-endian; the
    /// digests.
    pub fn identity(&self) -> [u8; 32] {
        match self {
            Self::Whole(whole) => whole.proving_digest().identity(),
            Self::Shards(shards) => shards.identity(),
        }
    }

    /// The identity without what was annotated: that of the listed digest.
    pub(crate) fn listed_identity(&self) -> [u8; 32] {
        match self {
            Self::Whole(whole) => ProvingDigest::of(&whole.digest).identity(),
            Self::Shards(shards) => shards.identity(),
        }
    }
}

/// A hasher for an identity, which has taken in the form and the algorithm.
fn identity_hasher(form: u8, algorithm: Algorithm) -> blake3::Hasher {
    let name = algorithm.name().as_bytes();
    let mut hasher = blake3::Hasher::new_derive_key(IDENTITY_CONTEXT);
    #[allow(clippy::cast_possible_truncation)] // names of the registry are short
    hasher.update(&[form, name.len() as u8]);
    hasher.update(name);
    hasher
}

/// What was signed about a file as a whole: the digest that is listed, and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeDigest {
    digest: Digest,
    /// Without a BLAKE3 digest where that is what is listed.
    annotations: Option<Box<Annotations>>,
}

impl WholeDigest {
    /// A listed digest, and what is said besides. A listed BLAKE3 digest takes the place of an
    /// annotated one.
    pub fn new(digest: Digest, annotations: Annotations) -> Self {
        let blake3 = annotations
            .blake3
            .filter(|_| digest.algorithm() != Algorithm::Blake3);
        let annotations = Annotations {
            blake3,
            ..annotations
        };
        Self {
            digest,
            annotations: annotations.boxed(),
        }
    }

    /// The listed digest, which every verifier knows.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The signed size in bytes; `None` where the signature doesn't say.
    pub fn size(&self) -> Option<u64> {
        self.annotations.as_ref()?.size
    }

    /// The signed BLAKE3 digest, listed or annotated.
    pub fn blake3(&self) -> Option<&[u8; 32]> {
        match self.digest.algorithm() {
            Algorithm::Blake3 => self.digest.as_bytes().try_into().ok(),
            Algorithm::Sha256 | Algorithm::Blake2b => self.annotated_blake3(),
        }
    }

    /// The BLAKE3 digest that was signed beside another one: both have to hold.
    pub fn annotated_blake3(&self) -> Option<&[u8; 32]> {
        self.annotations.as_ref()?.blake3.as_ref()
    }

    /// What was said beside the digest.
    pub fn annotations(&self) -> Annotations {
        self.annotations.as_deref().copied().unwrap_or_default()
    }

    /// The digest that the file is read by: that of BLAKE3 if there is one, since its parts can be
    /// proved one by one; else the listed one.
    pub fn proving_digest(&self) -> ProvingDigest<'_> {
        match self.annotated_blake3() {
            Some(blake3) => ProvingDigest {
                algorithm: Algorithm::Blake3,
                bytes: blake3,
            },
            None => ProvingDigest::of(&self.digest),
        }
    }
}

/// A listed digest alone.
impl From<Digest> for WholeDigest {
    fn from(digest: Digest) -> Self {
        Self {
            digest,
            annotations: None,
        }
    }
}

/// The digest that a file is read by; see [`WholeDigest::proving_digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvingDigest<'a> {
    algorithm: Algorithm,
    bytes: &'a [u8],
}

impl<'a> ProvingDigest<'a> {
    fn of(digest: &'a Digest) -> Self {
        Self {
            algorithm: digest.algorithm(),
            bytes: digest.as_bytes(),
        }
    }

    /// The hash.
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    fn identity(self) -> [u8; 32] {
        let mut hasher = identity_hasher(0, self.algorithm);
        hasher.update(self.bytes);
        hasher.finalize().into()
    }
}

/// The digests of a file's shards, in the order of their ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardDigests {
    algorithm: Algorithm,
    shard_size: NonZeroU64,
    /// Bytes in the file; at least one.
    len: u64,
    /// Raw digests one after the other, one for every shard. Shared with the chunk table.
    digests: Arc<[u8]>,
}

impl ShardDigests {
    /// The shards of a file of `len` bytes; `digests` holds their raw digests one after the other.
    /// `None` if there aren't as many as the file has shards, or if the file is empty: OMS signs
    /// nothing about an empty file that is cut into shards.
    pub fn new(
        algorithm: Algorithm,
        shard_size: NonZeroU64,
        len: u64,
        digests: impl Into<Arc<[u8]>>,
    ) -> Option<Self> {
        let digests = digests.into();
        let count = usize::try_from(len.div_ceil(shard_size.get())).ok()?;
        let bytes = count.checked_mul(algorithm.len())?;
        (len > 0 && digests.len() == bytes).then_some(Self {
            algorithm,
            shard_size,
            len,
            digests,
        })
    }

    fn identity(&self) -> [u8; 32] {
        let mut hasher = identity_hasher(1, self.algorithm);
        hasher.update(&self.shard_size.get().to_le_bytes());
        hasher.update(&self.len.to_le_bytes());
        hasher.update(&self.count().to_le_bytes());
        hasher.update(&self.digests);
        hasher.finalize().into()
    }

    /// The hash.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes in every shard but the last, which has 1 to this many.
    pub fn shard_size(&self) -> NonZeroU64 {
        self.shard_size
    }

    /// Bytes in the file; never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Number of shards.
    pub fn count(&self) -> u64 {
        (self.digests.len() / self.algorithm.len()) as u64
    }

    /// The digest of shard `index`; `None` beyond the last.
    pub fn digest(&self, index: u64) -> Option<Digest> {
        let bytes = self.raw_digest(index)?;
        Digest::new(self.algorithm, bytes).ok()
    }

    /// The raw digest of shard `index`; `None` beyond the last.
    pub(crate) fn raw_digest(&self, index: u64) -> Option<&[u8]> {
        let start = usize::try_from(index)
            .ok()?
            .checked_mul(self.algorithm.len())?;
        self.digests
            .get(start..start.checked_add(self.algorithm.len())?)
    }

    /// The digests in the order of their ranges.
    pub fn iter(&self) -> impl Iterator<Item = Digest> {
        self.digests
            .chunks_exact(self.algorithm.len())
            .filter_map(|bytes| Digest::new(self.algorithm, bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(size: u64, len: u64, count: usize) -> Option<ShardDigests> {
        let digests: Vec<u8> = (0..count)
            .flat_map(|index| {
                Algorithm::Sha256
                    .hash(&index.to_le_bytes())
                    .as_bytes()
                    .to_vec()
            })
            .collect();
        ShardDigests::new(Algorithm::Sha256, NonZeroU64::new(size)?, len, digests)
    }

    #[test]
    fn as_many_digests_as_shards() {
        for (len, count) in [(1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3)] {
            assert!(shards(10, len, count).is_some(), "{len}");
            assert!(shards(10, len, count + 1).is_none(), "{len}");
            assert!(shards(10, len, count - 1).is_none(), "{len}");
        }
        assert!(shards(10, 0, 0).is_none());
        assert!(shards(10, 0, 1).is_none());
        assert!(shards(1, u64::MAX, 1).is_none());
        let digests = vec![0; 33];
        assert!(ShardDigests::new(Algorithm::Sha256, NonZeroU64::MIN, 1, digests).is_none());
    }

    #[test]
    fn digests_by_index() {
        let shards = shards(10, 21, 3).unwrap();
        assert_eq!(shards.count(), 3);
        let all: Vec<_> = shards.iter().collect();
        for (index, digest) in all.iter().enumerate() {
            assert_eq!(shards.digest(index as u64).as_ref(), Some(digest));
        }
        assert_eq!(shards.digest(3), None);
        assert_eq!(shards.digest(u64::MAX), None);
    }

    #[test]
    fn identity_tells_contents_apart() {
        let bytes = [7; 32];
        let whole =
            |algorithm| SignedContent::Whole(Digest::new(algorithm, &bytes).unwrap().into());
        let sharded = |size, len| {
            SignedContent::Shards(
                ShardDigests::new(
                    Algorithm::Sha256,
                    NonZeroU64::new(size).unwrap(),
                    len,
                    bytes,
                )
                .unwrap(),
            )
        };
        let all = [
            whole(Algorithm::Sha256).identity(),
            whole(Algorithm::Blake3).identity(),
            sharded(10, 10).identity(),
            sharded(10, 9).identity(),
            sharded(11, 10).identity(),
        ];
        for (index, identity) in all.iter().enumerate() {
            assert!(!all[..index].contains(identity));
        }
    }

    /// A table by BLAKE3 root serves every signature that names this root.
    #[test]
    fn the_identity_is_that_of_what_content_is_read_by() {
        let (sha256, blake3) = (Algorithm::Sha256.hash(b"a"), Algorithm::Blake3.hash(b"a"));
        let listed = |digest: Digest| SignedContent::Whole(digest.into());
        let annotated = |size, blake3: Option<Digest>| {
            let blake3 = blake3.map(|digest| digest.as_bytes().try_into().unwrap());
            SignedContent::Whole(WholeDigest::new(sha256, Annotations { size, blake3 }))
        };
        let both = annotated(Some(1), Some(blake3));
        assert_eq!(both.identity(), listed(blake3).identity());
        assert_eq!(both.listed_identity(), listed(sha256).identity());
        assert_eq!(both.algorithm(), Algorithm::Sha256);
        assert_eq!(both.len(), Some(1));
        let size = annotated(Some(1), None);
        assert_eq!(size.identity(), listed(sha256).identity());
        assert_eq!(size.blake3(), None);
    }

    /// Stored indexes are found by it.
    #[test]
    fn identity_stays_the_same() {
        let whole = SignedContent::Whole(Algorithm::Sha256.hash(b"abc").into());
        assert_eq!(
            hex::encode(whole.identity()),
            "bab1601242c46e182a5327991325cefb09260dcdc3225d8b7453e5f86339c5fa"
        );
        let sharded = SignedContent::Shards(shards(10, 21, 3).unwrap());
        assert_eq!(
            hex::encode(sharded.identity()),
            "fbabb70d381eb661ccb34e6e89450ac77f61b1dab9840e16ddd490846793c73e"
        );
    }
}
