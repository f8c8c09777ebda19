//! What `sigstore-verify` leaves open about log entries.
//!
//! Guarantees, of an entry that [`check`] accepts: it is of a kind that can be verified, and its
//! body says the same; the checkpoint is signed by the very log that the entry names, and is of the
//! tree that the proof is about; the body of an `intoto` entry holds the signing certificate, not
//! just its key.
//!
//! Doesn't: check the inclusion proof, the signed entry timestamp, or that the body is about the
//! envelope: `sigstore-verify` does, and accepts a checkpoint of any trusted log.

use serde::Deserialize;
use sigstore_verify::rekor::body::RekorEntryBody;
use sigstore_verify::types::{CanonicalizedBody, Checkpoint, KindVersion};

use super::trusted_root::{BUILT_IN_SINCE, Log, TrustedRoot};
use crate::oms::bundle::LogEntry;
use crate::oms::wire::strict;

/// The kinds of log entry that can be verified, for messages.
pub(super) const KINDS: &str = "dsse 0.0.1, intoto 0.0.2 and hashedrekord 0.0.2";

/// The kind of an entry; `None` if it can't be verified, or can't be of a DSSE envelope.
pub(super) fn kind(entry: &LogEntry) -> Option<KindVersion> {
    match (&*entry.kind, &*entry.version) {
        ("dsse", "0.0.1") => Some(KindVersion::DsseV001),
        ("intoto", "0.0.2") => Some(KindVersion::IntotoV002),
        ("hashedrekord", "0.0.2") => Some(KindVersion::HashedRekordV002),
        _ => None,
    }
}

/// Whether the log signed the entry's `logIndex`: in a signed entry timestamp, or, with Rekor v2,
/// as the place in the tree.
pub(super) fn proves_index(entry: &LogEntry, kind: KindVersion) -> bool {
    entry.promise.is_some() || kind == KindVersion::HashedRekordV002
}

/// Checks what this module guarantees, and gives the log.
pub(super) fn check<'a>(
    entry: &LogEntry,
    kind: KindVersion,
    certificate: &[u8],
    root: &'a TrustedRoot,
) -> Result<&'a Log, EntryRule> {
    let log = root.log(&entry.log_id).ok_or_else(|| {
        let id = hex::encode(entry.log_id);
        if root.is_built_in() {
            EntryRule::NewerLog { id }
        } else {
            EntryRule::UnknownLog { id }
        }
    })?;
    check_body(entry, kind, certificate)?;
    check_checkpoint(entry, kind, log)?;
    Ok(log)
}

fn check_body(entry: &LogEntry, kind: KindVersion, certificate: &[u8]) -> Result<(), EntryRule> {
    let header: RawBody = strict::json(&entry.body).map_err(|_| EntryRule::Body)?;
    if header.kind != kind.kind() || header.api_version != kind.version() {
        return Err(EntryRule::Kind);
    }
    if kind == KindVersion::IntotoV002 {
        let body = CanonicalizedBody::new(entry.body.clone());
        let Ok(RekorEntryBody::IntotoV002(body)) = RekorEntryBody::parse(&body, kind) else {
            return Err(EntryRule::Body);
        };
        let logged = match body.spec.content.envelope.signatures.as_slice() {
            [signature] => signature.parse_certificate().ok(),
            _ => None,
        };
        if logged.is_none_or(|logged| logged.as_bytes() != certificate) {
            return Err(EntryRule::Certificate);
        }
    }
    Ok(())
}

fn check_checkpoint(entry: &LogEntry, kind: KindVersion, log: &Log) -> Result<(), EntryRule> {
    let checkpoint =
        Checkpoint::from_text(&entry.proof.checkpoint).map_err(|_| EntryRule::Checkpoint)?;
    // The hint is not unique: another signature may have it too.
    let signed = checkpoint
        .signatures()
        .iter()
        .filter(|signature| signature.key_id.as_bytes()[..] == log.id[..4])
        .any(|signature| {
            log.key
                .verify(checkpoint.signed_data(), &signature.signature)
                .is_ok()
        });
    if !signed {
        return Err(EntryRule::CheckpointSignature);
    }
    // Rekor v2 takes the size from the checkpoint and leaves the proof's unused.
    if kind != KindVersion::HashedRekordV002 && checkpoint.tree_size() != entry.proof.tree_size {
        return Err(EntryRule::TreeSize);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBody {
    kind: String,
    api_version: String,
}

/// The rules for a log entry, beside those of `sigstore-verify`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryRule {
    /// Not a log of the trusted root.
    #[error("it is of the log {id}, which is not trusted")]
    UnknownLog {
        /// The log's identifier, in hexadecimal.
        id: String,
    },
    /// Not a log of the built-in root, which may be older than the log.
    #[error(
        "it is of the log {id}, which the built-in keys of Sigstore, of {BUILT_IN_SINCE}, don't \
         know; if it is a new log of Sigstore's, a newer release of model-fs knows it, and so does \
         Sigstore's current trusted_root.json"
    )]
    NewerLog {
        /// The log's identifier, in hexadecimal.
        id: String,
    },
    /// Not JSON of the entry's kind.
    #[error("its body is malformed")]
    Body,
    /// What was logged is of another kind than the bundle says.
    #[error("its body is of another kind or version than the bundle says")]
    Kind,
    /// The logged certificate is another one.
    #[error("its body holds another certificate than the bundle")]
    Certificate,
    /// Not a signed note.
    #[error("its checkpoint is malformed")]
    Checkpoint,
    /// Not signed by the log, or changed.
    #[error("its checkpoint is not signed by the log that it names")]
    CheckpointSignature,
    /// The checkpoint is of another tree than the proof.
    #[error("its checkpoint and its inclusion proof differ in the size of the tree")]
    TreeSize,
    /// The log's key was not in use.
    #[error("its log's key was not valid at the signing time")]
    KeyTime,
}
