//! The status of a mount: what it did and met.
//!
//! One type, [`Status`], is what the daemon fills in, what a mount tells as JSON
//! ([`STATUS_ATTRIBUTE`](super::STATUS_ATTRIBUTE)), and what programs parse that JSON into.
//!
//! Guarantees: what a mount tells is always JSON, and always short enough for an extended
//! attribute, whatever the model's names and paths are. File names, paths, digests found and all
//! that tells what the source holds are for the mount's owner and root alone: root may be able to
//! read bytes that the owner of the model directory can't, and a digest of them would tell that
//! owner what they are. Doesn't: prove anything.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::Escaped;
use crate::reading::ReaderStats;

/// Most bytes in the value of an extended attribute (`XATTR_SIZE_MAX`, `xattr(7)`).
const MAX_BYTES: usize = 64 << 10;

/// Most violations, and most errors of the source, in a status.
pub(super) const MAX_RECENT: usize = 32;

/// Whom something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The user who mounted, and root.
    Owner,
    /// Every other user whom the mount lets in.
    Others,
}

/// Where and how a model is mounted. Paths are shown as they are, but for what isn't Unicode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MountFacts {
    /// Absolute, without links.
    pub mountpoint: String,
    /// The model.
    pub source: String,
    /// Signed files that the mount doesn't show, because the user left them out.
    #[serde(default)]
    pub hidden_signed_files: usize,
    /// The first of them.
    #[serde(default)]
    pub hidden_signed_names: Vec<String>,
    /// Why reading could be faster.
    pub not_tuned: Option<String>,
    /// What an administrator could do about it.
    pub tuning_command: Option<String>,
    /// Why pages aren't put into the kernel's cache ahead of readers.
    pub not_pushed: Option<String>,
    /// How it is shown: `fuse`, or `pages` where the kernel reads through its own file system.
    #[serde(default)]
    pub lane: String,
    /// Why it isn't shown through the kernel's own file system.
    #[serde(default)]
    pub not_pages: Option<String>,
}

/// A mount that goes on when the process that serves it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Kept {
    /// The number of the process that keeps it.
    pub keeper: u32,
    /// Processes that served it before the one that does now.
    pub earlier_processes: u16,
    /// Upgrades that went well.
    #[serde(default)]
    pub upgrades: u32,
    /// Upgrades that failed.
    #[serde(default)]
    pub failed_upgrades: u32,
    /// Why the last of them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed_upgrade: Option<String>,
}

impl Kept {
    /// Kept by the process `keeper`, after so many others.
    pub fn new(keeper: u32, earlier_processes: u16) -> Self {
        Self {
            keeper,
            earlier_processes,
            upgrades: 0,
            failed_upgrades: 0,
            last_failed_upgrade: None,
        }
    }
}

impl MountFacts {
    /// Where the model `source` is mounted.
    pub fn new(mountpoint: &Path, source: &Path) -> Self {
        Self {
            // Escaped: a path may be no text, and JSON has nothing else.
            mountpoint: Escaped::path(mountpoint).to_string(),
            source: Escaped::path(source).to_string(),
            hidden_signed_files: 0,
            hidden_signed_names: Vec::new(),
            not_tuned: None,
            tuning_command: None,
            not_pushed: None,
            lane: "fuse".to_owned(),
            not_pages: None,
        }
    }
}

/// What a mount did and met. Fields that this version doesn't know are passed over when a status is
/// parsed, and those that an earlier version doesn't tell are empty or zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The signer.
    pub signer: String,
    /// The root digest of the signed model.
    pub root_digest: String,
    /// The digest of all that was signed, names included.
    #[serde(default)]
    pub payload_digest: String,
    /// Signed files that the mount shows.
    pub files: usize,
    /// The user who mounted it, as the kernel knows. Not the mount's word: a program that asked the
    /// kernel may add it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted_by: Option<u32>,
    /// Whether texts and lists were shortened, since there is more than fits into a status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
    /// For [`Audience::Others`] alone: requests that got no content, for whatever reason. The
    /// reason, and how often it was met, would tell whether something is there that only the owner
    /// may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    /// For [`Audience::Owner`] alone.
    #[serde(flatten)]
    pub owner: Option<OwnerStatus>,
}

/// Files that are hashed as a whole when they are first opened, as known when the mount was made.
/// How many bytes of them have been is [`ReaderStats::full_pass_bytes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToHash {
    /// How many they are.
    pub to_hash_files: usize,
    /// Their lengths, as the source claimed them then.
    pub to_hash_bytes: u64,
}

/// A full pass that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PassStatus {
    /// The file.
    pub file: String,
    /// Bytes hashed so far.
    pub hashed_bytes: u64,
    /// Bytes to hash.
    pub of_bytes: u64,
    /// The one in the other, rounded down.
    pub percent: u8,
    /// Bytes hashed in a second, since it began.
    pub bytes_per_second: u64,
}

impl PassStatus {
    pub(super) fn new(file: String, hashed: u64, len: u64, elapsed: Duration) -> Self {
        let of = |bytes: u64, whole: u128| u128::from(bytes) * whole;
        let percent = of(hashed, 100).checked_div(len.into()).unwrap_or(100);
        let rate = of(hashed, 1_000_000).checked_div(elapsed.as_micros());
        Self {
            file,
            hashed_bytes: hashed,
            of_bytes: len,
            percent: u8::try_from(percent.min(100)).unwrap_or(100),
            bytes_per_second: u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX),
        }
    }
}

/// How far the warm-up after mounting is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PrefetchStatus {
    /// What is done: `tables` or `all`.
    pub prefetch: String,
    /// Whether nothing more comes.
    pub prefetch_ended: bool,
    /// Files whose table was proved, or couldn't be.
    pub prefetch_files: u64,
    /// Files in all.
    pub prefetch_of_files: u64,
    /// Bytes that were read and verified, or couldn't be.
    pub prefetch_bytes: u64,
    /// Bytes in all; zero where only tables are proved.
    pub prefetch_of_bytes: u64,
    /// What couldn't be had of that, told as what readers meet.
    pub prefetch_failures: u64,
}

/// The part of a [`Status`] that is for the user who mounted, and root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerStatus {
    /// Whether a violation has ended all reading.
    pub locked_down: bool,
    /// Where and how it is mounted; `None` until the mount is complete.
    pub mount: Option<MountFacts>,
    /// Bytes of all files, proved or claimed when the mount was made.
    #[serde(default)]
    pub bytes: u64,
    /// Who keeps the mount alive, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// What has to be hashed before it can be read.
    #[serde(flatten)]
    pub to_hash: ToHash,
    /// What was read and verified.
    #[serde(flatten)]
    pub stats: ReaderStats,
    /// The full passes that are being made.
    #[serde(default)]
    pub full_passes_underway: Vec<PassStatus>,
    /// How many more wait for their turn.
    #[serde(default)]
    pub full_passes_waiting: usize,
    /// The warm-up, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<PrefetchStatus>,
    /// The last violations.
    #[serde(default)]
    pub recent_violations: Vec<String>,
    /// What the source didn't give, the last of it.
    #[serde(default)]
    pub recent_source_errors: Vec<String>,
    /// What was had after all, by a second read or from a second place, the last of it.
    #[serde(default)]
    pub recent_recoveries: Vec<String>,
}

/// Entries of a list, and characters of a text, that are left of a status that is too long. With
/// the last, no status is: there are few texts outside of lists.
const SHORTER: [(usize, usize); 4] = [(32, 512), (16, 256), (4, 128), (0, 128)];

/// The status as JSON, shortened where it wouldn't fit; then `shortened` is true.
pub(super) fn within_bounds(status: &Status) -> String {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    let mut text = value.to_string();
    for (entries, chars) in SHORTER {
        if text.len() <= MAX_BYTES {
            break;
        }
        shorten(&mut value, entries, chars);
        if let Value::Object(facts) = &mut value {
            facts.insert("shortened".to_owned(), true.into());
        }
        text = value.to_string();
    }
    text
}

/// Leaves so many entries of each list, and so many characters of each text.
fn shorten(value: &mut Value, entries: usize, chars: usize) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(chars) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(values) => {
            values.truncate(entries);
            for value in values {
                shorten(value, entries, chars);
            }
        }
        Value::Object(values) => {
            for value in values.values_mut() {
                shorten(value, entries, chars);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_owner(signer: String, owner: OwnerStatus) -> Status {
        Status {
            signer,
            root_digest: format!("sha256:{}", "0".repeat(64)),
            payload_digest: format!("sha256:{}", "0".repeat(64)),
            files: 1,
            mounted_by: None,
            shortened: false,
            failures: None,
            owner: Some(owner),
        }
    }

    /// A status with so many violations of files with names of 4095 bytes, each of which JSON
    /// writes in the most bytes.
    fn status(facts: &MountFacts, violations: usize) -> String {
        let long = "\u{1}".repeat(4095);
        let owner = OwnerStatus {
            kept: None,
            locked_down: true,
            mount: Some(facts.clone()),
            bytes: u64::MAX,
            to_hash: ToHash::default(),
            stats: ReaderStats::default(),
            full_passes_underway: Vec::new(),
            full_passes_waiting: 0,
            warm_up: None,
            recent_violations: vec![long.clone(); violations],
            recent_source_errors: vec![long.clone(); violations],
            recent_recoveries: vec![long.clone(); violations],
        };
        within_bounds(&for_owner(long.repeat(10), owner))
    }

    #[test]
    fn a_status_that_is_too_long_is_shortened() {
        let path = "\u{1}/".repeat(2047);
        let mut facts = MountFacts::new(Path::new(&path), Path::new(&path));
        facts.tuning_command = Some(path.clone());
        for violations in [0, 1, 5, 32] {
            let text = status(&facts, violations);
            assert!(text.len() <= MAX_BYTES, "{}", text.len());
            let status: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(status["shortened"], true);
            assert_eq!(status["bytes"], u64::MAX);
            // What identifies the model stays whole.
            assert_eq!(status["root_digest"].as_str().unwrap().len(), 71);
            assert!(
                status["mount"]["source"]
                    .as_str()
                    .unwrap()
                    .starts_with("\\u{1}")
            );
            let recent = status["recent_violations"].as_array().unwrap();
            assert_eq!(recent.is_empty(), violations == 0, "{violations}");
        }
    }

    #[test]
    fn a_status_that_fits_is_whole() {
        let facts = MountFacts::new(Path::new("/mnt"), Path::new("/model"));
        let owner = OwnerStatus {
            kept: None,
            locked_down: false,
            mount: Some(facts),
            bytes: 1,
            to_hash: ToHash::default(),
            stats: ReaderStats::default(),
            full_passes_underway: Vec::new(),
            full_passes_waiting: 0,
            warm_up: None,
            recent_violations: vec!["x".repeat(1000); MAX_RECENT],
            recent_source_errors: Vec::new(),
            recent_recoveries: Vec::new(),
        };
        let text = within_bounds(&for_owner("key".to_owned(), owner));
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["shortened"], Value::Null);
        let recent = status["recent_violations"].as_array().unwrap();
        assert_eq!(recent.len(), MAX_RECENT);
        assert!(
            recent
                .iter()
                .all(|text| text.as_str().unwrap().len() == 1000)
        );
    }

    #[test]
    fn a_status_is_parsed_as_it_was_told() {
        let stats = ReaderStats {
            source_bytes: u64::MAX,
            violations: 3,
            ..ReaderStats::default()
        };
        let owner = OwnerStatus {
            kept: None,
            locked_down: true,
            mount: None,
            bytes: 7,
            to_hash: ToHash {
                to_hash_files: 2,
                to_hash_bytes: 5,
            },
            stats,
            full_passes_underway: vec![PassStatus::new(
                "a".to_owned(),
                1,
                3,
                Duration::from_secs(2),
            )],
            full_passes_waiting: 1,
            warm_up: Some(PrefetchStatus::default()),
            recent_violations: vec!["one".to_owned()],
            recent_source_errors: Vec::new(),
            recent_recoveries: Vec::new(),
        };
        let mut full = for_owner("key".to_owned(), owner);
        let mut public = full.clone();
        (public.owner, public.failures) = (None, Some(2));
        let text = within_bounds(&full);
        let parse = |text: &str| serde_json::from_str::<Status>(text).unwrap();
        assert_eq!(parse(&text), full);
        let told = within_bounds(&public);
        assert_eq!(parse(&told), public);
        assert!(
            !told.contains("bytes") && !told.contains("locked"),
            "{told}"
        );
        let owner = full.owner.as_mut().unwrap();
        owner.mount = Some(MountFacts::new(Path::new("/mnt"), Path::new("/model")));
        full.shortened = true;
        full.mounted_by = Some(1000);
        assert_eq!(parse(&within_bounds(&full)), full);
    }

    #[test]
    fn a_pass_has_a_percentage_and_a_rate_whatever_its_length() {
        let second = Duration::from_secs(1);
        let pass = |hashed, len, elapsed| {
            let pass = PassStatus::new(String::new(), hashed, len, elapsed);
            (pass.percent, pass.bytes_per_second)
        };
        assert_eq!(pass(0, 0, Duration::ZERO), (100, 0));
        assert_eq!(pass(1, 3, 2 * second), (33, 0));
        assert_eq!(pass(999, 1000, second / 2), (99, 1998));
        assert_eq!(pass(u64::MAX, u64::MAX, second), (100, u64::MAX));
    }

    #[test]
    fn a_status_of_another_version_is_parsed_as_far_as_it_is_known() {
        let text = r#"{"signer": "key", "root_digest": "r", "payload_digest": "p", "files": 2,
            "locked_down": false, "source_bytes": 5, "from_later": {"a": [1]}, "mount": null}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        let owner = status.owner.unwrap();
        assert_eq!((owner.stats.source_bytes, owner.stats.violations), (5, 0));
        assert!(owner.mount.is_none() && !status.shortened);
    }
}
