//! What `attest` states: the status of a mount, as the predicate of an in-toto statement.
//!
//! Guarantees: it says whose word it is, since when what is counted was counted, and what isn't
//! known; texts are harmless to a terminal. Doesn't: decide whether that word is to be believed, or
//! prove any of it: all of it is what the process that serves the mount has told.

use anyhow::Context as _;
use jiff::Timestamp;
use model_fs::digest::{Algorithm, Digest};
use model_fs::fs::{MountFacts, OwnerStatus, Status, TrustDecision};
use model_fs::name::Escaped;
use model_fs::oms::key::SigningKey;
use model_fs::oms::sign::{AttestError, Attestation};
use serde::Serialize;
use serde_json::Value;

/// The type of the predicate, which docs/format.md describes.
pub(crate) const PREDICATE_TYPE: &str = "https://model-fs/served/v1";

/// What the statement amounts to.
const CLAIM: &str = "The holder of the key that signed this states what the process that serves \
                     this mount told of its own work. Nobody else has checked it.";

/// What isn't known where other processes served the mount before.
const NOT_COUNTED: &str = "what the earlier processes of this mount did and met isn't known";

/// What is stated of a mount.
#[derive(Debug)]
pub(crate) struct Served {
    model_name: String,
    root_digest: Digest,
    predicate: Value,
}

#[derive(Serialize)]
struct Predicate<'a> {
    claim: &'static str,
    stated_at: Timestamp,
    model: ModelPart<'a>,
    signer: SignerPart<'a>,
    mount: MountPart<'a>,
    process: ProcessPart<'a>,
    counts: Counts,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    recent_violations: &'a [String],
}

#[derive(Serialize)]
struct ModelPart<'a> {
    name: &'a str,
    root_digest: Sha256,
    payload_digest: Sha256,
    bundle_digest: Sha256,
    files: usize,
    hidden_signed_files: usize,
}

/// A set of digests, as in-toto writes it.
#[derive(Serialize)]
struct Sha256 {
    sha256: String,
}

#[derive(Serialize)]
struct SignerPart<'a> {
    name: &'a str,
    method: &'a str,
    #[serde(flatten)]
    trust: &'a TrustDecision,
}

#[derive(Serialize)]
struct MountPart<'a> {
    mountpoint: &'a str,
    lane: &'a str,
    since: Timestamp,
    locked_down: bool,
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    program: &'static str,
    version: &'a str,
    since: Timestamp,
    earlier_processes: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_counted: Option<&'static str>,
}

/// What was counted since the process began: the numbers of the status of these names.
#[derive(Serialize)]
struct Counts {
    verified_bytes: u64,
    verified_chunks: u64,
    delivered_bytes: u64,
    pushed_bytes: u64,
    source_bytes: u64,
    cache_hits: u64,
    full_passes: u64,
    full_pass_bytes: u64,
    violations: u64,
    violation_retries: u64,
    source_errors: u64,
    repaired_chunks: u64,
    transfer_errors: u64,
}

impl Counts {
    fn of(owner: &OwnerStatus) -> Self {
        let stats = &owner.stats;
        Self {
            verified_bytes: stats.verified_bytes,
            verified_chunks: stats.verified_chunks,
            delivered_bytes: stats.delivered_bytes,
            pushed_bytes: stats.pushed_bytes,
            source_bytes: stats.source_bytes,
            cache_hits: stats.cache_hits,
            full_passes: stats.full_passes,
            full_pass_bytes: stats.full_pass_bytes,
            violations: stats.violations,
            violation_retries: stats.violation_retries,
            source_errors: stats.source_errors,
            repaired_chunks: stats.repaired_chunks,
            transfer_errors: stats.transfer_errors,
        }
    }
}

impl Served {
    /// What a full status says, at this moment. An error for one that lacks some of it, as those of
    /// earlier versions do.
    pub(crate) fn new(
        status: &Status,
        owner: &OwnerStatus,
        stated_at: Timestamp,
    ) -> anyhow::Result<Self> {
        const LACKS: &str = "the process that serves the mount doesn't tell all that is stated";
        let mount: &MountFacts = owner.mount.as_ref().context(LACKS)?;
        let earlier_processes = owner.kept.as_ref().map_or(0, |kept| kept.earlier_processes);
        let root_digest = sha256(&status.root_digest).context(LACKS)?;
        let digest = |text| {
            let sha256 = sha256(text).context(LACKS)?.to_hex();
            anyhow::Ok(Sha256 { sha256 })
        };
        let predicate = Predicate {
            claim: CLAIM,
            stated_at,
            model: ModelPart {
                name: &status.model_name,
                root_digest: digest(&status.root_digest)?,
                payload_digest: digest(&status.payload_digest)?,
                bundle_digest: digest(&status.bundle_digest)?,
                files: status.files,
                hidden_signed_files: mount.hidden_signed_files,
            },
            signer: SignerPart {
                name: &status.signer,
                method: &status.method,
                trust: owner.trust.as_ref().context(LACKS)?,
            },
            mount: MountPart {
                mountpoint: &mount.mountpoint,
                lane: &mount.lane,
                since: mount.since.context(LACKS)?,
                locked_down: owner.locked_down,
            },
            process: ProcessPart {
                program: "model-fs",
                version: &owner.version,
                since: mount.process_since.context(LACKS)?,
                earlier_processes,
                not_counted: (earlier_processes > 0).then_some(NOT_COUNTED),
            },
            counts: Counts::of(owner),
            recent_violations: &owner.recent_violations,
        };
        let mut predicate = serde_json::to_value(predicate)?;
        escape(&mut predicate);
        Ok(Self {
            model_name: Escaped::again(&status.model_name).to_string(),
            root_digest,
            predicate,
        })
    }

    /// The statement in an envelope, signed.
    pub(crate) fn sign(&self, key: &dyn SigningKey) -> Result<Vec<u8>, AttestError> {
        let attestation = Attestation {
            model_name: &self.model_name,
            root_digest: self.root_digest,
            predicate_type: PREDICATE_TYPE,
            predicate: &self.predicate,
        };
        attestation.sign(key)
    }
}

/// A digest as a status has it: `sha256:` and hexadecimal digits.
fn sha256(text: &str) -> Option<Digest> {
    let (algorithm, hex) = text.split_once(':')?;
    let is_it = Algorithm::from_name(algorithm) == Ok(Algorithm::Sha256);
    let digest = Digest::from_hex(Algorithm::Sha256, hex);
    is_it.then(|| digest.ok()).flatten()
}

/// Names are escaped where the status is made. Whoever forges one may not.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = Escaped::again(text).to_string(),
        Value::Array(values) => values.iter_mut().for_each(escape),
        Value::Object(values) => values.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served(change: impl FnOnce(&mut Value)) -> anyhow::Result<Served> {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let mut status = json!({
            "model_name": "llama", "signer": "key ab", "method": "key", "files": 2,
            "root_digest": digest("1"), "payload_digest": digest("2"),
            "bundle_digest": digest("3"), "version": "0.1.0", "locked_down": false,
            "trust": {"trusted_by": "mount-options", "key": "ab"},
            "mount": {
                "mountpoint": "/mnt", "source": "/secret", "lane": "fuse",
                "since": "2026-11-30T00:00:00Z", "process_since": "2026-11-30T00:00:05Z",
            },
            "verified_bytes": 10, "verified_chunks": 2, "delivered_bytes": 9,
        });
        change(&mut status);
        let status: Status = serde_json::from_value(status)?;
        let owner = status.owner.as_ref().expect("a full one");
        Served::new(&status, owner, "2026-12-01T00:00:00Z".parse()?)
    }

    #[test]
    fn a_statement_says_what_the_mount_told_and_whose_word_it_is() {
        let stated = served(|_| ()).unwrap().predicate;
        let digest = |digit: &str| json!({"sha256": digit.repeat(64)});
        let expected = json!({
            "claim": CLAIM,
            "stated_at": "2026-12-01T00:00:00Z",
            "model": {
                "name": "llama", "root_digest": digest("1"), "payload_digest": digest("2"),
                "bundle_digest": digest("3"), "files": 2, "hidden_signed_files": 0,
            },
            "signer": {
                "name": "key ab", "method": "key", "trusted_by": "mount-options", "key": "ab",
            },
            "mount": {
                "mountpoint": "/mnt", "lane": "fuse", "since": "2026-11-30T00:00:00Z",
                "locked_down": false,
            },
            "process": {
                "program": "model-fs", "version": "0.1.0", "since": "2026-11-30T00:00:05Z",
                "earlier_processes": 0,
            },
            "counts": {
                "verified_bytes": 10, "verified_chunks": 2, "delivered_bytes": 9,
                "pushed_bytes": 0, "source_bytes": 0, "cache_hits": 0, "full_passes": 0,
                "full_pass_bytes": 0, "violations": 0, "violation_retries": 0,
                "source_errors": 0, "repaired_chunks": 0, "transfer_errors": 0,
            },
        });
        assert_eq!(stated, expected);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let kept = json!({"keeper": 7, "earlier_processes": 2});
        let stated = served(|status| status["kept"] = kept).unwrap().predicate;
        assert_eq!(stated["process"]["earlier_processes"], 2);
        assert_eq!(stated["process"]["not_counted"], NOT_COUNTED);
    }

    #[test]
    fn a_status_that_lacks_something_or_is_malformed_is_not_stated() {
        for pointer in ["/trust", "/mount", "/mount/since", "/mount/process_since"] {
            let without = |status: &mut Value| *status.pointer_mut(pointer).unwrap() = Value::Null;
            assert!(served(without).is_err(), "{pointer}");
        }
        for member in ["root_digest", "payload_digest", "bundle_digest"] {
            for text in ["", "sha256:", "blake3:11", "sha256:zz"] {
                let other = |status: &mut Value| status[member] = text.into();
                assert!(served(other).is_err(), "{member} {text}");
            }
        }
    }

    #[test]
    fn texts_are_escaped_whoever_told_them() {
        let hostile = "\u{1b}[2J\u{202e}";
        let told = served(|status| {
            status["model_name"] = hostile.into();
            status["signer"] = hostile.into();
            status["trust"]["key"] = hostile.into();
            status["recent_violations"] = json!([hostile]);
        });
        let told = told.unwrap();
        let escaped = "\\u{1b}[2J\\u{202e}";
        assert_eq!(told.model_name, escaped);
        assert_eq!(told.predicate["signer"]["name"], escaped);
        assert_eq!(told.predicate["signer"]["key"], escaped);
        assert_eq!(told.predicate["recent_violations"][0], escaped);
    }
}
