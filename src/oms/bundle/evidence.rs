//! What a Sigstore bundle brings along to prove when and where its signature was logged
//! (`tlogEntries` and `timestampVerificationData` of Sigstore bundle v0.3).
//!
//! Guarantees: [`Evidence`] has at least one log entry; every entry has an inclusion proof and a
//! checkpoint; nothing is larger than the bounds here.
//!
//! Doesn't: check any of it. Log indexes and times are claims until [`crate::oms::verify`] has
//! proved them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::name::Escaped;
use crate::oms::wire::few::Few;
use crate::oms::wire::{base64, strict};

/// Most log entries in one bundle. Signers write one.
pub const MAX_LOG_ENTRIES: usize = 8;

/// Most time stamps in one bundle. Signers write one or none.
pub const MAX_TIMESTAMPS: usize = 8;

/// Largest time stamp, in bytes of DER. Those with their certificates have some 1500 to 6000.
pub const MAX_TIMESTAMP: usize = 64 << 10;

/// Largest body of a log entry, in bytes. It holds a certificate ([`super::MAX_CERTIFICATE`]) in
/// base64 of base64, a signature and two digests.
pub const MAX_LOG_BODY: usize = 512 << 10;

/// Longest checkpoint, in bytes: four lines and a signature, then a line for each witness.
pub const MAX_CHECKPOINT: usize = 64 << 10;

/// Most hashes in an inclusion proof: the depth of a tree with 2⁶³ leaves.
pub const MAX_PROOF: usize = 63;

/// Longest signed entry timestamp, in bytes. ECDSA over P-521 has at most 141.
pub const MAX_PROMISE: usize = 2048;

/// Longest kind or version of a log entry, in bytes.
pub const MAX_KIND: usize = 64;

/// The log entries and time stamps of a bundle. Claims, every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// At least one.
    pub(in crate::oms) entries: Vec<LogEntry>,
    /// RFC 3161 responses or tokens, in DER.
    pub(in crate::oms) timestamps: Vec<Vec<u8>>,
}

/// An entry of a transparency log, as the bundle tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub(in crate::oms) kind: String,
    pub(in crate::oms) version: String,
    pub(in crate::oms) log_id: [u8; 32],
    pub(in crate::oms) log_index: u64,
    /// Seconds since 1970; absent and zero are the same in protocol buffers.
    pub(in crate::oms) integrated_time: Option<i64>,
    /// The signed entry timestamp.
    pub(in crate::oms) promise: Option<Vec<u8>>,
    pub(in crate::oms) proof: Proof,
    pub(in crate::oms) body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::oms) struct Proof {
    pub(in crate::oms) log_index: u64,
    pub(in crate::oms) tree_size: u64,
    pub(in crate::oms) root_hash: [u8; 32],
    pub(in crate::oms) hashes: Vec<[u8; 32]>,
    pub(in crate::oms) checkpoint: String,
}

impl Evidence {
    /// Validates the two members of a bundle's `verificationMaterial`, as JSON.
    pub(super) fn parse(
        entries: Option<&RawValue>,
        timestamps: Option<&RawValue>,
    ) -> Result<Self, EvidenceError> {
        let entries: Few<RawEntry<'_>, MAX_LOG_ENTRIES> = read(entries)?;
        match entries.count {
            0 => return Err(EvidenceError::NoLogEntry),
            found if found > MAX_LOG_ENTRIES => return Err(EvidenceError::LogEntries { found }),
            _ => {}
        }
        let timestamps: RawTimestamps<'_> = read(timestamps)?;
        let timestamps = timestamps.rfc3161_timestamps.unwrap_or_default();
        if timestamps.count > MAX_TIMESTAMPS {
            return Err(EvidenceError::Timestamps {
                found: timestamps.count,
            });
        }
        Ok(Self {
            entries: entries
                .items
                .into_iter()
                .map(LogEntry::from_raw)
                .collect::<Result<_, _>>()?,
            timestamps: timestamps
                .items
                .iter()
                .map(|raw| bytes("signedTimestamp", &raw.signed_timestamp, MAX_TIMESTAMP))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The log entries that the bundle claims to have; at least one.
    pub fn claimed_entries(&self) -> &[LogEntry] {
        &self.entries
    }
}

impl LogEntry {
    fn from_raw(raw: RawEntry<'_>) -> Result<Self, EvidenceError> {
        let kind = raw.kind_version;
        for text in [&kind.kind, &kind.version] {
            if text.len() > MAX_KIND {
                return Err(EvidenceError::TooLarge {
                    member: "kindVersion",
                    max: MAX_KIND,
                });
            }
        }
        let proof = raw.inclusion_proof.ok_or(EvidenceError::NoProof)?;
        let checkpoint = proof
            .checkpoint
            .and_then(|checkpoint| checkpoint.envelope)
            .filter(|envelope| !envelope.is_empty())
            .ok_or(EvidenceError::NoCheckpoint)?;
        if checkpoint.len() > MAX_CHECKPOINT {
            return Err(EvidenceError::TooLarge {
                member: "checkpoint",
                max: MAX_CHECKPOINT,
            });
        }
        if proof.hashes.count > MAX_PROOF {
            return Err(EvidenceError::LongProof {
                found: proof.hashes.count,
            });
        }
        Ok(Self {
            kind: kind.kind.into_owned(),
            version: kind.version.into_owned(),
            log_id: hash("logId", &raw.log_id.key_id)?,
            log_index: index("logIndex", raw.log_index)?,
            integrated_time: raw.integrated_time.map(|time| time.0).filter(|&s| s != 0),
            promise: raw
                .inclusion_promise
                .map(|promise| {
                    let text = promise.signed_entry_timestamp;
                    bytes("signedEntryTimestamp", &text, MAX_PROMISE)
                })
                .transpose()?,
            proof: Proof {
                log_index: index("inclusionProof.logIndex", proof.log_index)?,
                tree_size: index("treeSize", proof.tree_size)?,
                root_hash: hash("rootHash", &proof.root_hash)?,
                hashes: proof
                    .hashes
                    .items
                    .iter()
                    .map(|text| hash("hashes", text))
                    .collect::<Result<_, _>>()?,
                checkpoint: checkpoint.into_owned(),
            },
            body: bytes("canonicalizedBody", &raw.canonicalized_body, MAX_LOG_BODY)?,
        })
    }

    /// The kind of the entry, such as `dsse`. A claim.
    pub fn claimed_kind(&self) -> &str {
        &self.kind
    }

    /// The version of that kind, such as `0.0.1`. A claim.
    pub fn claimed_version(&self) -> &str {
        &self.version
    }

    /// The number of the entry in its log. A claim.
    pub fn claimed_index(&self) -> u64 {
        self.log_index
    }

    /// When the log took the entry, in seconds since 1970. A claim.
    pub fn claimed_time(&self) -> Option<i64> {
        self.integrated_time
    }
}

/// Reads a member that may be absent, which is the same as `null` and as its empty value.
fn read<'a, T: Deserialize<'a> + Default>(json: Option<&'a RawValue>) -> Result<T, EvidenceError> {
    json.map_or_else(
        || Ok(T::default()),
        |json| strict::json_text(json.get()).map_err(EvidenceError::Json),
    )
}

fn bytes(member: &'static str, text: &str, max: usize) -> Result<Vec<u8>, EvidenceError> {
    // Base64 is longer than what it encodes, so this bounds the decoding too.
    if text.len() > max * 4 / 3 + 4 {
        return Err(EvidenceError::TooLarge { member, max });
    }
    base64::decode(text).ok_or(EvidenceError::Base64(member))
}

fn hash(member: &'static str, text: &str) -> Result<[u8; 32], EvidenceError> {
    bytes(member, text, 32)?
        .try_into()
        .map_err(|_| EvidenceError::Hash(member))
}

fn index(member: &'static str, number: Option<Int64>) -> Result<u64, EvidenceError> {
    u64::try_from(number.map_or(0, |number| number.0)).map_err(|_| EvidenceError::Negative(member))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry<'a> {
    log_index: Option<Int64>,
    #[serde(borrow)]
    log_id: RawLogId<'a>,
    #[serde(borrow)]
    kind_version: RawKind<'a>,
    integrated_time: Option<Int64>,
    #[serde(borrow)]
    inclusion_promise: Option<RawPromise<'a>>,
    #[serde(borrow)]
    inclusion_proof: Option<RawProof<'a>>,
    #[serde(borrow)]
    canonicalized_body: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLogId<'a> {
    #[serde(borrow)]
    key_id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct RawKind<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPromise<'a> {
    #[serde(borrow)]
    signed_entry_timestamp: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProof<'a> {
    log_index: Option<Int64>,
    #[serde(borrow)]
    root_hash: Cow<'a, str>,
    tree_size: Option<Int64>,
    #[serde(borrow, default)]
    hashes: Few<Cow<'a, str>, MAX_PROOF>,
    #[serde(borrow)]
    checkpoint: Option<RawCheckpoint<'a>>,
}

#[derive(Debug, Deserialize)]
struct RawCheckpoint<'a> {
    #[serde(borrow)]
    envelope: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
struct RawTimestamps<'a> {
    #[serde(borrow, rename = "rfc3161Timestamps")]
    rfc3161_timestamps: Option<Few<RawTimestamp<'a>, MAX_TIMESTAMPS>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTimestamp<'a> {
    #[serde(borrow)]
    signed_timestamp: Cow<'a, str>,
}

/// An `int64` in the JSON form of protocol buffers: a number, or the same in a string.
#[derive(Debug, Clone, Copy)]
struct Int64(i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Int64Visitor;

        impl Visitor<'_> for Int64Visitor {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an int64 as a number or a string")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Int64, E> {
                Ok(Int64(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int64, E> {
                i64::try_from(number).map(Int64).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
                text.parse().map(Int64).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Int64Visitor)
    }
}

/// Log entries or time stamps that can't be evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Not of this form. Escaped.
    #[error("the bundle's tlogEntries or timestampVerificationData are malformed: {0}")]
    Json(Escaped),
    /// No log has seen the signature.
    #[error("the bundle has a Sigstore certificate and no tlogEntries")]
    NoLogEntry,
    /// More than [`MAX_LOG_ENTRIES`].
    #[error("the bundle has {found} tlogEntries, at most {MAX_LOG_ENTRIES} are allowed")]
    LogEntries {
        /// Entries found.
        found: usize,
    },
    /// More than [`MAX_TIMESTAMPS`].
    #[error("the bundle has {found} rfc3161Timestamps, at most {MAX_TIMESTAMPS} are allowed")]
    Timestamps {
        /// Time stamps found.
        found: usize,
    },
    /// An entry that nothing shows to be in a log. Bundle v0.3 requires a proof with every entry.
    #[error("a log entry of the bundle has no inclusionProof")]
    NoProof,
    /// A proof that leads to an unsigned root.
    #[error("an inclusionProof of the bundle has no checkpoint")]
    NoCheckpoint,
    /// More than [`MAX_PROOF`] hashes.
    #[error("an inclusionProof of the bundle has {found} hashes, at most {MAX_PROOF} are allowed")]
    LongProof {
        /// Hashes found.
        found: usize,
    },
    /// A member over its bound.
    #[error("the bundle's {member} is larger than {max} bytes")]
    TooLarge {
        /// Its name in JSON.
        member: &'static str,
        /// The bound.
        max: usize,
    },
    /// The member named isn't base64.
    #[error("the bundle's {0} is not valid base64")]
    Base64(&'static str),
    /// The member named isn't a SHA-256 digest.
    #[error("the bundle's {0} is not 32 bytes long")]
    Hash(&'static str),
    /// The member named counts something and is below zero.
    #[error("the bundle's {0} is negative")]
    Negative(&'static str),
}
