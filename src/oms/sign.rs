//! Writes signed bundles.
//!
//! Guarantees: the statement is plain OMS v1.0, and the same draft gives the same payload. Doesn't:
//! check the draft's rules, which [`crate::manifest::Manifest`] keeps; or write a file.

use super::bundle::{Bundle, MAX_BUNDLE, Material};
use super::dsse::{Envelope, Pae};
use super::key::{PrivateKey, SigningFailed};
use super::statement::{Draft, Serialization, sharded_name};

/// Whose reading of OMS a bundle is written for. They differ only in the algorithm name of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// The specification's text: `sha256`.
    #[default]
    Specification,
    /// The reference implementations, which compare names: `sha256-sharded-<shard_size>`. Verifiers
    /// that keep to the text may refuse it. Of shards, Python's `model_signing` 1.1 verifies only
    /// those hashed with `sha256`.
    Reference,
}

/// Signs a draft and gives the bytes of the signature file.
pub(crate) fn sign(
    draft: &Draft<'_>,
    key: &PrivateKey,
    compat: Compat,
) -> Result<Vec<u8>, SignError> {
    let algorithm = match (compat, draft.serialization) {
        (Compat::Reference, Serialization::Shards { size }) => sharded_name(draft.hash, size),
        _ => draft.hash.name().to_owned(),
    };
    let bundle = sign_payload(draft.to_json(&algorithm), key)?;
    if bundle.len() > MAX_BUNDLE {
        return Err(SignError::TooLarge {
            found: bundle.len(),
        });
    }
    Ok(bundle)
}

/// Signs any payload, and gives the bytes of the signature file.
pub(crate) fn sign_payload(payload: Vec<u8>, key: &PrivateKey) -> Result<Vec<u8>, SigningFailed> {
    let signature = key.sign(&Pae::new(&payload).parts())?;
    let material = Material::Key {
        hint: Some(key.public_key().hint().to_owned()),
    };
    Ok(Bundle::new(material, Envelope::new(payload, signature)).to_json())
}

/// A bundle that couldn't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key failed.
    #[error(transparent)]
    Key(#[from] SigningFailed),
    /// No verifier would take it: larger than [`MAX_BUNDLE`].
    #[error("the signature file would have {found} bytes, at most {MAX_BUNDLE} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
}
