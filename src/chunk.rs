//! Chunk geometry: which bytes of a file are verified together.
//!
//! Guarantees: chunks cover a file from its first to its last byte without gap or overlap. Doesn't:
//! know any digest.

use std::ops::Range;

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

    /// The chunk that holds the byte at `offset`.
    pub const fn index_of(&self, offset: u64) -> u64 {
        offset / self.size
    }

    /// The bytes of chunk `index`; empty beyond the end.
    pub fn range(&self, index: u64) -> Range<u64> {
        let start = index.saturating_mul(self.size).min(self.len);
        start..start.saturating_add(self.size).min(self.len)
    }

    /// The chunks that hold any of the `len` bytes from `offset`, cut at the end of the file.
    pub fn spanning(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.len);
        if offset >= end {
            return 0..0;
        }
        self.index_of(offset)..self.index_of(end - 1) + 1
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
                for index in 0..chunks.count() {
                    let range = chunks.range(index);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, len, "size {size}, length {len}");
                assert!(chunks.range(chunks.count()).is_empty());
            }
        }
    }

    #[test]
    fn spanning_stops_at_the_end() {
        let chunks = Chunks::new(10, 25);
        assert_eq!(chunks.spanning(0, 1), 0..1);
        assert_eq!(chunks.spanning(9, 2), 0..2);
        assert_eq!(chunks.spanning(20, 100), 2..3);
        assert_eq!(chunks.spanning(24, u64::MAX), 2..3);
        assert!(chunks.spanning(25, 1).is_empty());
        assert!(chunks.spanning(u64::MAX, u64::MAX).is_empty());
        assert!(chunks.spanning(3, 0).is_empty());
        assert!(Chunks::new(10, 0).spanning(0, 4096).is_empty());
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
