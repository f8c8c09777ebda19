//! Where a file differs from what was signed: the chunks that do, where a table says what each must
//! be.
//!
//! Guarantees: each place is one whose bytes, as they were read, aren't those of the table.
//! Doesn't: prove anything of the rest. It is asked where the digest of the file is wrong already,
//! and reads the file once more, which may have changed again meanwhile.

use std::fmt;
use std::io;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::chunk::ChunkIndex;
use crate::reading::source::{Caching, SourceFile};
use crate::reading::table::ChunkDigests;
use crate::reading::table::full_pass::Observer;

/// Ranges that are told; more are counted.
pub const MAX_PLACES: usize = 16;

/// Chunks that one task looks at.
const CHUNKS_AT_ONCE: u64 = 64;

/// The byte ranges in which a file differs, in order; those that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The first [`MAX_PLACES`].
    pub ranges: Vec<Range<u64>>,
    /// How many more there are.
    pub more: u64,
}

impl Places {
    /// Merges ranges that come in order.
    fn merge(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut places = Self::default();
        let mut last_end = None;
        for range in ranges {
            let goes_on = last_end == Some(range.start);
            last_end = Some(range.end);
            if goes_on {
                if places.more == 0
                    && let Some(last) = places.ranges.last_mut()
                {
                    last.end = range.end;
                }
            } else if places.ranges.len() < MAX_PLACES {
                places.ranges.push(range);
            } else {
                places.more += 1;
            }
        }
        places
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return f.write_str("every part was right when it was read again");
        }
        f.write_str("it differs in bytes ")?;
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} to {}", range.start, range.end)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, " and in {more} more ranges"),
        }
    }
}

/// The chunks of a file that aren't what `digests` say. What the file is too short for differs.
///
/// # Errors
/// What the source says; [`io::ErrorKind::Interrupted`] if the observer ends it.
pub(super) fn locate(
    digests: &ChunkDigests,
    file: &dyn SourceFile,
    observer: &dyn Observer,
) -> io::Result<Places> {
    let count = digests.chunks().count();
    let tasks = count.div_ceil(CHUNKS_AT_ONCE);
    let wrong = (0..tasks)
        .into_par_iter()
        .map(|task| {
            let first = task * CHUNKS_AT_ONCE;
            let chunks = first..count.min(first + CHUNKS_AT_ONCE);
            wrong_chunks(digests, file, chunks, observer)
        })
        .collect::<io::Result<Vec<_>>>()?;
    Ok(Places::merge(wrong.into_iter().flatten()))
}

fn wrong_chunks(
    digests: &ChunkDigests,
    file: &dyn SourceFile,
    chunks: Range<u64>,
    observer: &dyn Observer,
) -> io::Result<Vec<Range<u64>>> {
    let mut wrong = Vec::new();
    let mut buffer = Vec::new();
    for chunk in chunks.map(ChunkIndex::new) {
        if observer.cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let range = digests.chunks().range(chunk);
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        buffer.resize(len, 0);
        let read = file.read_at(&mut buffer, range.start, Caching::Keep)?;
        if read < len || digests.check(chunk, &buffer).is_err() {
            wrong.push(range);
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_what_is_too_much_is_counted() {
        let places = Places::merge([0..10, 10..20, 30..40]);
        assert_eq!(places.ranges, [0..20, 30..40]);
        assert_eq!(places.more, 0);
        assert_eq!(places.to_string(), "it differs in bytes 0 to 20, 30 to 40");
        let many = (0..20).map(|index| index * 10..index * 10 + 5);
        let places = Places::merge(many.chain([195..197, 300..301]));
        assert_eq!((places.ranges.len(), places.more), (MAX_PLACES, 5));
        assert!(
            places
                .to_string()
                .ends_with("150 to 155 and in 5 more ranges")
        );
    }
}
