//! Why a model isn't opened, or a file of it.

use super::store::StoreError;
use crate::manifest::{VerifyManifestError, VerifyWithStoreError};
use crate::name::Escaped;
use crate::reading::ReadError;
use crate::reading::location::LocationError;
use crate::reading::whole::verify::Difference;

/// Why a model isn't opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It isn't there, or can't be looked at.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// Its signature is malformed, or not by the signer who is trusted.
    #[error(transparent)]
    Signature(#[from] VerifyManifestError),
    /// Its signature isn't by any signer of a trust store.
    #[error(transparent)]
    Signer(#[from] VerifyWithStoreError),
    /// Signed files are missing, or others are there. At least one.
    #[error("the model doesn't have the signed names: {}", first(.0))]
    Differs(Vec<Difference>),
    /// A place to repair from can't be opened.
    #[error("{directory}: no directory to repair from: {error}")]
    Repair {
        /// Its path.
        directory: Escaped,
        /// What the system says.
        error: std::io::Error,
    },
    /// There is no store for what is proved.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The first of some differences, and how many more there are.
fn first(differences: &[Difference]) -> String {
    match differences {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

/// Why a file isn't opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The signature names no such file.
    #[error("\"{0}\": the file isn't signed")]
    NotSigned(Escaped),
    /// It is signed, and the options left it out.
    #[error("\"{0}\": the file was left out")]
    LeftOut(Escaped),
    /// It isn't what was signed, or can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FileError {
    pub(super) fn missing(name: &str, is_left_out: bool) -> Self {
        let name = Escaped::bounded(name);
        if is_left_out {
            Self::LeftOut(name)
        } else {
            Self::NotSigned(name)
        }
    }
}
