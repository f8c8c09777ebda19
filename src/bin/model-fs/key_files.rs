//! Files with keys and certificates.

use std::path::Path;

use anyhow::Context as _;
use model_fs::files::read_given;
use model_fs::name::Escaped;
use model_fs::oms::key::{KeyError, MAX_PEM};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::hints;

/// Reads a PEM file of bounded size.
pub(crate) fn read_pem(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes =
        read_given(path, MAX_PEM).with_context(|| format!("{what} {}", Escaped::path(path)))?;
    Ok(Zeroizing::new(bytes))
}

/// Why the `what` in a file can't be used, and what helps.
pub(crate) fn unusable(path: &Path, what: &str, error: KeyError) -> Failure {
    let hint = hints::key(&error, path);
    let error = anyhow::Error::new(error).context(format!("{what} {}", Escaped::path(path)));
    Failure::new(Exit::Failed, error).with_hint(hint)
}
