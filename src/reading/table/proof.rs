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
use crate::digest::{Algorithm, Digest};
use crate::manifest::{ManifestFile, Serialization, SignedContent, WholeDigest};
use crate::reading::violation::{Violation, ViolationKind};

/// What a full pass over a file has to compute that is to be signed so.
pub(in crate::reading) fn plan(serialization: Serialization) -> Plan {
    let is_table = serialization
        .shard_size
        .is_some_and(|size| size.get() <= MAX_DIRECT_SHARD);
    Plan {
        serialization,
        table: (!is_table).then_some(SubtreeSize::DEFAULT),
        blake3: false,
        len: None,
    }
}

/// [`plan`] for signed content: every digest that was signed, and no byte beyond a signed length is
/// read.
pub(in crate::reading) fn plan_of(content: &SignedContent) -> Plan {
    Plan {
        blake3: content.annotated_blake3().is_some(),
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
    mut hashed: Hashed,
) -> Result<ChunkTable, Vec<Violation>> {
    ChunkTable::of_pass(&file.content, &mut hashed).ok_or_else(|| violations(file, &hashed))
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
                holds: None,
            };
            violation(range, expected.algorithm(), kind)
        })
    };
    match &file.content {
        SignedContent::Whole(whole) => {
            let len = whole
                .size()
                .and_then(|size| length_violation(file, size, hashed.claimed_len()));
            let kind = whole_violation(whole, hashed);
            let digest = kind.map(|(algorithm, kind)| violation(0..hashed.len(), algorithm, kind));
            len.into_iter().chain(digest).collect()
        }
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

/// Which of the digests of a whole file differs: the listed one, if it does. Says which one holds,
/// where another does: then the signer has signed two contents.
fn whole_violation(whole: &WholeDigest, hashed: &Hashed) -> Option<(Algorithm, ViolationKind)> {
    let listed = whole.digest();
    let differs = hashed.digests().first().filter(|found| *found != listed);
    let annotated = whole.annotated_blake3();
    let annotated_differs = annotated.zip(hashed.blake3()).filter(|(a, b)| a != b);
    match (differs, annotated_differs) {
        (None, None) => None,
        (Some(found), other) => {
            let holds = (annotated.is_some() && other.is_none()).then_some(Algorithm::Blake3);
            let (expected, found) = (listed.to_hex(), found.to_hex());
            let kind = ViolationKind::Digest {
                expected,
                found,
                holds,
            };
            Some((listed.algorithm(), kind))
        }
        (None, Some((expected, found))) => {
            let kind = ViolationKind::Digest {
                expected: hex::encode(expected),
                found: hex::encode(found),
                holds: Some(listed.algorithm()),
            };
            Some((Algorithm::Blake3, kind))
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
