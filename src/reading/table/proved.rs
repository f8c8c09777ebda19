//! Chunk tables: for each chunk of a file, the digest its bytes must have.
//!
//! Guarantees, held by the compiler: a [`ChunkTable`] is of signed content, and its length is
//! proved. Its fields are private to this file, and so are those of all types on the way to it.
//! Each way takes the [`SignedContent`] that was asked for, and a proof about that content:
//!
//! | from | proof | constructor |
//! |---|---|---|
//! | signed shards, a small file with a signed size | the signature itself | [`ChunkTable::of_signed`] |
//! | a small file | its bytes hash to the signed digest | `Candidate::whole`, `Candidate::prove_length` |
//! | a table shipped with the model | its values merge to the signed BLAKE3 digest; its last chunk verifies, or its length was signed | `SelfProving`, `Candidate::prove_length`, `Candidate::believe_signed_length` |
//! | a full pass | it found the signed digests | [`ChunkTable::of_pass`] |
//! | a table of the store | the MAC of this host over exactly this content | `Bound` |
//!
//! Lengths are proved by bytes, or by the signature that says them. What a store keeps is made here
//! too (`ChunkTable::to_bind`), and only from a table whose length was proved by bytes; the
//! identity in it is the signed content's own, and the key never leaves. Doesn't: read files.

use std::fmt;

use zeroize::Zeroizing;

use super::digests::{ChunkDigests, ChunkProof};
use super::file::{Required, TableFileError, TableHeader};
use super::full_pass::Hashed;
use crate::chunk::{ChunkIndex, Chunks};
use crate::digest::Algorithm;
use crate::manifest::SignedContent;

/// The digests of a file's chunks, with a length that is only claimed.
pub(crate) struct Candidate(ChunkDigests);

impl Candidate {
    /// A file of `claimed` bytes that is verified in one piece; `None` if it is too large for that,
    /// wasn't signed in one piece, or was signed with another size.
    pub(crate) fn whole(content: &SignedContent, claimed: u64) -> Option<Self> {
        let is_whole = matches!(content, SignedContent::Whole(_));
        let digests = ChunkDigests::signed(content, claimed)?;
        (is_whole && may_have(content, claimed)).then_some(Self(digests))
    }

    /// The digests; chunks may be verified by them.
    pub(crate) fn digests(&self) -> &ChunkDigests {
        &self.0
    }

    /// A table, if `last` is about the last chunk: its bytes end where the signer's did, or they
    /// would hash to something else.
    pub(crate) fn prove_length(self, last: &ChunkProof) -> Option<ChunkTable> {
        let ends = self.0.ends_with(last);
        ends.then(|| ChunkTable::new(self.0, LengthProof::Content))?
    }

    /// A table, if its length is the one that was signed. Nothing but the signature says so, and a
    /// store doesn't keep it.
    pub(crate) fn believe_signed_length(self) -> Option<ChunkTable> {
        let signed = self.0.content().len()?;
        let is_signed = signed == self.0.chunks().file_len();
        is_signed.then(|| ChunkTable::new(self.0, LengthProof::Signature))?
    }
}

/// Whether a file could have that length: any, unless one was signed.
fn may_have(content: &SignedContent, len: u64) -> bool {
    content.len().is_none_or(|signed| signed == len)
}

/// The header of a table file that can prove itself: of content whose BLAKE3 digest was signed.
pub(super) struct SelfProving(Required);

impl SelfProving {
    /// Compares a header with the content that was asked for.
    ///
    /// # Errors
    /// [`TableFileError::OtherContent`].
    pub(super) fn admit(
        content: &SignedContent,
        header: &TableHeader,
    ) -> Result<Self, TableFileError> {
        content
            .blake3()
            .ok_or(TableFileError::OtherContent("hash"))?;
        header.require(content, &[content.identity()]).map(Self)
    }

    /// Merges the values, and compares the result with the signed digest.
    ///
    /// # Errors
    /// [`TableFileError::Root`].
    pub(super) fn merge(self, values: Box<[u8]>) -> Result<Candidate, TableFileError> {
        ChunkDigests::under_root(self.0, values).map(Candidate)
    }
}

/// The key of this host for what it has proved itself. Only what is in this file uses it.
pub(super) struct HostKey(Zeroizing<[u8; 32]>);

/// The context of the MAC key. Another meaning of what is signed with it needs another context:
/// stores of version 1 hold bindings that a model's owner could have chosen.
const MAC_CONTEXT: &str = "model-fs index store 2026-11-30 binding MAC, store version 2";

impl HostKey {
    /// The key that is derived from a secret of the store and what identifies the machine.
    pub(super) fn derive(material: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(MAC_CONTEXT, material)))
    }

    fn mac(&self, header: &TableHeader) -> blake3::Hash {
        blake3::keyed_hash(&self.0, &header.authenticated())
    }
}

/// The header of a table that this host has bound to signed content.
pub(super) struct Bound(Required);

impl Bound {
    /// Compares a header with the content that was asked for, and checks its MAC.
    ///
    /// # Errors
    /// [`TableFileError::Mac`] and [`TableFileError::OtherContent`].
    pub(super) fn admit(
        content: &SignedContent,
        header: &TableHeader,
        key: &HostKey,
    ) -> Result<Self, TableFileError> {
        // `blake3::Hash` compares in constant time.
        if key.mac(header) != header.mac {
            return Err(TableFileError::Mac);
        }
        header
            .require(content, &[content.identity(), content.listed_identity()])
            .map(Self)
    }

    /// The length that was proved when the binding was made.
    pub(super) fn len(&self) -> ProvedLength {
        ProvedLength(self.0.header().len)
    }

    /// Merges the values, and compares the result with the bound root hash.
    ///
    /// # Errors
    /// [`TableFileError::Root`].
    pub(super) fn merge(self, values: Box<[u8]>) -> Result<ChunkTable, TableFileError> {
        let digests = ChunkDigests::under_root(self.0, values)?;
        ChunkTable::new(digests, LengthProof::Content).ok_or(TableFileError::OtherContent("length"))
    }
}

/// The length of signed content in bytes, proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvedLength(u64);

impl ProvedLength {
    /// The length that the signature itself says; `None` where it says none.
    pub fn of_signed(content: &SignedContent) -> Option<Self> {
        content.len().map(Self)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The digests of a file's chunks, all of them and its length proved.
///
/// Made by proof only; outside of this file nothing can make one:
///
/// ```compile_fail,E0423
/// use model_fs::reading::ChunkTable;
/// fn forge<T>(digests: T) -> ChunkTable {
///     ChunkTable(digests)
/// }
/// ```
///
/// ```compile_fail,E0423
/// use model_fs::reading::ProvedLength;
/// fn forge() -> ProvedLength {
///     ProvedLength(7)
/// }
/// ```
#[derive(Clone)]
pub struct ChunkTable {
    digests: ChunkDigests,
    length: LengthProof,
}

/// What the length of a table rests on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LengthProof {
    /// Bytes that end there and hash to what was signed: it is true of this content, whoever signs.
    Content,
    /// The signer's word. Another signer of the same content may have given none, or another.
    Signature,
}

impl ChunkTable {
    /// Every way comes by here: no proof makes a table of another length than a signed one, and
    /// none makes one of nothing where something was signed.
    fn new(digests: ChunkDigests, length: LengthProof) -> Option<Self> {
        let len = digests.chunks().file_len();
        let is_nothing = || digests.check(ChunkIndex::new(0), &[]).is_ok();
        (may_have(digests.content(), len) && (len > 0 || is_nothing()))
            .then_some(Self { digests, length })
    }

    /// The signature itself as a table: shards that are small enough to be chunks, and a file that
    /// is verified in one piece and has a signed size. `None` for other content.
    pub fn of_signed(content: &SignedContent) -> Option<Self> {
        let digests = ChunkDigests::signed(content, content.len()?)?;
        Self::new(digests, LengthProof::Signature)
    }

    /// What a full pass proves: that a file with exactly these digests has this table and this
    /// length. `None` if it found something else, or made no table where one is needed; its values
    /// are taken out else.
    pub fn of_pass(content: &SignedContent, hashed: &mut Hashed) -> Option<Self> {
        Self::new(
            ChunkDigests::of_pass(content, hashed)?,
            LengthProof::Content,
        )
    }

    /// What it is the table of.
    pub fn content(&self) -> &SignedContent {
        self.digests.content()
    }

    /// The digests of its chunks.
    pub(crate) fn digests(&self) -> &ChunkDigests {
        &self.digests
    }

    /// How the file is cut.
    pub const fn chunks(&self) -> &Chunks {
        self.digests.chunks()
    }

    /// Bytes in the file.
    pub const fn len(&self) -> u64 {
        self.digests.chunks().file_len()
    }

    /// The same, as proof.
    pub const fn proved_len(&self) -> ProvedLength {
        ProvedLength(self.len())
    }

    /// Whether the file is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The algorithm that chunks are checked with.
    pub fn algorithm(&self) -> Algorithm {
        self.digests.algorithm()
    }

    /// The header and the values for a store to keep, under this host's MAC; `None` for a table
    /// that the manifest has anyway, and for one whose length was signed and not seen: other
    /// signatures of the same content find what is kept, and it has to be true of them too.
    pub(super) fn to_bind(&self, key: &HostKey) -> Option<(TableHeader, &[u8])> {
        if self.length != LengthProof::Content {
            return None;
        }
        let (mut header, values) = self.to_ship()?;
        header.mac = *key.mac(&header).as_bytes();
        Some((header, values))
    }

    /// The same without a MAC, to travel with the model.
    pub(super) fn to_ship(&self) -> Option<(TableHeader, &[u8])> {
        let subtrees = self.digests.subtrees()?;
        let header = TableHeader {
            size: subtrees.size(),
            len: self.len(),
            identity: self.content().identity(),
            root: *subtrees.root(),
            mac: [0; 32],
        };
        Some((header, subtrees.as_bytes()))
    }
}

impl fmt::Debug for ChunkTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkTable")
            .field("chunks", self.chunks())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::subtree::VALUE_LEN;
    use super::*;
    use crate::reading::table::full_pass::hash_file;
    use crate::reading::table::{MAX_WHOLE, proof};
    use crate::reading::testing::{Memory, random};

    const CHUNK: usize = 64 << 10;

    fn blake3(bytes: &[u8]) -> SignedContent {
        SignedContent::Whole(Algorithm::Blake3.hash(bytes).into())
    }

    fn sha256(bytes: &[u8]) -> SignedContent {
        SignedContent::Whole(Algorithm::Sha256.hash(bytes).into())
    }

    fn pass(content: &SignedContent, bytes: &[u8]) -> Option<ChunkTable> {
        let source = Memory::default();
        source.put("file", bytes);
        let mut hashed = hash_file(&*source.file("file"), &proof::plan_of(content), &()).unwrap();
        ChunkTable::of_pass(content, &mut hashed)
    }

    fn shipped(bytes: &[u8]) -> (TableHeader, Box<[u8]>) {
        let table = pass(&blake3(bytes), bytes).unwrap();
        let (header, values) = table.to_ship().unwrap();
        (header, values.into())
    }

    #[test]
    fn a_pass_proves_what_was_signed_and_nothing_else() {
        let bytes = random(3 << 20, 1);
        for content in [sha256(&bytes), blake3(&bytes)] {
            assert_eq!(pass(&content, &bytes).unwrap().len(), 3 << 20);
            for other in [&bytes[1..], &random(3 << 20, 2)[..], &[]] {
                assert!(pass(&content, other).is_none());
            }
        }
    }

    #[test]
    fn a_shipped_table_proves_itself_or_is_refused() {
        let bytes = random(3 * CHUNK + 5, 3);
        let content = blake3(&bytes);
        let (header, values) = shipped(&bytes);
        let admit = |header: &TableHeader| SelfProving::admit(&content, header);
        assert!(admit(&header).unwrap().merge(values.clone()).is_ok());
        for flipped in 0..values.len() {
            let mut edited = values.clone();
            edited[flipped] ^= 1;
            assert!(admit(&header).unwrap().merge(edited).is_err());
        }
        let short = values[..values.len() - VALUE_LEN].into();
        assert!(admit(&header).unwrap().merge(short).is_err());
        // What was signed otherwise has no table but those of this host's store.
        assert!(SelfProving::admit(&sha256(&bytes), &header).is_err());
    }

    /// Merging doesn't prove where the last chunk ends: a table with a wrong length merges, and
    /// only that chunk tells.
    #[test]
    fn the_last_chunk_proves_the_length() {
        let bytes = random(2 * CHUNK + 100, 4);
        let content = blake3(&bytes);
        let (mut header, values) = shipped(&bytes);
        for claimed in [bytes.len() - 1, bytes.len(), bytes.len() + 1] {
            header.len = claimed as u64;
            let admitted = SelfProving::admit(&content, &header).unwrap();
            let candidate = admitted.merge(values.clone()).unwrap();
            let mut padded = bytes.clone();
            padded.resize(claimed, 0);
            let proof = candidate
                .digests()
                .check(ChunkIndex::new(2), &padded[2 * CHUNK..]);
            let proved = proof.is_ok_and(|proof| candidate.prove_length(&proof).is_some());
            assert_eq!(proved, claimed == bytes.len(), "claimed {claimed}");
        }
        // Another chunk proves nothing about the end.
        header.len = bytes.len() as u64;
        let admitted = SelfProving::admit(&content, &header).unwrap();
        let candidate = admitted.merge(values).unwrap();
        let proof = candidate
            .digests()
            .check(ChunkIndex::new(0), &bytes[..CHUNK]);
        assert!(candidate.prove_length(&proof.ok().unwrap()).is_none());
    }

    #[test]
    fn a_binding_is_for_exactly_the_content_that_was_asked_for() {
        let bytes = random(3 << 20, 5);
        let content = sha256(&bytes);
        let table = pass(&content, &bytes).unwrap();
        let key = HostKey::derive(b"secret");
        let (header, values) = table.to_bind(&key).unwrap();
        let bound = Bound::admit(&content, &header, &key).unwrap();
        assert_eq!(bound.len(), table.proved_len());
        assert!(bound.merge(values.into()).is_ok());
        let others = [
            sha256(b"another"),
            blake3(&bytes),
            SignedContent::Whole(Algorithm::Blake2b.hash(&bytes).into()),
        ];
        for other in others {
            assert!(Bound::admit(&other, &header, &key).is_err());
        }
        let stranger = HostKey::derive(b"another secret");
        assert!(Bound::admit(&content, &header, &stranger).is_err());
        for byte in 0..96 {
            let mut edited = header.encode();
            edited[byte] ^= 1;
            let admitted = TableHeader::decode(&edited)
                .is_ok_and(|edited| Bound::admit(&content, &edited, &key).is_ok());
            assert!(!admitted, "byte {byte}");
        }
    }

    /// Whatever its MAC says: what is small is checked against the signed digest.
    #[test]
    fn no_binding_takes_the_place_of_a_direct_check() {
        let (small, forged) = (sha256(b"{}"), random(3 << 20, 6));
        let key = HostKey::derive(b"secret");
        let table = pass(&sha256(&forged), &forged).unwrap();
        let (mut header, _) = table.to_ship().unwrap();
        header.identity = small.identity();
        header.len = MAX_WHOLE;
        header.mac = *key.mac(&header).as_bytes();
        assert!(matches!(
            Bound::admit(&small, &header, &key),
            Err(TableFileError::OtherContent("length"))
        ));
        let signed = blake3(&forged);
        header.identity = signed.identity();
        header.len = 3 << 20;
        header.root = [7; 32];
        header.mac = *key.mac(&header).as_bytes();
        assert!(matches!(
            Bound::admit(&signed, &header, &key),
            Err(TableFileError::OtherContent("root hash"))
        ));
    }
}
