//! What is wrong with a trust store.

use std::io;
use std::path::Path;

use super::resolve::{FileRule, ReadError};
use super::signer::{SignerName, SignerRule};
use crate::name::Escaped;

/// Most signers in one file.
pub const MAX_SIGNERS: usize = 1000;

/// A trust store that can't be used. Paths are escaped.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct TrustStoreError {
    /// The file.
    pub path: Escaped,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

impl TrustStoreError {
    pub(super) fn new(path: &Path, problem: impl Into<Problem>) -> Self {
        Self {
            path: Escaped::new(&path.to_string_lossy()),
            problem: problem.into(),
        }
    }
}

/// What is wrong with a trust store.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It can't be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It can't be relied on.
    #[error(transparent)]
    File(#[from] FileRule),
    /// Not TOML, or with members that aren't known. Escaped.
    #[error("not a trust store: {0}")]
    Toml(Escaped),
    /// More than [`MAX_SIGNERS`].
    #[error("it has {found} signers, at most {MAX_SIGNERS} are allowed")]
    Signers {
        /// Signers found.
        found: usize,
    },
    /// A signer breaks a rule.
    #[error("signer \"{name}\": {rule}")]
    Signer {
        /// Its name, escaped.
        name: Escaped,
        /// The rule.
        #[source]
        rule: SignerRule,
    },
    /// A signer of that name is there already.
    #[error("there is a signer \"{0}\" already")]
    Exists(SignerName),
    /// No signer of that name is there.
    #[error("there is no signer \"{0}\"")]
    Unknown(SignerName),
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Rule(rule) => Self::File(rule),
        }
    }
}
