//! Files from the shards that a bundle lists (OMS v1.0, 6.3.2).
//!
//! Guarantees: the shards of each file cover it without gap or overlap, each of the one size but
//! the last. Doesn't: look at the names of the files.

use std::num::NonZeroU64;

use super::content::{ShardDigests, SignedContent};
use super::error::{ManifestError, ShardRule};
use super::file::ManifestFile;
use super::shape::{ModelShape, ONLY_FILE};
use crate::digest::{Algorithm, Digest};
use crate::name::{Escaped, FileName};
use crate::oms::statement::{Resource, is_decimal};

/// A resource that is a shard.
struct Shard<'a> {
    path: &'a str,
    start: u64,
    end: u64,
    digest: &'a Digest,
}

impl<'a> Shard<'a> {
    /// `<path>:<start>:<end>`. Paths may have colons, so the *last* two fields count; numbers have
    /// one spelling, without sign or leading zero, so that no range has two names.
    fn parse(resource: &'a Resource<'a>) -> Result<Self, ShardRule> {
        let number = |text: &str| {
            if is_decimal(text) {
                text.parse().map_err(|_| ShardRule::Number)
            } else {
                Err(ShardRule::Number)
            }
        };
        let (rest, end) = resource.name.rsplit_once(':').ok_or(ShardRule::Form)?;
        let (path, start) = rest.rsplit_once(':').ok_or(ShardRule::Form)?;
        Ok(Self {
            path,
            start: number(start)?,
            end: number(end)?,
            digest: &resource.digest,
        })
    }
}

/// The files that are listed in shards, sorted by name.
pub(super) fn sharded_files(
    resources: &[Resource<'_>],
    hash: Algorithm,
    size: NonZeroU64,
    shape: &ModelShape,
) -> Result<Vec<ManifestFile>, ManifestError> {
    let mut shards = resources
        .iter()
        .map(|resource| {
            Shard::parse(resource).map_err(|rule| ManifestError::Shard {
                name: Escaped::bounded(&resource.name),
                rule,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    shards.sort_unstable_by(|a, b| (a.path, a.start, a.end).cmp(&(b.path, b.start, b.end)));
    let is_one_file = shards.iter().all(|shard| shard.path == ONLY_FILE);
    let own_name = shape.single_file().filter(|_| is_one_file);
    shards
        .chunk_by(|a, b| a.path == b.path)
        .map(|shards| {
            let content = shard_digests(shards, hash, size)?;
            let name = match own_name {
                Some(own) => own.clone(),
                None => FileName::new(shards[0].path)?,
            };
            Ok(ManifestFile {
                name,
                content: SignedContent::Shards(content),
            })
        })
        .collect()
}

/// The content that some shards make: all those of one path, sorted by range.
fn shard_digests(
    shards: &[Shard<'_>],
    hash: Algorithm,
    size: NonZeroU64,
) -> Result<ShardDigests, ManifestError> {
    let mut len = 0;
    let mut digests = Vec::with_capacity(shards.len() * hash.len());
    for (index, shard) in shards.iter().enumerate() {
        let rule = if shard.start >= shard.end {
            Some(ShardRule::EmptyRange)
        } else if shard.start > len {
            Some(ShardRule::Gap { expected: len })
        } else if shard.start < len && index > 0 && shards[index - 1].start == shard.start {
            Some(if shards[index - 1].end == shard.end {
                ShardRule::Duplicate
            } else {
                ShardRule::Overlap { expected: len }
            })
        } else if shard.start < len {
            Some(ShardRule::Overlap { expected: len })
        } else {
            let bytes = shard.end - shard.start;
            let last = index + 1 == shards.len();
            (bytes > size.get() || (bytes < size.get() && !last))
                .then_some(ShardRule::Size { size })
        };
        if let Some(rule) = rule {
            return Err(ManifestError::Shard {
                name: Escaped::bounded(&format!("{}:{}:{}", shard.path, shard.start, shard.end)),
                rule,
            });
        }
        len = shard.end;
        digests.extend_from_slice(shard.digest.as_bytes());
    }
    ShardDigests::new(hash, size, len, digests).ok_or_else(|| {
        // The ranges above are contiguous and of the right sizes, so this can't be.
        ManifestError::Misfit {
            name: Escaped::bounded(shards[0].path),
        }
    })
}
