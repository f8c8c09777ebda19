//! Why a model or its signature isn't found.

use std::io;
use std::path::PathBuf;

use crate::name::{Escaped, NameError};
use crate::oms::bundle::MAX_BUNDLE;

/// Why a model can't be found.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Files are found by paths there.
    #[error("/proc is not mounted here")]
    NoProc,
    /// There is nothing, or nothing that can be looked at.
    #[error("model {}: {error}", Escaped::path(path))]
    Model {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it wasn't found.
        error: io::Error,
    },
    /// It is neither a directory nor a regular file.
    #[error("model {}: neither a directory nor a regular file", Escaped::path(.0))]
    Kind(PathBuf),
    /// The file has a name that can't be signed.
    #[error("model: {0}")]
    Name(#[from] NameError),
    /// The file has a name that can't be signed, since names in manifests are UTF-8.
    #[error("model {}: the name of the file is not valid UTF-8", Escaped::path(.0))]
    NotUtf8(PathBuf),
    /// The signature can't be read.
    #[error("signature {}: {error}", Escaped::path(path))]
    Signature {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no signature in any usual place, of which the first is named.
    #[error("signature {}: {error}", Escaped::path(path))]
    NoSignature {
        /// Where it would be looked for first.
        path: PathBuf,
        /// What the system said there.
        error: io::Error,
    },
    /// There are several, and none is the usual one.
    #[error("several files may be the signature: {}", listed(.0))]
    Several(Vec<PathBuf>),
    /// No signature is that large: a malformed one, and not a file that can't be read.
    #[error("signature {}: it has more than {MAX_BUNDLE} bytes", Escaped::path(.0))]
    LargeSignature(PathBuf),
    /// A path to ignore isn't in the model.
    #[error("\"{0}\" is not a path in the model")]
    Ignored(Escaped),
}

/// Paths named in a message; others are counted.
const LISTED: usize = 8;

fn listed(paths: &[PathBuf]) -> String {
    let shown = paths.iter().take(LISTED);
    let mut texts: Vec<_> = shown.map(|path| Escaped::path(path).to_string()).collect();
    if let Some(more) = paths.len().checked_sub(LISTED + 1) {
        texts.push(format!("and {} more", more + 1));
    }
    texts.join(", ")
}
