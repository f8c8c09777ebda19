//! Where in the data file each file lies.
//!
//! Guarantees: files lie in the order of the manifest, the signature file after them, each from a
//! block's start on and none over another; only proved lengths are laid out. Doesn't: read.

use std::ops::Range;

use crate::fs::attributes::BLOCK_SIZE;
use crate::manifest::FileIndex;
use crate::name::{Escaped, FileName};
use crate::reading::{ProvedLength, Reader};

/// [`BLOCK_SIZE`], for offsets.
const BLOCK: u64 = BLOCK_SIZE as u64;

/// Most bytes of one file: what one entry of an image can tell the place of (chunks of 2³¹ blocks).
pub(crate) const MAX_FILE: u64 = BLOCK << 31;

/// What lies somewhere in the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A file of the model.
    File(FileIndex),
    /// The signature file that was verified.
    Signature,
}

/// A range of one file, and the zeros that follow it up to the end of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) part: Part,
    /// Bytes of the file; empty where only zeros are asked for.
    pub(super) range: Range<u64>,
    /// Bytes after the file's end.
    pub(super) zeros: usize,
}

impl Piece {
    /// The file of the model that content is asked of, if any is.
    pub(super) fn file(&self) -> Option<FileIndex> {
        match self.part {
            Part::File(index) if !self.range.is_empty() => Some(index),
            _ => None,
        }
    }
}

/// Where the files lie. Takes four bytes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    /// First block of each file in the order of the manifest, of the signature file, and of what
    /// would follow.
    starts: Box<[u32]>,
}

/// Why files can't be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoExtents {
    /// A length isn't proved yet.
    #[error("the length of {} isn't proved", Escaped::new(file.as_str()))]
    Unproved {
        /// The first such file.
        file: FileName,
    },
    /// More than block numbers of 32 bits can tell, or one file is.
    #[error("the model is larger than 16 TiB, or a file of it than 8 TiB")]
    TooLarge,
}

impl Extents {
    /// The places of all files that `reader` reads, and of a signature file of `signature` bytes.
    ///
    /// # Errors
    /// [`NoExtents`].
    pub fn new(reader: &Reader, signature: u64) -> Result<Self, NoExtents> {
        let lengths = reader.manifest().indexed().map(|(index, file)| {
            let proved = reader.proved_len(index).map(ProvedLength::bytes);
            proved.ok_or_else(|| NoExtents::Unproved {
                file: file.name.clone(),
            })
        });
        Self::of_lengths(lengths, signature)
    }

    pub(super) fn of_lengths(
        lengths: impl Iterator<Item = Result<u64, NoExtents>>,
        signature: u64,
    ) -> Result<Self, NoExtents> {
        let mut starts = Vec::with_capacity(lengths.size_hint().0 + 2);
        let mut next = 0;
        for len in lengths.chain([Ok(signature)]) {
            let len = len?;
            if len > MAX_FILE {
                return Err(NoExtents::TooLarge);
            }
            starts.push(block_number(next)?);
            next += len.div_ceil(BLOCK);
        }
        starts.push(block_number(next)?);
        Ok(Self {
            starts: starts.into(),
        })
    }

    /// Number of the first block.
    pub fn start(&self, part: Part) -> u32 {
        self.starts[self.position(part)]
    }

    /// All blocks of the data file.
    pub fn blocks(&self) -> u32 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Bytes of the data file: whole blocks.
    pub fn bytes(&self) -> u64 {
        u64::from(self.blocks()) * BLOCK
    }

    fn position(&self, part: Part) -> usize {
        match part {
            Part::File(index) => index.get(),
            Part::Signature => self.starts.len() - 2,
        }
    }

    fn part(&self, position: usize) -> Part {
        if position + 2 == self.starts.len() {
            Part::Signature
        } else {
            Part::File(FileIndex::new(position))
        }
    }

    /// What lies at `offset`, and how many bytes beyond its start that is. `None` beyond the end.
    pub fn at(&self, offset: u64) -> Option<(Part, u64)> {
        if offset >= self.bytes() {
            return None;
        }
        let block = offset / BLOCK;
        // The last that starts there: the ones before it at the same place are empty.
        let after = self
            .starts
            .partition_point(|&start| u64::from(start) <= block);
        let part = self.part(after - 1);
        Some((part, offset - u64::from(self.start(part)) * BLOCK))
    }

    /// What `len` bytes from `offset` are made of, in order. `None` where that leads beyond the end
    /// of the data file. `len_of` gives the proved length of a file in bytes.
    pub(super) fn pieces(
        &self,
        offset: u64,
        len: usize,
        len_of: impl Fn(Part) -> Option<u64>,
    ) -> Option<Vec<Piece>> {
        let end = offset.checked_add(len as u64)?;
        if end > self.bytes() {
            return None;
        }
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end {
            let (part, within) = self.at(at)?;
            let len = len_of(part)?;
            let stop = (len.div_ceil(BLOCK) * BLOCK).min(within + (end - at));
            let range = within.min(len)..stop.min(len);
            let zeros = stop - range.end.max(within);
            // An extent ends behind where it begins, or this would be no progress.
            if stop <= within {
                return None;
            }
            at += stop - within;
            pieces.push(Piece {
                part,
                range,
                zeros: usize::try_from(zeros).ok()?,
            });
        }
        Some(pieces)
    }
}

/// A block's number in 32 bits, of which the last stands for none.
fn block_number(block: u64) -> Result<u32, NoExtents> {
    let number = u32::try_from(block).ok();
    number
        .filter(|&number| number != u32::MAX)
        .ok_or(NoExtents::TooLarge)
}
