//! Chunk geometry: which bytes of a file are verified together.
//!
//! Guarantees: chunks cover a file from its first to its last byte without gap or overlap; the
//! position of a chunk is a type of its own, so that it can't be taken for an offset or a file.
//! Doesn't: know any digest.

use std::ops::Range;

/// The position of a chunk in its file, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(u64);

impl ChunkIndex {
    /// The chunk at this position.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Consecutive chunks of a file. None of them may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    start: u64,
    end: u64,
}

impl Run {
    /// The chunks from position `start` to the one before `end`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// One chunk.
    pub const fn of(chunk: ChunkIndex) -> Self {
        Self::new(chunk.0, chunk.0 + 1)
    }

    /// The first chunk.
    pub const fn first(self) -> ChunkIndex {
        ChunkIndex(self.start)
    }

    /// How many chunks there are.
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The chunks, in order.
    pub fn iter(self) -> impl Iterator<Item = ChunkIndex> + Clone {
        (self.start..self.end).map(ChunkIndex)
    }

    /// The first `count` chunks, and the others.
    #[must_use]
    pub fn split_at(self, count: u64) -> (Self, Self) {
        let middle = self.start.saturating_add(count).min(self.end);
        (Self::new(self.start, middle), Self::new(middle, self.end))
    }

    /// Groups chunks, which are in order, into runs of at most `longest`.
    pub fn group(chunks: impl IntoIterator<Item = ChunkIndex>, longest: u64) -> Vec<Self> {
        let mut runs = Vec::<Self>::new();
        for chunk in chunks {
            match runs.last_mut() {
                Some(run) if run.end == chunk.0 && run.len() < longest => run.end += 1,
                _ => runs.push(Self::of(chunk)),
            }
        }
        runs
    }
}

/// How a file of a known length is cut into chunks, all of one size but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes in every chunk but the last. Never zero.
    size: u64,
    /// Bytes in the file.
    len: u64,
}

impl Chunks {
    /// Cuts `len` bytes into chunks of `size` bytes.
    ///
    /// # Panics
    /// If `size` is zero: callers validate sizes where they enter.
    pub fn new(size: u64, len: u64) -> Self {
        assert_ne!(size, 0, "chunks have at least one byte");
        Self { size, len }
    }

    /// Bytes in every chunk but the last.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in the file.
    pub const fn file_len(&self) -> u64 {
        self.len
    }

    /// Number of chunks. An empty file has one, empty, chunk: its digest is checked like any other.
    pub const fn count(&self) -> u64 {
        if self.len == 0 {
            1
        } else {
            self.len.div_ceil(self.size)
        }
    }

    /// The chunk that the file ends with.
    pub const fn last(&self) -> ChunkIndex {
        ChunkIndex(self.count() - 1)
    }

    /// The bytes of a chunk; empty beyond the end.
    pub fn range(&self, chunk: ChunkIndex) -> Range<u64> {
        self.bytes(Run::of(chunk))
    }

    /// The bytes of some chunks, cut at the end of the file.
    pub fn bytes(&self, run: Run) -> Range<u64> {
        let start = run.start.saturating_mul(self.size).min(self.len);
        start..run.end.saturating_mul(self.size).clamp(start, self.len)
    }

    /// The chunks that hold any of the `len` bytes from `offset`, cut at the end of the file.
    pub fn spanning(&self, offset: u64, len: u64) -> Run {
        let end = offset.saturating_add(len).min(self.len);
        if offset >= end {
            return Run::new(0, 0);
        }
        Run::new(offset / self.size, (end - 1) / self.size + 1)
    }

    /// The chunks that begin at one of the `len` bytes from `offset`.
    pub fn starting_in(&self, offset: u64, len: u64) -> Run {
        let Run { start, end } = self.spanning(offset, len);
        Run::new(start.max(offset.div_ceil(self.size)).min(end), end)
    }
}

/// Bytes in one chunk of a BLAKE3 table: 2ⁿ BLAKE3 chunks of 1024 bytes, so that each chunk is a
/// whole subtree of the BLAKE3 tree (BLAKE3 paper, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubtreeSize(u8);

impl SubtreeSize {
    /// The smallest: 16 KiB. Below it a table costs more than 0.2 % of the model.
    pub const MIN: Self = Self(14);
    /// The largest: 16 MiB, the most that one read may have to hash.
    pub const MAX: Self = Self(24);
    /// What new tables of files of up to 128 GiB use: 64 KiB. Its tables are 0.05 % of the model.
    /// Measured against 128 and 256 KiB (docs/performance.md): reading in order costs the same, and
    /// a random 4 KiB fault the less the smaller the chunk.
    pub const DEFAULT: Self = Self(16);

    /// The smallest size from this one on that cuts `len` bytes into at most `max_count` chunks;
    /// the largest size if none does.
    #[must_use]
    pub fn with_at_most(self, max_count: u64, len: u64) -> Self {
        (self.0..Self::MAX.0)
            .map(Self)
            .find(|size| Chunks::new(size.bytes(), len).count() <= max_count)
            .unwrap_or(Self::MAX)
    }

    /// A size of 2^`log2` bytes; `None` outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 < Self::MIN.0 || log2 > Self::MAX.0 {
            None
        } else {
            Some(Self(log2))
        }
    }

    /// The size's binary logarithm.
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_a_file_once() {
        for size in [1, 3, 4096] {
            for len in [
                0,
                1,
                size - 1,
                size,
                size + 1,
                5 * size - 1,
                5 * size,
                5 * size + 1,
            ] {
                let chunks = Chunks::new(size, len);
                let mut next = 0;
                for chunk in Run::new(0, chunks.count()).iter() {
                    let range = chunks.range(chunk);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, len, "size {size}, length {len}");
                assert_eq!(chunks.range(chunks.last()).end, len);
                assert!(chunks.range(ChunkIndex(chunks.count())).is_empty());
                assert_eq!(chunks.bytes(Run::new(0, u64::MAX)), 0..len);
            }
        }
    }

    #[test]
    fn spanning_stops_at_the_end() {
        let chunks = Chunks::new(10, 25);
        assert_eq!(chunks.spanning(0, 1), Run::new(0, 1));
        assert_eq!(chunks.spanning(9, 2), Run::new(0, 2));
        assert_eq!(chunks.spanning(20, 100), Run::new(2, 3));
        assert_eq!(chunks.spanning(24, u64::MAX), Run::new(2, 3));
        assert!(chunks.spanning(25, 1).is_empty());
        assert!(chunks.spanning(u64::MAX, u64::MAX).is_empty());
        assert!(chunks.spanning(3, 0).is_empty());
        assert!(Chunks::new(10, 0).spanning(0, 4096).is_empty());
    }

    #[test]
    fn a_chunk_begins_in_one_of_two_ranges() {
        let chunks = Chunks::new(10, 25);
        assert_eq!(chunks.starting_in(0, 15), Run::new(0, 2));
        assert_eq!(chunks.starting_in(15, 10), Run::new(2, 3));
        assert!(chunks.starting_in(11, 5).is_empty());
        assert!(chunks.starting_in(25, 10).is_empty());
    }

    #[test]
    fn runs_are_grouped_and_split() {
        let chunks = [1, 2, 3, 5, 6].map(ChunkIndex);
        let runs = [Run::new(1, 3), Run::new(3, 4), Run::new(5, 7)];
        assert_eq!(Run::group(chunks, 2), runs);
        let run = Run::new(4, 7);
        assert_eq!(run.split_at(1), (Run::new(4, 5), Run::new(5, 7)));
        assert_eq!(run.split_at(9), (run, Run::new(7, 7)));
        assert_eq!((run.len(), run.first()), (3, ChunkIndex(4)));
    }

    #[test]
    fn sizes_grow_where_chunks_would_be_too_many() {
        let size = |log2| SubtreeSize::from_log2(log2).unwrap();
        assert_eq!(size(16).with_at_most(4, 0), size(16));
        assert_eq!(size(16).with_at_most(4, 4 << 16), size(16));
        assert_eq!(size(16).with_at_most(4, (4 << 16) + 1), size(17));
        assert_eq!(size(16).with_at_most(4, 4 << 24), SubtreeSize::MAX);
        assert_eq!(size(16).with_at_most(4, u64::MAX), SubtreeSize::MAX);
    }

    #[test]
    fn subtree_sizes_are_bounded() {
        assert_eq!(SubtreeSize::DEFAULT.bytes(), 64 * 1024);
        assert!(SubtreeSize::from_log2(13).is_none());
        assert!(SubtreeSize::from_log2(25).is_none());
        assert_eq!(SubtreeSize::from_log2(20).unwrap().bytes(), 1 << 20);
    }
}
