//! How signed content becomes a chunk table.
//!
//! Guarantees: a table made here is under the signed digest: the digest itself for small files, the
//! signed shards, chaining values that merge to a signed BLAKE3 digest, or chaining values under a
//! root hash that this host has bound to the signed digest in a full pass. Doesn't: read the source;
//! the reader does, and it still owes the proof of a claimed length.

use std::num::NonZeroU64;
use std::ops::Range;

use super::full_pass::{Hashed, Plan};
use super::table::{ChunkTable, Length};
use super::table_file::TableFile;
use super::violation::{Violation, ViolationKind};
use crate::chunk::SubtreeSize;
use crate::digest::{Algorithm, Digest};
use crate::manifest::{ManifestFile, SignedContent};

/// Largest shard that is a chunk as it is: 4 MiB, about 2 ms of SHA-256. Larger ones would make
/// every small read wait for the whole of them.
pub const MAX_DIRECT_SHARD: u64 = 4 << 20;

/// Largest file that is one chunk under its SHA-256 or BLAKE2b digest: 1 MiB, about half a
/// millisecond of SHA-256. Such files need no binding.
pub const MAX_WHOLE: u64 = 1 << 20;

/// The largest file of this digest that is verified in one piece, without a table.
pub(super) const fn max_whole(algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Blake3 => SubtreeSize::DEFAULT.bytes(),
        Algorithm::Sha256 | Algorithm::Blake2b => MAX_WHOLE,
    }
}

/// The table of a file whose manifest is its table.
pub(super) fn direct_table(content: &SignedContent) -> Option<ChunkTable> {
    match content {
        SignedContent::Shards(shards)
            if shards.shard_size().get().min(shards.len()) <= MAX_DIRECT_SHARD =>
        {
            Some(ChunkTable::shards(shards.clone()))
        }
        SignedContent::Shards(_) | SignedContent::Whole(_) => None,
    }
}

/// What a full pass over a file has to compute that is signed so.
pub(super) fn plan(algorithm: Algorithm, shard_size: Option<NonZeroU64>) -> Plan {
    let is_table = shard_size.is_some_and(|size| size.get() <= MAX_DIRECT_SHARD);
    Plan {
        algorithm,
        shard_size: shard_size.map(NonZeroU64::get),
        table: (!is_table).then_some(SubtreeSize::DEFAULT),
    }
}

/// [`plan`] for signed content.
pub(super) fn plan_of(content: &SignedContent) -> Plan {
    match content {
        SignedContent::Whole(digest) => plan(digest.algorithm(), None),
        SignedContent::Shards(shards) => plan(shards.algorithm(), Some(shards.shard_size())),
    }
}

/// What to keep of a full pass: a table, if reading this content lazily needs one.
pub(super) fn table_file(content: &SignedContent, hashed: Hashed) -> Option<TableFile> {
    let is_table = match content {
        SignedContent::Whole(digest) => hashed.len <= max_whole(digest.algorithm()),
        SignedContent::Shards(_) => direct_table(content).is_some(),
    };
    let table = hashed.table.filter(|_| !is_table)?;
    Some(TableFile {
        size: table.size,
        len: hashed.len,
        identity: content.identity(),
        root: table.root,
        values: table.values,
    })
}

/// A table from a file of the index store or from beside the model. `None` where it isn't under the
/// signed digest.
pub(super) fn table_from_file(
    content: &SignedContent,
    file: TableFile,
    trusted: bool,
) -> Option<ChunkTable> {
    let self_proving = match content {
        SignedContent::Whole(digest) if digest.algorithm() == Algorithm::Blake3 => {
            if digest.as_bytes() != file.root {
                return None;
            }
            true
        }
        SignedContent::Whole(_) | SignedContent::Shards(_) => false,
    };
    if !trusted && !self_proving {
        return None;
    }
    if content.len().is_some_and(|len| len != file.len) {
        return None;
    }
    let len = if trusted {
        Length::Proved(file.len)
    } else {
        Length::Claimed(file.len)
    };
    ChunkTable::subtrees(&file.root, file.size, len, file.values).ok()
}

/// What a full pass proved.
pub(super) enum Proved {
    /// The content is the signed content. The table, and the file that lets the next mount do
    /// without the pass.
    Table(ChunkTable, Option<TableFile>),
    /// It isn't. At least one violation.
    Violations(Vec<Violation>),
}

/// Compares what a full pass found with what was signed.
pub(super) fn compare(file: &ManifestFile, hashed: Hashed) -> Proved {
    let violations = violations(file, &hashed);
    if !violations.is_empty() {
        return Proved::Violations(violations);
    }
    let len = hashed.len;
    match (table_file(&file.content, hashed), &file.content) {
        (Some(kept), _) => {
            let values = kept.values.clone();
            let table = ChunkTable::subtrees(&kept.root, kept.size, Length::Proved(len), values)
                .expect("values that were merged to this root a moment ago");
            Proved::Table(table, Some(kept))
        }
        (None, SignedContent::Whole(digest)) => {
            Proved::Table(ChunkTable::whole(*digest, len), None)
        }
        (None, SignedContent::Shards(shards)) => {
            Proved::Table(ChunkTable::shards(shards.clone()), None)
        }
    }
}

/// How what a full pass found differs from what was signed.
pub(super) fn violations(file: &ManifestFile, hashed: &Hashed) -> Vec<Violation> {
    let violation = |range: Range<u64>, algorithm, kind| Violation {
        file: file.name.clone(),
        range,
        algorithm,
        kind,
    };
    let differs = |range: Range<u64>, expected: Digest, found: &Digest| {
        (expected != *found).then(|| {
            let kind = ViolationKind::Digest {
                expected: expected.to_hex(),
                found: found.to_hex(),
            };
            violation(range, expected.algorithm(), kind)
        })
    };
    match &file.content {
        SignedContent::Whole(expected) => hashed
            .digests
            .iter()
            .filter_map(|found| differs(0..hashed.len, *expected, found))
            .collect(),
        SignedContent::Shards(shards) => {
            let (signed, size) = (shards.len(), shards.shard_size().get());
            let shard = |index: u64, len: u64| index * size..((index + 1) * size).min(len);
            let mut all: Vec<_> = (0..)
                .zip(shards.iter().zip(&hashed.digests))
                // A shard that was hashed over another range differs for that reason.
                .filter(|&(index, _)| shard(index, signed) == shard(index, hashed.len))
                .filter_map(|(index, (expected, found))| {
                    differs(shard(index, signed), expected, found)
                })
                .collect();
            if hashed.len < signed {
                let kind = ViolationKind::Truncated { end: hashed.len };
                all.push(violation(hashed.len..signed, shards.algorithm(), kind));
            } else if hashed.len > signed {
                let kind = ViolationKind::Extended { len: hashed.len };
                all.push(violation(signed..hashed.len, shards.algorithm(), kind));
            }
            all
        }
    }
}
