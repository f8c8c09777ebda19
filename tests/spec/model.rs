//! What a reader finds out about a model, in the form that vectors state it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A range that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// What comes of reading a range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// `"error"`.
    Word(String),
    /// Bytes.
    Bytes {
        len: usize,
        sha256: String,
        #[serde(default)]
        or_error: bool,
    },
}

impl Outcome {
    pub(crate) fn error() -> Self {
        Self::Word("error".to_owned())
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::Bytes {
            len: bytes.len(),
            sha256: hex::encode(Sha256::digest(bytes)),
            or_error: false,
        }
    }

    /// Whether this was found where `stated` is expected.
    pub(crate) fn fits(&self, stated: &Self) -> bool {
        match stated {
            Self::Bytes {
                len,
                sha256,
                or_error: true,
            } => {
                let bytes = Self::Bytes {
                    len: *len,
                    sha256: sha256.clone(),
                    or_error: false,
                };
                *self == bytes || *self == Self::error()
            }
            stated => self == stated,
        }
    }
}

/// The three ways to read a range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Outcomes {
    /// With the tables, and without a full pass.
    pub(crate) lazy: Outcome,
    /// With the tables, and with a full pass where one is needed.
    pub(crate) tables: Outcome,
    /// Without the tables.
    pub(crate) bare: Outcome,
}

/// The exit code of each verdict.
pub(crate) fn exit_code(verdict: &str) -> i32 {
    match verdict {
        "ok" => 0,
        "signature" | "statement" => 3,
        "content" => 4,
        other => panic!("no verdict is called {other:?}"),
    }
}

/// Where a model's tables lie.
pub(crate) fn tables_of(model: &Path) -> PathBuf {
    model.join(".model-fs")
}

/// Hides the tables of a model for as long as it lives.
pub(crate) struct WithoutTables {
    place: PathBuf,
    hidden: Option<PathBuf>,
}

impl WithoutTables {
    pub(crate) fn of(model: &Path) -> Self {
        let place = tables_of(model);
        let hidden = model.with_extension("tables");
        let hidden = std::fs::rename(&place, &hidden).is_ok().then_some(hidden);
        Self { place, hidden }
    }
}

impl Drop for WithoutTables {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            std::fs::rename(hidden, &self.place).expect("put the tables back");
        }
    }
}
