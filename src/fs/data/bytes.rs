//! Bytes of the data file, as they are answered.
//!
//! Guarantees, held by the compiler: they are [`VerifiedBytes`] and zeros, and nothing else: the
//! fields are private to this file. Doesn't: know where they belong.

use std::borrow::Cow;

use crate::reading::VerifiedBytes;

/// A stretch of the data file.
#[derive(Debug, Clone)]
pub struct DataBytes(Vec<Stretch>);

#[derive(Debug, Clone)]
enum Stretch {
    Verified(VerifiedBytes),
    /// So many, behind a file's end.
    Zeros(usize),
}

impl DataBytes {
    /// No bytes, to which some are added.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds bytes of a file.
    pub(super) fn add(&mut self, bytes: VerifiedBytes) {
        if !bytes.is_empty() {
            self.0.push(Stretch::Verified(bytes));
        }
    }

    /// Adds zeros.
    pub(super) fn add_zeros(&mut self, count: usize) {
        if count > 0 {
            self.0.push(Stretch::Zeros(count));
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        let lengths = self.0.iter().map(|stretch| match stretch {
            Stretch::Verified(bytes) => bytes.len(),
            Stretch::Zeros(count) => *count,
        });
        lengths.sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in one piece, copied only where they are of several.
    pub fn whole(&self) -> Cow<'_, [u8]> {
        if let [Stretch::Verified(bytes)] = &self.0[..] {
            return Cow::Borrowed(bytes.as_slice());
        }
        let mut whole = Vec::with_capacity(self.len());
        for stretch in &self.0 {
            match stretch {
                Stretch::Verified(bytes) => whole.extend_from_slice(bytes.as_slice()),
                Stretch::Zeros(count) => whole.resize(whole.len() + count, 0),
            }
        }
        Cow::Owned(whole)
    }
}
