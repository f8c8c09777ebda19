//! What a signature says, whether or not that is true.
//!
//! Guarantees: nothing. Neither the signature nor any content is verified here, and no verb may
//! take what comes from here for more than a claim.

use std::path::{Path, PathBuf};

use model_fs::digest::Digest;
use model_fs::manifest::UnverifiedManifest;
use model_fs::reading::location::{LocationError, ModelLocation, read_given_signature};

use crate::exit::Failure;

/// The signature to show, and the model that it may be about: a model's own signature, or whatever
/// is given if it has none.
pub(crate) fn find(path: &Path) -> Result<(Option<ModelLocation>, PathBuf), Failure> {
    let location = match ModelLocation::find(path, None) {
        // Nothing but a signature can come through a pipe.
        Err(LocationError::Kind(_)) => return Ok((None, path.to_owned())),
        found => found?,
    };
    let location = if location.shape().is_single_file() && !location.has_signature() {
        ModelLocation::find(path, Some(path))?
    } else {
        location
    };
    let signature = location.signature();
    Ok((Some(location), signature))
}

/// What a signature claims.
pub(crate) fn claims(
    location: Option<&ModelLocation>,
    signature: &Path,
) -> Result<UnverifiedManifest, Failure> {
    let about = |failure: Failure| failure.about_signature(signature);
    let bundle = match location {
        Some(location) => location.read_signature()?,
        None => read_given_signature(signature)?,
    };
    UnverifiedManifest::parse_without_verifying(bundle).map_err(|error| about(error.into()))
}

/// The digest of what a signature says, whether or not that is true: that of a signature file, or
/// of a model's.
pub(crate) fn payload_digest(path: &Path) -> Result<Digest, Failure> {
    let (location, signature) = find(path)?;
    Ok(claims(location.as_ref(), &signature)?.payload_digest())
}
