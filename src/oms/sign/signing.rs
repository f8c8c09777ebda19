//! How a payload gets signed.

use super::certificate::{KeyMismatch, SigningCertificate};
#[cfg(feature = "sigstore-sign")]
use super::sigstore::{SigstoreSigner, SigstoreSigningError};
use crate::oms::bundle::{Bundle, MAX_BUNDLE, Material};
use crate::oms::dsse::{Envelope, Pae};
use crate::oms::method::key::{SigningFailed, SigningKey};
use crate::oms::statement::Draft;

/// Whose reading of OMS a bundle is written for. They differ only in the algorithm name of shards,
/// and in what the file of a single-file model is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// The specification's text: `sha256`, and the file by its own name.
    #[default]
    Specification,
    /// The reference implementations, which compare names: `sha256-sharded-<shard_size>`; and
    /// Python's alone in that it wants `.`. Verifiers that keep to the text may refuse either. Of
    /// shards, Python's `model_signing` 1.1 verifies those hashed with `sha256` and `blake2b`, and
    /// only where its caller says so.
    Reference,
}

/// How a payload gets signed, and what the bundle says about it: with a secret, or services, that
/// no verifier has. Whom to trust for it is another question, a
/// [`Trust`](crate::oms::trust::Trust).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Signing<'a> {
    /// With a bare key, which the bundle names by its hint.
    Key(&'a dyn SigningKey),
    /// With the key of a certificate.
    Certificate(&'a dyn SigningKey, &'a SigningCertificate),
    /// With a key made up for this one signature, which a Sigstore instance certifies and logs.
    #[cfg(feature = "sigstore-sign")]
    Sigstore(&'a SigstoreSigner),
}

impl<'a, K: SigningKey> From<&'a K> for Signing<'a> {
    fn from(key: &'a K) -> Self {
        Self::Key(key)
    }
}

impl Signing<'_> {
    /// Signs any payload, and gives the bytes of the signature file.
    fn sign(self, payload: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let (key, material) = match self {
            Self::Key(key) => (
                key,
                Material::Key {
                    hint: Some(key.public_key().hint().to_owned()),
                },
            ),
            Self::Certificate(key, certificate) => {
                certificate.check_key(key.public_key())?;
                (key, certificate.material())
            }
            #[cfg(feature = "sigstore-sign")]
            Self::Sigstore(signer) => return Ok(signer.sign(&payload)?),
        };
        let signature = key.sign(&Pae::new(&payload).parts())?;
        Ok(Bundle::new(material, Envelope::new(payload, signature)).to_json())
    }
}

/// Signs a draft and gives the bytes of the signature file.
pub(crate) fn sign(
    draft: &Draft<'_>,
    signing: Signing<'_>,
    compat: Compat,
) -> Result<Vec<u8>, SignError> {
    let algorithm = match (compat, draft.serialization.sharded_name()) {
        (Compat::Reference, Some(sharded)) => sharded,
        _ => draft.serialization.hash.name().to_owned(),
    };
    let bundle = signing.sign(draft.to_json(&algorithm))?;
    if bundle.len() > MAX_BUNDLE {
        return Err(SignError::TooLarge {
            found: bundle.len(),
        });
    }
    Ok(bundle)
}

/// Signs any payload, however wrong.
#[cfg(test)]
pub(crate) fn sign_payload<'a>(
    payload: Vec<u8>,
    signing: impl Into<Signing<'a>>,
) -> Result<Vec<u8>, SignError> {
    signing.into().sign(payload)
}

/// A bundle that couldn't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key failed.
    #[error(transparent)]
    Key(#[from] SigningFailed),
    /// The certificate is for another key.
    #[error(transparent)]
    Certificate(#[from] KeyMismatch),
    /// Sigstore's services didn't sign, or not what a verifier would take.
    #[cfg(feature = "sigstore-sign")]
    #[error(transparent)]
    Sigstore(#[from] SigstoreSigningError),
    /// No verifier would take it: larger than [`MAX_BUNDLE`].
    #[error("the signature file would have {found} bytes, at most {MAX_BUNDLE} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
}
