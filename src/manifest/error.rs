//! Why a list of resources, or a signature file, gives no manifest.

use std::num::NonZeroU64;

use crate::name::{Escaped, NameError};
use crate::oms::bundle::BundleError;
use crate::oms::statement::StatementError;
use crate::oms::verify::VerifyError;

/// Why a signature file gives no verified manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyManifestError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// What was signed, as a statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// What was signed, as a list of files.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<BundleError> for VerifyManifestError {
    fn from(error: BundleError) -> Self {
        Self::Signature(error.into())
    }
}

/// A list of resources that isn't a model. Names are escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// No files.
    #[error("the model has no files")]
    Empty,
    /// A model without a name.
    #[error("the model has an empty name")]
    NoSubjectName,
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name occurs twice.
    #[error("\"{name}\" is listed more than once")]
    Duplicate {
        /// The name.
        name: Escaped,
    },
    /// A file lies in a file.
    #[error("\"{file}\" is listed as a file and is a directory of \"{within}\"")]
    FileAndDirectory {
        /// The file.
        file: Escaped,
        /// The file beneath it.
        within: Escaped,
    },
    /// A name is also one of the ignored paths, or beneath one.
    #[error("\"{name}\" is listed and also among the ignored paths")]
    ListedAndIgnored {
        /// The name.
        name: Escaped,
    },
    /// A shard breaks a rule.
    #[error("shard \"{name}\": {rule}")]
    Shard {
        /// The resource.
        name: Escaped,
        /// The rule.
        rule: ShardRule,
    },
    /// A file's digests are of another hash or another cut than the manifest's.
    #[error("the digests of \"{name}\" do not fit the manifest's hash and serialization")]
    Misfit {
        /// The name.
        name: Escaped,
    },
}

/// The rules for shards (OMS v1.0, 6.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardRule {
    /// Not `<path>:<start>:<end>`.
    #[error("its name is not of the form <path>:<start>:<end>")]
    Form,
    /// A start or end that isn't a number in its one spelling.
    #[error("its range is not written as two decimal numbers below 2^64 without leading zeros")]
    Number,
    /// No bytes.
    #[error("its range has no bytes")]
    EmptyRange,
    /// The same range twice.
    #[error("it is listed more than once")]
    Duplicate,
    /// Begins before the end of the one before it.
    #[error("its range overlaps the shard before it, which ends at {expected}")]
    Overlap {
        /// Where it must begin.
        expected: u64,
    },
    /// Begins after the end of the one before it.
    #[error("its range leaves a gap: it must begin at {expected}")]
    Gap {
        /// Where it must begin.
        expected: u64,
    },
    /// Another size than that of the statement.
    #[error("its range is not {size} bytes, and only the last shard of a file may be shorter")]
    Size {
        /// The shard size.
        size: NonZeroU64,
    },
}
