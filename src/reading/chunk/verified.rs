//! Verified bytes, and the only places that make them.
//!
//! Guarantees, held by the compiler: a [`VerifiedBytes`] holds bytes that hashed to a digest under
//! a trusted root, in a private buffer that nothing can write to any more; or the signature file
//! that was verified, or nothing at all. Its fields are private to this file. It is made by
//! [`ChunkVerifier`], which hashes exactly the buffer that it then hands out; by [`verify_length`],
//! which does so with the last chunk of a file; by [`VerifiedBytes::of_signature`], from a manifest
//! that only a checked signature can make; and by [`VerifiedBytes::end_of_file`], of no bytes.
//! Copies and parts are of these alone. Doesn't: say which file they are from; the table that
//! verified them does.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::{Buffer, BufferPool};
use crate::chunk::{ChunkIndex, Run};
use crate::manifest::VerifiedManifest;
use crate::reading::table::{Candidate, ChunkDigests, ChunkTable, Mismatch};

/// Bytes that are the signed ones. Cheap to clone and to slice.
///
/// Nothing outside of this file can make one of bytes that weren't checked:
///
/// ```compile_fail,E0451
/// use model_fs::reading::VerifiedBytes;
/// fn forge<S>(storage: S) -> VerifiedBytes {
///     VerifiedBytes { storage, range: 0..1 }
/// }
/// ```
#[derive(Clone)]
pub struct VerifiedBytes {
    storage: Storage,
    range: Range<usize>,
}

#[derive(Clone)]
enum Storage {
    /// A buffer that was hashed as a whole, chunk by chunk.
    Buffer(Arc<Buffer>),
    /// The signature file that was verified.
    Signature(Arc<[u8]>),
    /// Nothing, at a proved end of file.
    Empty,
}

/// A private buffer that is filled and verified chunk by chunk, so that each is hashed while it is
/// still in the core's cache. What was verified can't be written to any more: only the place of the
/// chunk that comes next is ever given out.
pub(crate) struct ChunkVerifier<'a> {
    digests: &'a ChunkDigests,
    buffer: Buffer,
    /// Chunks that the buffer has room for, and offset in the file of its first byte.
    run: Run,
    start: u64,
    /// What became of the chunks so far.
    verdicts: Vec<Option<Mismatch>>,
}

impl<'a> ChunkVerifier<'a> {
    /// Starts with the first of the chunks `run` of the file with these digests.
    ///
    /// # Panics
    /// If the buffer isn't exactly as long as those chunks.
    pub(crate) fn new(digests: &'a ChunkDigests, run: Run, buffer: Buffer) -> Self {
        let bytes = digests.chunks().bytes(run);
        assert_eq!(buffer.as_slice().len() as u64, bytes.end - bytes.start);
        Self {
            digests,
            buffer,
            run,
            start: bytes.start,
            verdicts: Vec::new(),
        }
    }

    /// The chunk that comes next, and where in the buffer it belongs.
    fn next(&self) -> Option<(ChunkIndex, Range<usize>)> {
        let (_, rest) = self.run.split_at(self.verdicts.len() as u64);
        (!rest.is_empty()).then(|| (rest.first(), self.within(rest.first())))
    }

    /// Where in the buffer a chunk of the run lies.
    fn within(&self, chunk: ChunkIndex) -> Range<usize> {
        let range = self.digests.chunks().range(chunk);
        local(range.start - self.start)..local(range.end - self.start)
    }

    /// The place of the chunk that comes next, to fill, and its offset in the file. `None` when all
    /// have been verified.
    pub(crate) fn place(&mut self) -> Option<(&mut [u8], u64)> {
        let (_, range) = self.next()?;
        let offset = self.start + range.start as u64;
        Some((&mut self.buffer.as_mut_slice()[range], offset))
    }

    /// Hashes what that place holds now, and goes on to the next. Whether it is what was signed.
    pub(crate) fn verify(&mut self) -> bool {
        let Some((chunk, range)) = self.next() else {
            return false;
        };
        let checked = self.digests.check(chunk, &self.buffer.as_slice()[range]);
        let good = checked.is_ok();
        self.verdicts.push(checked.err());
        good
    }

    /// The chunks verified so far, in order.
    pub(crate) fn finish(mut self) -> Vec<Result<VerifiedBytes, Mismatch>> {
        let verdicts = std::mem::take(&mut self.verdicts);
        let chunks = self.run.iter().zip(verdicts);
        let ranges: Vec<_> = chunks
            .map(|(chunk, mismatch)| (self.within(chunk), mismatch))
            .collect();
        let buffer = Arc::new(self.buffer);
        let bytes = |range| VerifiedBytes {
            storage: Storage::Buffer(Arc::clone(&buffer)),
            range,
        };
        let verified = ranges.into_iter();
        verified
            .map(|(range, mismatch)| mismatch.map_or_else(|| Ok(bytes(range)), Err))
            .collect()
    }
}

/// Hashes each chunk in `buffer`, which holds the bytes of the chunks `run` of the file with these
/// digests and nothing else, and hands out those that are the signed ones. The results are in the
/// order of the chunks.
///
/// # Panics
/// If the buffer isn't exactly as long as those chunks.
pub(crate) fn verify_chunks(
    digests: &ChunkDigests,
    run: Run,
    buffer: Buffer,
) -> Vec<Result<VerifiedBytes, Mismatch>> {
    let mut verifier = ChunkVerifier::new(digests, run, buffer);
    while verifier.place().is_some() {
        verifier.verify();
    }
    verifier.finish()
}

/// Proves a claimed length: `buffer` holds the bytes of the last chunk and nothing else. Hands them
/// out with the table.
pub(crate) fn verify_length(
    candidate: Candidate,
    buffer: Buffer,
) -> Result<(ChunkTable, VerifiedBytes), Mismatch> {
    let last = candidate.digests().chunks().last();
    let range = 0..buffer.as_slice().len();
    let proof = candidate.digests().check(last, buffer.as_slice())?;
    let table = candidate
        .prove_length(&proof)
        .expect("a buffer as long as the last chunk");
    let storage = Storage::Buffer(Arc::new(buffer));
    Ok((table, VerifiedBytes { storage, range }))
}

/// An offset inside a buffer; buffers are far smaller than the address space.
fn local(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a buffer")
}

impl VerifiedBytes {
    /// The exact bytes of the signature file that was verified.
    pub fn of_signature(manifest: &VerifiedManifest) -> Self {
        let bytes = Arc::clone(manifest.bundle());
        Self {
            range: 0..bytes.len(),
            storage: Storage::Signature(bytes),
        }
    }

    /// What a read at or beyond the proved end of a file gives.
    pub(crate) const fn end_of_file() -> Self {
        Self {
            storage: Storage::Empty,
            range: 0..0,
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        let bytes = match &self.storage {
            Storage::Buffer(buffer) => buffer.as_slice(),
            Storage::Signature(bytes) => bytes,
            Storage::Empty => &[],
        };
        &bytes[self.range.clone()]
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A part of them, cut at their end.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let start = range.start.min(self.len());
        let end = range.end.clamp(start, self.len());
        Self {
            storage: self.storage.clone(),
            range: self.range.start + start..self.range.start + end,
        }
    }

    /// A number for the memory that these keep in use: the same for all that lie in one buffer, and
    /// another one for any other buffer in use.
    pub(crate) fn buffer_id(&self) -> usize {
        match &self.storage {
            Storage::Buffer(buffer) => Arc::as_ptr(buffer).addr(),
            Storage::Signature(bytes) => bytes.as_ptr().addr(),
            Storage::Empty => 0,
        }
    }

    /// Bytes of memory that these keep in use: all of their buffer.
    pub(crate) fn footprint(&self) -> usize {
        match &self.storage {
            Storage::Buffer(buffer) => buffer.footprint(),
            Storage::Signature(_) | Storage::Empty => 0,
        }
    }

    /// The same bytes in memory of their own, where they now keep a larger buffer in use.
    pub(crate) fn compact(self, pool: &Arc<BufferPool>) -> Self {
        if self.footprint() < 2 * self.len().max(64 * 1024) {
            return self;
        }
        Self::copy_of(std::slice::from_ref(&self), pool)
    }

    /// Joins consecutive parts, all of them. Parts that lie side by side in one buffer, as those of
    /// one read from the source do, aren't copied.
    pub(crate) fn join(parts: &[Self], pool: &Arc<BufferPool>) -> Self {
        let Some((first, rest)) = parts.split_first() else {
            return Self::end_of_file();
        };
        let mut end = first.range.end;
        for part in rest {
            let adjacent = match (&first.storage, &part.storage) {
                (Storage::Buffer(a), Storage::Buffer(b)) => {
                    Arc::ptr_eq(a, b) && part.range.start == end
                }
                _ => false,
            };
            if !adjacent {
                return Self::copy_of(parts, pool);
            }
            end = part.range.end;
        }
        Self {
            storage: first.storage.clone(),
            range: first.range.start..end,
        }
    }

    fn copy_of(parts: &[Self], pool: &Arc<BufferPool>) -> Self {
        let len = parts.iter().map(Self::len).sum();
        let mut buffer = pool.take(len);
        let mut rest = buffer.as_mut_slice();
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part.as_slice());
            rest = after;
        }
        Self {
            range: 0..len,
            storage: Storage::Buffer(Arc::new(buffer)),
        }
    }
}

impl AsRef<[u8]> for VerifiedBytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::fmt::Debug for VerifiedBytes {
    /// The length only: model weights don't belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::manifest::SignedContent;
    use crate::reading::testing::verified;

    #[test]
    fn a_changed_byte_is_a_mismatch() {
        let pool = BufferPool::new(0);
        let content = SignedContent::Whole(Algorithm::Sha256.hash(b"signed").into());
        let candidate = || Candidate::whole(&content, 6).unwrap();
        let buffer = || {
            let mut buffer = pool.take(6);
            buffer.as_mut_slice().copy_from_slice(b"sigmed");
            buffer
        };
        let verified = verify_chunks(candidate().digests(), Run::new(0, 1), buffer());
        let mismatch = verify_length(candidate(), buffer()).unwrap_err();
        assert_eq!(verified[0].as_ref().unwrap_err(), &mismatch);
        assert_eq!(
            mismatch.expected,
            Algorithm::Sha256.hash(b"signed").to_hex()
        );
        assert_eq!(mismatch.found, Algorithm::Sha256.hash(b"sigmed").to_hex());
    }

    #[test]
    fn neighbours_join_without_a_copy_and_strangers_with_one() {
        let pool = BufferPool::new(0);
        let bytes = verified(&pool, b"hello world");
        let (hello, world) = (bytes.slice(0..6), bytes.slice(6..100));
        let joined = VerifiedBytes::join(&[hello.clone(), world.clone()], &pool);
        assert_eq!(joined.as_slice(), b"hello world");
        assert_eq!(joined.as_slice().as_ptr(), bytes.as_slice().as_ptr());
        let swapped = VerifiedBytes::join(&[world, hello], &pool);
        assert_eq!(swapped.as_slice(), b"worldhello ");
        assert!(VerifiedBytes::join(&[], &pool).is_empty());
    }

    #[test]
    fn slices_are_cut_at_the_end() {
        let pool = BufferPool::new(0);
        let bytes = verified(&pool, b"0123456789");
        assert_eq!(bytes.slice(8..20).as_slice(), b"89");
        assert!(bytes.slice(20..30).is_empty());
        assert_eq!(bytes.slice(2..8).slice(1..3).as_slice(), b"34");
    }
}
