//! What a full pass has to compute for signed content, and what its result says about it.
//!
//! Guarantees: a pass proves a table just if it found what was signed; else there is a violation
//! for each difference. Doesn't: read the source, or make tables; [`ChunkTable`] does from what a
//! pass found.

use std::cmp::Ordering;
use std::ops::Range;

use super::full_pass::{Hashed, Plan};
use super::geometry::MAX_DIRECT_SHARD;
use super::proved::ChunkTable;
use crate::chunk::{ChunkIndex, Chunks, SubtreeSize};
use crate::digest::Digest;
use crate::manifest::{ManifestFile, Serialization, SignedContent};
use crate::reading::violation::{Violation, ViolationKind};

/// What a full pass over a file has to compute that is to be signed so.
pub(in crate::reading) fn plan(serialization: Serialization) -> Plan {
    let is_table = serialization
        .shard_size
        .is_some_and(|size| size.get() <= MAX_DIRECT_SHARD);
    Plan {
        serialization,
        table: (!is_table).then_some(SubtreeSize::DEFAULT),
        len: None,
    }
}

/// [`plan`] for signed content: no byte beyond a signed length is read.
pub(in crate::reading) fn plan_of(content: &SignedContent) -> Plan {
    Plan {
        len: content.len(),
        ..plan(content.serialization())
    }
}

/// The table that a full pass proved.
///
/// # Errors
/// What differs from what was signed: at least one violation.
pub(in crate::reading) fn prove(
    file: &ManifestFile,
    hashed: Hashed,
) -> Result<ChunkTable, Vec<Violation>> {
    ChunkTable::of_pass(&file.content, hashed).map_err(|hashed| violations(file, &hashed))
}

/// How what a full pass found differs from what was signed.
pub(in crate::reading) fn violations(file: &ManifestFile, hashed: &Hashed) -> Vec<Violation> {
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
            .digests()
            .iter()
            .filter_map(|found| differs(0..hashed.len(), *expected, found))
            .collect(),
        SignedContent::Shards(shards) => {
            let (signed, claimed) = (shards.len(), hashed.claimed_len());
            let shard = |index, len| {
                let shards = Chunks::new(shards.shard_size().get(), len);
                shards.range(ChunkIndex::new(index))
            };
            let mut all: Vec<_> = (0..)
                .zip(shards.iter().zip(hashed.digests()))
                // A shard that was hashed over another range differs for that reason.
                .filter(|&(index, _)| shard(index, signed) == shard(index, hashed.len()))
                .filter_map(|(index, (expected, found))| {
                    differs(shard(index, signed), expected, found)
                })
                .collect();
            all.extend(length_violation(file, signed, claimed));
            all
        }
    }
}

/// How a claimed length differs from the one that was signed or proved.
pub(in crate::reading) fn length_violation(
    file: &ManifestFile,
    len: u64,
    claimed: u64,
) -> Option<Violation> {
    let (range, kind) = match claimed.cmp(&len) {
        Ordering::Equal => return None,
        Ordering::Less => (claimed..len, ViolationKind::Truncated { end: claimed }),
        Ordering::Greater => (len..claimed, ViolationKind::Extended { len: claimed }),
    };
    Some(Violation {
        file: file.name.clone(),
        range,
        algorithm: file.content.algorithm(),
        kind,
    })
}
