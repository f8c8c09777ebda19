//! Full passes: hashing a whole file, once, for everything that is wanted of it.
//!
//! Guarantees: the signed digests and the chunk table that a pass gives are of the very same bytes,
//! each read once into private memory. A file that is being changed meanwhile gives digests of some
//! bytes that were never signed, which no one accepts. Only [`hash_file`] makes a [`Hashed`], so
//! that it is a proof of having read. Doesn't: compare with anything signed.
//!
//! All threads of the caller's `rayon` pool are used, within a file as across files: BLAKE3 by
//! regions, shards side by side, and the one chain of SHA-256 or BLAKE2b over a whole file with
//! reading and BLAKE3 beside it.

use std::io;
use std::ops::Range;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::parts::parts;
use super::subtree::{self, ChainingValues, MAX_VALUES, MergedValues, RootHash, VALUE_LEN};
use crate::chunk::{Chunks, SubtreeSize};
use crate::digest::{Algorithm, Digest};
use crate::manifest::{Serialization, SignedContent};
use crate::reading::source::{Caching, SourceFile};

/// Bytes read and hashed in one step. Small enough for the second-level cache.
const BLOCK: u64 = 1 << 20;

/// Bytes of a file that one task hashes, where tasks can share a file.
const REGION: u64 = 16 << 20;

/// Regions that are shared out at a time: 16 GiB and more.
const REGIONS_AT_ONCE: usize = 1024;

/// What to compute of a file.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How the file becomes the digests that are signed, or are to be.
    pub serialization: Serialization,
    /// Chunk size of the table to build beside them; `None` for no table. Larger where the table
    /// would have more than [`MAX_VALUES`].
    pub table: Option<SubtreeSize>,
    /// Whether the BLAKE3 digest of the whole file is wanted beside another hash, for files that
    /// aren't cut into shards.
    pub blake3: bool,
    /// The signed length in bytes, where the signature says it. No byte beyond it is read, whatever
    /// length the file claims.
    pub len: Option<u64>,
}

/// What a pass found. Nothing but a pass makes one:
///
/// ```compile_fail,E0451
/// use model_fs::reading::table::full_pass::Hashed;
/// fn by_hand(taken: Hashed) -> Hashed {
///     Hashed { ..taken }
/// }
/// ```
#[derive(Debug)]
pub struct Hashed {
    // Private, and filled in by `hash_file` alone.
    claimed: u64,
    len: u64,
    serialization: Serialization,
    digests: Vec<Digest>,
    blake3: Option<RootHash>,
    values: Option<MergedValues>,
}

impl Hashed {
    /// Bytes that were hashed: all that the file claimed to have, or as many as were signed.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there was nothing to hash.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the file claimed to have.
    pub fn claimed_len(&self) -> u64 {
        self.claimed
    }

    /// How the digests were made.
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// The digest, or those of the shards in order.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The BLAKE3 digest of the whole file, if it was asked for.
    pub fn blake3(&self) -> Option<&[u8; 32]> {
        self.blake3.as_ref()
    }

    /// The values for a chunk table, if one was asked for and there are at least two chunks, taken
    /// out.
    pub(super) fn take_values(&mut self) -> Option<MergedValues> {
        self.values.take()
    }

    /// Whether these are exactly the digests that were signed, over exactly the signed length where
    /// there is one.
    pub(super) fn is_of(&self, content: &SignedContent) -> bool {
        self.serialization == content.serialization()
            && match content {
                SignedContent::Whole(whole) => {
                    self.digests == [*whole.digest()]
                        && whole.size().is_none_or(|size| self.len == size)
                        && whole
                            .annotated_blake3()
                            .is_none_or(|signed| self.blake3.as_ref() == Some(signed))
                }
                SignedContent::Shards(shards) => {
                    self.len == shards.len()
                        && self.digests.len() as u64 == shards.count()
                        && shards.iter().zip(&self.digests).all(|(a, b)| a == *b)
                }
            }
    }
}

/// Follows a pass, and may end it.
pub trait Observer: Sync {
    /// `bytes` more were hashed.
    fn hashed(&self, bytes: u64);

    /// Whether the pass should stop.
    fn cancelled(&self) -> bool {
        false
    }

    /// The source is asked for something, or has answered. Several may be under way.
    fn reads(&self, _begins: bool) {}
}

impl Observer for () {
    fn hashed(&self, _bytes: u64) {}
}

/// Hashes `file` from its first byte to the end it claims to have now, or to the signed one where
/// that is known and comes first.
///
/// # Errors
/// What the source says; [`io::ErrorKind::FileTooLarge`] if the table would have more than
/// [`MAX_VALUES`] values; [`io::ErrorKind::UnexpectedEof`] if the file got shorter;
/// [`io::ErrorKind::Interrupted`] if the observer ended the pass.
pub fn hash_file(
    file: &dyn SourceFile,
    plan: &Plan,
    observer: &dyn Observer,
) -> io::Result<Hashed> {
    let claimed = file.len()?;
    let len = plan.len.map_or(claimed, |signed| signed.min(claimed));
    let Serialization { hash, shard_size } = plan.serialization;
    // Values are what a BLAKE3 digest is made of.
    let values = plan
        .table
        .or_else(|| plan.blake3.then_some(SubtreeSize::DEFAULT));
    let pass = Pass {
        file,
        len,
        algorithm: hash,
        table: values.map(|size| size.with_at_most(MAX_VALUES, len)),
        observer,
    };
    // A sparse file may claim to be an exabyte.
    let count = |size: SubtreeSize| Chunks::new(size.bytes(), pass.len).count();
    if pass.table.is_some_and(|size| count(size) > MAX_VALUES) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut only_chunk = None;
    let (digests, values) = match (shard_size, hash) {
        (Some(shard_size), _) => pass.shards(shard_size.get())?,
        (None, Algorithm::Blake3) => pass.blake3_tree()?,
        (None, Algorithm::Sha256 | Algorithm::Blake2b) => {
            let part = pass.chain(0..pass.len)?;
            only_chunk = part.root;
            (vec![part.digest], part.values)
        }
    };
    let values = pass
        .table
        .and_then(|size| MergedValues::merge(size, values));
    let root = values.as_ref().map(MergedValues::root);
    Ok(Hashed {
        claimed,
        len,
        serialization: plan.serialization,
        digests,
        blake3: root.copied().or(only_chunk).filter(|_| plan.blake3),
        values: values.filter(|_| plan.table.is_some()),
    })
}

struct Pass<'a> {
    file: &'a dyn SourceFile,
    len: u64,
    algorithm: Algorithm,
    table: Option<SubtreeSize>,
    observer: &'a dyn Observer,
}

/// A range of the file hashed with the signed algorithm, and what it gives to the table.
struct Part {
    digest: Digest,
    /// Chaining values of the chunks that lie wholly in the range.
    values: Vec<u8>,
    /// The bytes before the first whole chunk, and those after the last. Kept, not read again: the
    /// second time they might be others.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The root hash of a file that is one chunk.
    root: Option<RootHash>,
}

impl Pass<'_> {
    /// Reads all of `range` into `buffer`.
    fn read(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> io::Result<()> {
        if self.observer.cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        buffer.resize(len, 0);
        self.observer.reads(true);
        let read = self.file.read_at(buffer, range.start, Caching::Keep);
        self.observer.reads(false);
        if read? < len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file got shorter while it was read",
            ));
        }
        Ok(())
    }

    fn progress(&self, bytes: &[u8]) {
        self.observer.hashed(bytes.len() as u64);
    }

    /// The BLAKE3 digest of the file by regions, all at once.
    fn blake3_tree(&self) -> io::Result<(Vec<Digest>, Vec<u8>)> {
        let size = self.table.unwrap_or(SubtreeSize::DEFAULT);
        if Chunks::new(size.bytes(), self.len).count() < 2 {
            let part = self.chain(0..self.len)?;
            return Ok((vec![part.digest], part.values));
        }
        let mut regions = parts(0..self.len, REGION.max(size.bytes()));
        let mut values = Vec::new();
        loop {
            // Not all of them at once: a file may claim to have millions.
            let batch: Vec<_> = regions.by_ref().take(REGIONS_AT_ONCE).collect();
            if batch.is_empty() {
                break;
            }
            let hashed = batch
                .into_par_iter()
                .map(|region| {
                    let mut values = ChainingValues::new(size, region.start);
                    let mut block = Vec::new();
                    for range in parts(region, BLOCK) {
                        self.read(range, &mut block)?;
                        values.update(&block);
                        self.progress(&block);
                    }
                    Ok(values.finish())
                })
                .collect::<io::Result<Vec<_>>>()?;
            values.extend(hashed.into_iter().flatten());
        }
        let root = subtree::merge(&values).unwrap_or_default();
        let digest = Digest::new(Algorithm::Blake3, &root).map_err(io::Error::other)?;
        Ok((vec![digest], values))
    }

    /// The digests of the shards, some side by side: what a chunk has in two shards is kept until
    /// both are hashed, so not all of them may be.
    fn shards(&self, shard_size: u64) -> io::Result<(Vec<Digest>, Vec<u8>)> {
        let threads = rayon::current_num_threads() as u64;
        let at_once = (2 * threads).max(threads * REGION / shard_size.max(1));
        let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
        let mut shards = parts(0..self.len, shard_size);
        let (mut digests, mut values) = (Vec::new(), Vec::new());
        let mut straddling = Vec::new();
        loop {
            let batch: Vec<_> = shards.by_ref().take(at_once).collect();
            if batch.is_empty() {
                return Ok((digests, values));
            }
            let parts = batch
                .into_par_iter()
                .with_max_len(1)
                .map(|shard| self.chain(shard))
                .collect::<io::Result<Vec<_>>>()?;
            for part in parts {
                digests.push(part.digest);
                let Some(size) = self.table else { continue };
                straddling.extend_from_slice(&part.head);
                let start = (values.len() / VALUE_LEN) as u64 * size.bytes();
                let end = start + straddling.len() as u64;
                if end.is_multiple_of(size.bytes()) || end == self.len {
                    subtree::chaining_values(size, start, &straddling, &mut values);
                    straddling.clear();
                }
                values.extend_from_slice(&part.values);
                straddling.extend_from_slice(&part.tail);
            }
        }
    }

    /// Hashes `range` with the signed algorithm in one chain, and its whole chunks for the table.
    /// The chain runs beside the reading and the table's hashing of the next block.
    fn chain(&self, range: Range<u64>) -> io::Result<Part> {
        let size = self.table.map(SubtreeSize::bytes);
        // The first and last chunk boundary inside the range.
        let (first, last) = match size {
            Some(size) => {
                let first = range.start.next_multiple_of(size).min(range.end);
                let last = if range.end == self.len {
                    range.end
                } else {
                    (range.end - range.end % size).max(first)
                };
                (first, last)
            }
            None => (range.end, range.end),
        };
        let mut part = Part {
            digest: self.algorithm.hash(&[]),
            values: Vec::new(),
            head: Vec::new(),
            tail: Vec::new(),
            root: None,
        };
        let mut hasher = self.algorithm.hasher();
        let mut blocks = parts(range.start..first, BLOCK)
            .chain(parts(first..last, BLOCK))
            .chain(parts(last..range.end, BLOCK));
        let mut whole = self.table.map(|size| ChainingValues::new(size, first));
        let mut take_in = |block: &[u8], at: Range<u64>| match &mut whole {
            Some(_) if at.end <= first => part.head.extend_from_slice(block),
            Some(_) if at.start >= last => part.tail.extend_from_slice(block),
            Some(values) => values.update(block),
            None => {}
        };

        let (mut current, mut next) = (Vec::new(), Vec::new());
        let Some(mut at) = blocks.next() else {
            part.root = whole.and_then(|values| values.only_root());
            return Ok(part);
        };
        self.read(at.clone(), &mut current)?;
        loop {
            let following = blocks.next();
            let mut beside = || {
                take_in(&current, at.clone());
                match &following {
                    Some(range) => self.read(range.clone(), &mut next),
                    None => Ok(()),
                }
            };
            let read = if following.is_some() {
                rayon::join(|| hasher.update(&current), beside).1
            } else {
                // Nothing left to overlap with: no need to wake another thread.
                hasher.update(&current);
                beside()
            };
            self.progress(&current);
            read?;
            std::mem::swap(&mut current, &mut next);
            match following {
                Some(range) => at = range,
                None => break,
            }
        }
        part.digest = hasher.finish();
        part.root = whole.as_ref().and_then(ChainingValues::only_root);
        part.values = whole.map(ChainingValues::finish).unwrap_or_default();
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;

    /// A source in memory.
    struct Memory(Vec<u8>);

    impl SourceFile for Memory {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64, _: Caching) -> io::Result<usize> {
            let rest = usize::try_from(offset)
                .ok()
                .and_then(|offset| self.0.get(offset..))
                .unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    fn bytes(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    fn cut(hash: Algorithm, shard_size: Option<u64>) -> Serialization {
        let shard_size = shard_size.and_then(NonZeroU64::new);
        Serialization { hash, shard_size }
    }

    /// What a naive verifier computes: everything at once, from the whole file in memory.
    fn naive(data: &[u8], plan: &Plan) -> (Vec<Digest>, subtree::RootHash) {
        let Serialization { hash, shard_size } = plan.serialization;
        let digests = match shard_size {
            None => vec![hash.hash(data)],
            Some(size) => data
                .chunks(usize::try_from(size.get()).unwrap())
                .map(|shard| hash.hash(shard))
                .collect(),
        };
        (digests, *blake3::hash(data).as_bytes())
    }

    fn check(len: usize, plan: Plan) {
        let data = bytes(len);
        let (digests, root) = naive(&data, &plan);
        let hashed = hash_file(&Memory(data), &plan, &()).unwrap();
        assert_eq!(hashed.len(), len as u64);
        assert_eq!(hashed.claimed_len(), len as u64);
        assert_eq!(hashed.digests, digests, "{len} bytes, {plan:?}");
        assert_eq!(
            hashed.blake3,
            plan.blake3.then_some(root),
            "{len} bytes, {plan:?}"
        );
        if let Some(values) = &hashed.values {
            assert_eq!(*values.root(), root, "{len} bytes, {plan:?}");
        }
        let chunks = plan
            .table
            .map_or(0, |size| Chunks::new(size.bytes(), len as u64).count());
        assert_eq!(hashed.values.is_some(), chunks > 1, "{len} bytes, {plan:?}");
    }

    #[test]
    fn boundary_lengths() {
        let table = Some(SubtreeSize::MIN);
        for algorithm in Algorithm::ALL {
            for around in [0, 16384, 32768, 1 << 20, 2 << 20, 16 << 20] {
                for delta in [-1_isize, 0, 1] {
                    let Some(len) = usize::checked_add_signed(around, delta) else {
                        continue;
                    };
                    let plan = |shard_size| Plan {
                        serialization: cut(algorithm, shard_size),
                        table,
                        blake3: shard_size.is_none() && algorithm != Algorithm::Blake3,
                        len: None,
                    };
                    check(len, plan(None));
                    check(len, plan(Some(100_000)));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_a_naive_verifier(
            len in 0_usize..400_000,
            algorithm in prop::sample::select(&Algorithm::ALL[..]),
            shard_size in prop::option::of(1_000_u64..200_000),
            log2 in prop::option::of(14_u8..18),
            blake3 in any::<bool>(),
        ) {
            let table = log2.and_then(SubtreeSize::from_log2);
            let serialization = cut(algorithm, shard_size);
            let blake3 = blake3 && shard_size.is_none() && algorithm != Algorithm::Blake3;
            check(len, Plan { serialization, table, blake3, len: None });
        }
    }

    /// A sparse file may claim an exabyte beyond what was signed.
    #[test]
    fn nothing_beyond_the_signed_length_is_read() {
        struct Endless(Memory);
        impl SourceFile for Endless {
            fn len(&self) -> io::Result<u64> {
                Ok(1 << 60)
            }
            fn read_at(
                &self,
                buffer: &mut [u8],
                offset: u64,
                caching: Caching,
            ) -> io::Result<usize> {
                assert!(offset < self.0.len()?, "a read beyond what was signed");
                self.0.read_at(buffer, offset, caching)
            }
        }
        let data = bytes(300_000);
        for (algorithm, shard_size) in [
            (Algorithm::Sha256, Some(100_000)),
            (Algorithm::Blake3, None),
        ] {
            let plan = Plan {
                serialization: cut(algorithm, shard_size),
                table: Some(SubtreeSize::MIN),
                blake3: false,
                len: Some(data.len() as u64),
            };
            let hashed = hash_file(&Endless(Memory(data.clone())), &plan, &()).unwrap();
            assert_eq!(hashed.digests(), naive(&data, &plan).0);
            assert_eq!(hashed.len(), data.len() as u64);
            assert_eq!(hashed.claimed_len(), 1 << 60);
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        struct Shrinking(Memory);
        impl SourceFile for Shrinking {
            fn len(&self) -> io::Result<u64> {
                Ok(self.0.len()? + 1)
            }
            fn read_at(
                &self,
                buffer: &mut [u8],
                offset: u64,
                caching: Caching,
            ) -> io::Result<usize> {
                self.0.read_at(buffer, offset, caching)
            }
        }
        for algorithm in Algorithm::ALL {
            let plan = Plan {
                serialization: Serialization::files(algorithm),
                table: Some(SubtreeSize::MIN),
                blake3: false,
                len: None,
            };
            let error = hash_file(&Shrinking(Memory(bytes(100_000))), &plan, &()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn an_observer_sees_every_byte_and_can_stop() {
        use std::sync::atomic::{AtomicU64, Ordering};
        struct Counting {
            seen: AtomicU64,
            stop_at: u64,
        }
        impl Observer for Counting {
            fn hashed(&self, bytes: u64) {
                self.seen.fetch_add(bytes, Ordering::Relaxed);
            }
            fn cancelled(&self) -> bool {
                self.seen.load(Ordering::Relaxed) >= self.stop_at
            }
        }
        let data = Memory(bytes(5 << 20));
        for algorithm in Algorithm::ALL {
            let plan = Plan {
                serialization: Serialization::files(algorithm),
                table: Some(SubtreeSize::DEFAULT),
                blake3: false,
                len: None,
            };
            let all = Counting {
                seen: AtomicU64::new(0),
                stop_at: u64::MAX,
            };
            hash_file(&data, &plan, &all).unwrap();
            assert_eq!(all.seen.into_inner(), 5 << 20);
            let some = Counting {
                seen: AtomicU64::new(0),
                stop_at: 1,
            };
            let error = hash_file(&data, &plan, &some).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }
    }
}
