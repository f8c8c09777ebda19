//! The status of a mount: what it did and met.
//!
//! Guarantees: always JSON, and always short enough for an extended attribute, whatever the model's
//! names and paths are. File names, paths, digests found and all that tells what the source holds are
//! for the mount's owner and root alone: a digest of bytes that root can read, and whoever owns the model
//! directory can't, would be an oracle for them. Doesn't: prove anything.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::FileSystem;
use crate::name::Escaped;
use crate::reading::{ReaderStats, SourceFailure, Violation};

/// Most bytes in the value of an extended attribute (`XATTR_SIZE_MAX`, `xattr(7)`).
const MAX_BYTES: usize = 64 << 10;

/// Most violations, and most errors of the source, in a status.
const MAX_RECENT: usize = 32;

/// Whom something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The user who mounted, and root.
    Owner,
    /// Everybody else whom the mount lets in.
    Others,
}

/// What only the program that mounts knows. Paths are shown as they are, but for what isn't Unicode.
#[derive(Debug, Clone, Serialize)]
pub struct MountFacts {
    /// Absolute, without links.
    pub mountpoint: String,
    /// The model.
    pub source: String,
    /// Signed files that the mount doesn't show, because the user left them out.
    pub hidden_signed_files: usize,
    /// The first of them.
    pub hidden_signed_names: Vec<String>,
    /// Why reading could be faster.
    pub not_tuned: Option<String>,
    /// What an administrator could do about it.
    pub tuning_command: Option<String>,
    /// Why pages aren't put into the kernel's cache ahead of readers.
    pub not_pushed: Option<String>,
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
        }
    }
}

/// The status as it is told.
#[derive(Debug, Serialize)]
struct Status<'a> {
    signer: String,
    root_digest: String,
    payload_digest: String,
    files: usize,
    #[serde(flatten)]
    told: Told<'a>,
}

/// What depends on who asks.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Owner {
        /// Whether a violation has ended all reading.
        locked_down: bool,
        mount: Option<&'a MountFacts>,
        bytes: u64,
        #[serde(flatten)]
        stats: ReaderStats,
        recent_violations: Vec<String>,
        recent_source_errors: Vec<String>,
    },
    Others {
        /// Requests that got no content, whatever was the matter: what it was, and how often it was met,
        /// would tell whether something is there that only the owner may see.
        failures: u64,
    },
}

impl FileSystem {
    /// What the mount did and met, as JSON.
    pub(super) fn status(&self, audience: Audience) -> String {
        let manifest = self.reader.manifest();
        let told = match audience {
            Audience::Owner => Told::Owner {
                locked_down: self.lockdown.is_met(),
                mount: self.mount_facts.get(),
                bytes: self.claimed_bytes(),
                stats: self.reader.stats(),
                recent_violations: texts(&self.reader.violations().recent(), Violation::to_string),
                recent_source_errors: texts(
                    &self.reader.source_errors().recent(),
                    SourceFailure::to_string,
                ),
            },
            Audience::Others => Told::Others {
                failures: self.failures.load(Ordering::Relaxed),
            },
        };
        within_bounds(&Status {
            signer: manifest.signer().to_string(),
            root_digest: manifest.root_digest().to_string(),
            payload_digest: manifest.payload_digest().to_string(),
            files: manifest.files().len(),
            told,
        })
    }
}

fn texts<T>(recent: &[T], text: impl Fn(&T) -> String) -> Vec<String> {
    recent.iter().take(MAX_RECENT).map(text).collect()
}

/// Entries of a list, and characters of a text, that are left of a status that is too long. With the
/// last, no status is: there are few texts outside of lists.
const SHORTER: [(usize, usize); 4] = [(32, 512), (16, 256), (4, 128), (0, 128)];

/// The status as JSON, shortened where it wouldn't fit; then `shortened` is true.
fn within_bounds(status: &Status<'_>) -> String {
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

    /// A status with so many violations of files with names of 4095 bytes, each of which JSON writes
    /// in the most bytes.
    fn status(facts: &MountFacts, violations: usize) -> String {
        let long = "\u{1}".repeat(4095);
        within_bounds(&Status {
            signer: long.repeat(10),
            root_digest: format!("sha256:{}", "0".repeat(64)),
            payload_digest: format!("sha256:{}", "0".repeat(64)),
            files: 1,
            told: Told::Owner {
                locked_down: true,
                mount: Some(facts),
                bytes: u64::MAX,
                stats: ReaderStats::default(),
                recent_violations: vec![long.clone(); violations],
                recent_source_errors: vec![long; violations],
            },
        })
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
        let text = within_bounds(&Status {
            signer: "key".to_owned(),
            root_digest: "sha256:00".to_owned(),
            payload_digest: "sha256:00".to_owned(),
            files: 1,
            told: Told::Owner {
                locked_down: false,
                mount: Some(&facts),
                bytes: 1,
                stats: ReaderStats::default(),
                recent_violations: vec!["x".repeat(1000); MAX_RECENT],
                recent_source_errors: Vec::new(),
            },
        });
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
}
