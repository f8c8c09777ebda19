//! Kernel settings of a mount that make it fast.
//!
//! Guarantees: nothing but the settings of the given mount is changed, and a setting is never made
//! smaller. Doesn't: fail; what couldn't be done comes back as data, with the command for an
//! administrator.

use std::io;
use std::path::{Path, PathBuf};

use super::mountinfo::DeviceId;
use crate::name::Escaped;

/// How far the kernel reads ahead in a sequentially read file, in KiB.
///
/// FUSE starts with 128 KiB, so that one reader waits for one small request after the other. With 2
/// MiB two requests of the largest size are under way at a time, and two more are on their way.
/// More is no faster for one reader, and slower for many: sixteen of them queue up behind one
/// another's.
pub const READ_AHEAD_KIB: u64 = 2048;

/// Largest read request, in pages, that a mount made from now on may negotiate.
const MAX_PAGES: &str = "/proc/sys/fs/fuse/max_pages_limit";

/// What became of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was large enough already.
    Enough,
    /// It was raised.
    Raised {
        /// What it was.
        from: u64,
    },
    /// It couldn't be.
    Refused {
        /// What it is, if that could be read.
        at: Option<u64>,
        /// The kernel's reason.
        reason: String,
    },
}

/// What the kernel was told about a mount, and what it wouldn't hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuningReport {
    /// The file that holds the read-ahead of the mount.
    pub read_ahead_file: PathBuf,
    /// Whether it was raised to [`READ_AHEAD_KIB`].
    pub read_ahead: Outcome,
    /// What it is, if that can be read.
    pub read_ahead_kib: Option<u64>,
    /// The machine's bound for one request, in pages; `None` before Linux 6.13, where it is 256.
    pub max_pages_limit: Option<u64>,
}

impl TuningReport {
    /// The same as things are now: an administrator may have changed the setting since.
    #[must_use]
    pub fn now(&self) -> Self {
        let at = number(&self.read_ahead_file).ok();
        let reason = match &self.read_ahead {
            Outcome::Refused { reason, .. } => reason,
            Outcome::Enough | Outcome::Raised { .. } => "it was changed since",
        };
        let read_ahead = match at {
            Some(READ_AHEAD_KIB..) => Outcome::Enough,
            Some(_) => Outcome::Refused {
                at,
                reason: reason.to_owned(),
            },
            None => self.read_ahead.clone(),
        };
        Self {
            read_ahead,
            read_ahead_kib: at,
            ..self.clone()
        }
    }

    /// What wasn't possible, and why.
    pub fn shortfall(&self) -> Option<String> {
        let Outcome::Refused { at, reason } = &self.read_ahead else {
            return None;
        };
        Some(match at {
            Some(at) => format!("the kernel reads ahead {at} KiB, not {READ_AHEAD_KIB}: {reason}"),
            None => format!("the kernel's read-ahead can't be told: {reason}"),
        })
    }

    /// A command that an administrator may run to make up for what was refused.
    pub fn command(&self) -> Option<String> {
        match self.read_ahead {
            Outcome::Refused { .. } => Some(format!(
                "echo {READ_AHEAD_KIB} | sudo tee {}",
                Escaped::path(&self.read_ahead_file)
            )),
            Outcome::Enough | Outcome::Raised { .. } => None,
        }
    }
}

/// Tunes the mounted file system `device`.
pub fn tune(device: DeviceId) -> TuningReport {
    tune_file(PathBuf::from(format!(
        "/sys/class/bdi/{device}/read_ahead_kb"
    )))
}

/// Tunes the mounted file system whose read-ahead is in this file.
pub(super) fn tune_file(file: PathBuf) -> TuningReport {
    TuningReport {
        read_ahead: raise(&file, READ_AHEAD_KIB),
        read_ahead_kib: number(&file).ok(),
        read_ahead_file: file,
        max_pages_limit: number(Path::new(MAX_PAGES)).ok(),
    }
}

fn raise(file: &Path, wanted: u64) -> Outcome {
    let at = match number(file) {
        Ok(at) if at >= wanted => return Outcome::Enough,
        Ok(at) => at,
        Err(error) => {
            return Outcome::Refused {
                at: None,
                reason: error.to_string(),
            };
        }
    };
    match std::fs::write(file, wanted.to_string()) {
        Ok(()) => Outcome::Raised { from: at },
        Err(error) => Outcome::Refused {
            at: Some(at),
            reason: error.to_string(),
        },
    }
}

fn number(file: &Path) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("read_ahead_kb");
        for (before, outcome, after) in [
            ("128\n", Outcome::Raised { from: 128 }, "2048"),
            ("2047", Outcome::Raised { from: 2047 }, "2048"),
            ("2048\n", Outcome::Enough, "2048\n"),
            ("99999\n", Outcome::Enough, "99999\n"),
        ] {
            std::fs::write(&file, before).unwrap();
            assert_eq!(raise(&file, READ_AHEAD_KIB), outcome);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        }
    }

    #[test]
    fn what_an_administrator_changes_later_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("read_ahead_kb");
        std::fs::write(&file, "128").unwrap();
        let raised = tune_file(file.clone());
        let (enough, changed) = (Outcome::Enough, "it was changed since".to_owned());
        for (content, read_ahead, kib) in [
            ("4096", enough.clone(), Some(4096)),
            (
                "64",
                Outcome::Refused {
                    at: Some(64),
                    reason: changed,
                },
                Some(64),
            ),
            ("2048", enough, Some(2048)),
            ("?", Outcome::Raised { from: 128 }, None),
        ] {
            std::fs::write(&file, content).unwrap();
            let now = raised.now();
            assert_eq!((now.read_ahead, now.read_ahead_kib), (read_ahead, kib));
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_with_its_command() {
        let report = tune(DeviceId {
            major: u32::MAX,
            minor: 7,
        });
        assert!(matches!(
            report.read_ahead,
            Outcome::Refused { at: None, .. }
        ));
        assert!(report.shortfall().is_some());
        assert_eq!(
            report.command().unwrap(),
            "echo 2048 | sudo tee /sys/class/bdi/4294967295:7/read_ahead_kb"
        );
    }
}
