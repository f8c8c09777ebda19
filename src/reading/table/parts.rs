//! Ranges in pieces.
//!
//! Guarantees: the pieces cover the range in order, each of the one size but the last.

use std::ops::Range;

/// Cuts a range into pieces of `size` bytes, the last maybe shorter.
pub(super) fn parts(range: Range<u64>, size: u64) -> Parts {
    Parts { range, size }
}

#[derive(Clone)]
pub(super) struct Parts {
    range: Range<u64>,
    size: u64,
}

impl Iterator for Parts {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.range.is_empty() {
            return None;
        }
        let end = self
            .range
            .start
            .saturating_add(self.size)
            .min(self.range.end);
        let part = self.range.start..end;
        self.range.start = end;
        Some(part)
    }
}
