//! BLAKE3 subtrees: the chaining value of each chunk, and how they merge into the root.
//!
//! Guarantees: [`merge`] of the values of all chunks of an input is the BLAKE3 digest of that
//! input, for any length (BLAKE3 paper, section 2.1; the `hazmat` module of the `blake3` crate).
//! Doesn't: prove a length. The values of larger subtrees merge to the same root; only a signed
//! size, or hashing the last chunk, proves where the input ends.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode};

use crate::chunk::{ChunkIndex, Chunks, SubtreeSize};

/// Bytes in a chaining value or a root hash.
pub const VALUE_LEN: usize = blake3::OUT_LEN;

/// Most chaining values in a table: 2 Mi, which take 64 MiB of memory and are those of 128 GiB in
/// chunks of 64 KiB. Larger files have larger chunks, see [`size_for`].
pub const MAX_VALUES: u64 = 2 << 20;

/// The chunk size of the table of a file of `len` bytes: the smallest from
/// [`SubtreeSize::DEFAULT`] on that cuts it into at most [`MAX_VALUES`] chunks. `None` above
/// 32 TiB, which have no table.
pub fn size_for(len: u64) -> Option<SubtreeSize> {
    let size = SubtreeSize::DEFAULT.with_at_most(MAX_VALUES, len);
    (Chunks::new(size.bytes(), len).count() <= MAX_VALUES).then_some(size)
}

/// The root hash of a BLAKE3 tree: the BLAKE3 digest of the whole input.
pub type RootHash = [u8; VALUE_LEN];

/// The chaining value of the chunk that starts at `offset` of an input with more than one chunk.
///
/// # Panics
/// If `bytes` is empty or `offset` isn't a multiple of 1024: chunk geometry rules both out.
pub fn chaining_value(offset: u64, bytes: &[u8]) -> ChainingValue {
    blake3::Hasher::new()
        .set_input_offset(offset)
        .update(bytes)
        .finalize_non_root()
}

/// Appends the chaining values of the chunks in `bytes`, which start at `offset` of the input and
/// are whole but for the input's last.
pub fn chaining_values(size: SubtreeSize, offset: u64, bytes: &[u8], values: &mut Vec<u8>) {
    let mut all = ChainingValues::new(size, offset);
    all.update(bytes);
    values.append(&mut all.finish());
}

/// The chaining values of consecutive chunks, whose bytes come in pieces of any size. Holds no
/// bytes: chunks may be large, and a claimed length chooses their size.
pub(super) struct ChainingValues {
    size: u64,
    /// Where in the input the chunk begins that comes next or is under way.
    start: u64,
    /// Bytes of it so far, which are in `hasher`.
    filled: u64,
    hasher: blake3::Hasher,
    values: Vec<u8>,
}

impl ChainingValues {
    /// Begins at `offset` of the input, where a chunk begins.
    pub(super) fn new(size: SubtreeSize, offset: u64) -> Self {
        Self {
            size: size.bytes(),
            start: offset,
            filled: 0,
            hasher: blake3::Hasher::new(),
            values: Vec::new(),
        }
    }

    /// Takes the next bytes in.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == 0 {
                debug_assert_eq!(self.start % self.size, 0, "chunks begin where they begin");
                // Not reset: an offset can be given to a new one alone.
                self.hasher = blake3::Hasher::new();
                self.hasher.set_input_offset(self.start);
            }
            let room = usize::try_from(self.size - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            if self.filled == self.size {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    fn end_chunk(&mut self) {
        self.values
            .extend_from_slice(&self.hasher.finalize_non_root());
        self.start += self.filled;
        self.filled = 0;
    }

    /// The root hash of what was taken in, where that is one chunk at most and the input begins
    /// with it: then there is no tree, and what is hashed is the whole.
    pub(super) fn only_root(&self) -> Option<RootHash> {
        let chunks = self.values.len() / VALUE_LEN + usize::from(self.filled > 0);
        let begin = self.start - (self.values.len() / VALUE_LEN) as u64 * self.size;
        // The hasher is that of the last chunk until the next one begins.
        (chunks <= 1 && begin == 0).then(|| *self.hasher.finalize().as_bytes())
    }

    /// The values, [`VALUE_LEN`] bytes each. What is left is the input's last chunk.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.end_chunk();
        }
        self.values
    }
}

/// The chaining values of all chunks of an input, and the root hash that they merge to.
#[derive(Debug, Clone)]
pub(crate) struct MergedValues {
    size: SubtreeSize,
    root: RootHash,
    /// [`VALUE_LEN`] bytes a chunk.
    values: Box<[u8]>,
}

impl MergedValues {
    /// Merges values; `None` where [`merge`] gives none.
    pub(crate) fn merge(size: SubtreeSize, values: impl Into<Box<[u8]>>) -> Option<Self> {
        let values = values.into();
        let root = merge(&values)?;
        Some(Self { size, root, values })
    }

    /// Bytes in every chunk but the last.
    pub(crate) const fn size(&self) -> SubtreeSize {
        self.size
    }

    /// What they merge to: BLAKE3 of the input.
    pub(crate) const fn root(&self) -> &RootHash {
        &self.root
    }

    /// All values, [`VALUE_LEN`] bytes each.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.values
    }

    /// The value of a chunk.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub(crate) fn value(&self, chunk: ChunkIndex) -> &ChainingValue {
        let (values, _) = self.values.as_chunks::<VALUE_LEN>();
        &values[usize::try_from(chunk.get()).expect("a chunk of values in memory")]
    }
}

/// Merges the chaining values of all chunks of an input, [`VALUE_LEN`] bytes each, into its root
/// hash. `None` for fewer than two values: a single chunk is its own root and has no chaining
/// value.
pub fn merge(values: &[u8]) -> Option<RootHash> {
    let (values, rest) = values.as_chunks::<VALUE_LEN>();
    if values.len() < 2 || !rest.is_empty() {
        return None;
    }
    let (left, right) = values.split_at(left_len(values.len()));
    let root = blake3::hazmat::merge_subtrees_root(&node(left), &node(right), Mode::Hash);
    Some(*root.as_bytes())
}

/// The non-root value of a subtree of at least one chunk. Recursion is as deep as the tree is high:
/// at most 64.
fn node(values: &[ChainingValue]) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = values.split_at(left_len(values.len()));
    blake3::hazmat::merge_subtrees_non_root(&node(left), &node(right), Mode::Hash)
}

/// Of `count` > 1 leaves, how many belong to the left child: the largest power of two below
/// `count`.
const fn left_len(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| u8::try_from(i * 7 % 251).unwrap())
            .collect()
    }

    #[test]
    fn merged_values_are_the_digest() {
        let size = SubtreeSize::MIN;
        let chunk = usize::try_from(size.bytes()).unwrap();
        for count in 1..20 {
            for delta in [-1025_isize, -1024, -1, 0, 1, 1023, 1024, 1025] {
                let len = (count * chunk).checked_add_signed(delta).unwrap();
                let bytes = input(len);
                let mut values = Vec::new();
                chaining_values(size, 0, &bytes, &mut values);
                let merged = merge(&values);
                if len <= chunk {
                    assert_eq!(merged, None, "one chunk has no chaining value");
                } else {
                    let digest = *blake3::hash(&bytes).as_bytes();
                    assert_eq!(merged, Some(digest), "{len} bytes");
                }
            }
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_values() {
        let size = SubtreeSize::from_log2(15).unwrap();
        let bytes = input(5 * 32_768 + 77);
        let mut whole = Vec::new();
        chaining_values(size, 0, &bytes, &mut whole);
        let by_one: Vec<u8> = (0..6)
            .flat_map(|chunk| {
                let rest = &bytes[chunk * 32_768..];
                chaining_value(chunk as u64 * 32_768, &rest[..rest.len().min(32_768)])
            })
            .collect();
        assert_eq!(whole, by_one);
        for piece in [1, 1000, 1024, 32_767, 32_768, 32_769, 100_000] {
            let mut values = ChainingValues::new(size, 0);
            for piece in bytes.chunks(piece) {
                values.update(piece);
            }
            assert_eq!(values.finish(), whole, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn swapped_values_are_another_digest() {
        let size = SubtreeSize::MIN;
        let bytes = input(4 * usize::try_from(size.bytes()).unwrap());
        let mut values = Vec::new();
        chaining_values(size, 0, &bytes, &mut values);
        let root = merge(&values).unwrap();
        values.rotate_left(VALUE_LEN);
        assert_ne!(merge(&values).unwrap(), root);
    }

    #[test]
    fn a_torn_list_of_values_is_refused() {
        assert_eq!(merge(&[0; 2 * VALUE_LEN - 1]), None);
        assert_eq!(merge(&[0; VALUE_LEN]), None);
        assert_eq!(merge(&[]), None);
    }
}
