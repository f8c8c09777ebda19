//! Checks the signature of a bundle.
//!
//! Guarantees: a [`VerifiedStatement`] holds bytes that somebody trusted signed as an in-toto
//! payload, and only [`verify`] makes one. The bytes that the signature is checked over are the
//! bytes that are kept.
//!
//! Doesn't: say that these bytes are a sensible statement ([`VerifiedStatement::parse`] tells) or
//! that any file has the signed content.

use std::fmt;

use super::bundle::{Bundle, BundleError, Material, Method};
use super::dsse::Envelope;
use super::key::PublicKey;
use super::sigstore::{self, SigstoreError};
use super::statement::{Statement, StatementError};
use super::trust::{Signer, Trust};
use crate::name::Escaped;

/// The payload of a bundle whose signature holds, and who signed it.
pub struct VerifiedStatement {
    // Private, and filled in by `verify` alone: whoever holds one of these holds signed bytes.
    payload: Vec<u8>,
    signer: Signer,
}

impl VerifiedStatement {
    /// The statement that was signed.
    ///
    /// # Errors
    /// [`StatementError`] if what was signed breaks a rule of OMS.
    pub fn parse(&self) -> Result<Statement<'_>, StatementError> {
        Statement::parse(&self.payload)
    }

    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Debug for VerifiedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedStatement")
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// Verifies the bytes of a signature file against somebody trusted.
///
/// # Errors
/// [`VerifyError`] if the file is malformed, signed by another method or another signer, or not as
/// it was signed.
pub fn verify(bundle: &[u8], trust: &Trust) -> Result<VerifiedStatement, VerifyError> {
    let (material, envelope) = Bundle::parse(bundle)?.into_parts();
    let signer = match (trust, &material) {
        (Trust::Key(key), Material::Key { hint }) => verify_key(key, hint.as_deref(), &envelope)?,
        (
            Trust::Sigstore {
                identity,
                identity_provider,
                trusted_root,
            },
            Material::Sigstore {
                certificate,
                evidence,
            },
        ) => sigstore::verify(
            identity,
            identity_provider,
            trusted_root,
            certificate,
            evidence,
            &envelope,
        )?,
        (Trust::Key(_), Material::Certificate { .. } | Material::Sigstore { .. })
        | (Trust::Sigstore { .. }, Material::Key { .. } | Material::Certificate { .. }) => {
            return Err(VerifyError::Method {
                trusted: trust.method(),
                found: material.method(),
            });
        }
    };
    Ok(VerifiedStatement {
        payload: envelope.into_unverified_payload(),
        signer,
    })
}

fn verify_key(
    key: &PublicKey,
    hint: Option<&str>,
    envelope: &Envelope,
) -> Result<Signer, VerifyError> {
    // The hint only makes for a better message: the signature decides.
    if let Some(hint) = hint
        && hint != key.hint()
    {
        return Err(VerifyError::OtherKey {
            stated: Escaped::bounded(hint),
            trusted: key.hint().to_owned(),
        });
    }
    key.verify(&envelope.pae().parts(), envelope.signature())
        .map_err(|_| VerifyError::Signature)?;
    Ok(Signer::Key {
        hint: key.hint().to_owned(),
    })
}

/// A signature file that doesn't verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not an OMS bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Signed by another method than the one that is trusted.
    #[error("the model was signed with the method \"{found}\", not \"{trusted}\"")]
    Method {
        /// The method of what is trusted.
        trusted: Method,
        /// The method of the bundle.
        found: Method,
    },
    /// The bundle names another key.
    #[error(
        "the model was signed with another key: the bundle names {stated}, trusted is {trusted}"
    )]
    OtherKey {
        /// The bundle's hint, escaped.
        stated: Escaped,
        /// The hint of the trusted key.
        trusted: String,
    },
    /// The signature isn't by that key over that payload.
    #[error("the signature does not match the bundle's payload and the trusted key")]
    Signature,
    /// Not proved by what Sigstore adds to a signature.
    #[error(transparent)]
    Sigstore(#[from] SigstoreError),
}
