//! How a model is cut into resources, and what the algorithm of a piece is called.

use std::num::NonZeroU64;

use crate::digest::Algorithm;

/// How a model was cut into resources (OMS v1.0, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serialization {
    /// One resource for a file.
    Files,
    /// One resource for every `size` bytes of a file, and one for what is left.
    Shards {
        /// Bytes in every shard of a file but its last.
        size: NonZeroU64,
    },
}

impl Serialization {
    /// The name of the method in the predicate.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Shards { .. } => "shards",
        }
    }
}

/// The algorithm name of a shard as both reference implementations write it.
pub(in crate::oms) fn sharded_name(hash: Algorithm, size: NonZeroU64) -> String {
    format!("{hash}-sharded-{size}")
}
