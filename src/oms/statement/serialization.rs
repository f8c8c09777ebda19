//! How files become digests, and what that is called.

use std::num::NonZeroU64;

use crate::digest::Algorithm;

/// How files become digests (OMS v1.0, 6.3): by which hash, and in which pieces. The one form of
/// this pair: statements state it, manifests keep it, files are hashed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serialization {
    /// The hash of every file or shard.
    pub hash: Algorithm,
    /// Bytes in every shard of a file but its last, each of which is a resource (method `shards`).
    /// `None` for one resource a file (method `files`).
    pub shard_size: Option<NonZeroU64>,
}

impl Serialization {
    /// One digest a file.
    pub const fn files(hash: Algorithm) -> Self {
        Self {
            hash,
            shard_size: None,
        }
    }

    /// One digest for every `size` bytes of a file, and one for what is left.
    pub const fn shards(hash: Algorithm, size: NonZeroU64) -> Self {
        Self {
            hash,
            shard_size: Some(size),
        }
    }

    /// The name of the method in the predicate.
    pub const fn method(self) -> &'static str {
        match self.shard_size {
            None => "files",
            Some(_) => "shards",
        }
    }

    /// The algorithm name of a shard as both reference implementations write it; `None` without
    /// shards.
    pub(in crate::oms) fn sharded_name(self) -> Option<String> {
        let size = self.shard_size?;
        Some(format!("{}-sharded-{size}", self.hash))
    }
}
