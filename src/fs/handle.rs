//! The number of an open file, and what it stands for.

use std::sync::Arc;

use crate::reading::OpenFile;

/// The number of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    /// The handle of this number, which may not be open.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What a handle stands for.
#[derive(Clone)]
pub(super) enum Opened {
    Model(Arc<OpenFile>),
    Signature,
}
