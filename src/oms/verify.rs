//! Checks the signature of a bundle.
//!
//! Guarantees: a [`VerifiedStatement`] holds bytes that a trusted signer signed as an in-toto
//! payload, and only a check in this file makes one. The bytes that the signature is checked over
//! are the bytes that are kept.
//!
//! Releases before 1.0 signed another message, by a mistake ([`super::dsse`]). It is tried where
//! the regular one doesn't hold, before a byte of the payload is parsed; what was signed in this
//! way may only be a statement of the old `predicateType`. The other way round, a statement of the
//! old type under a regular signature comes from no release of the methods `key` and `certificate`,
//! and is refused; with Sigstore, 0.2 signed so.
//!
//! Doesn't: say that these bytes are a sensible statement ([`VerifiedStatement::parse`] tells) or
//! that any file has the signed content.

use std::fmt;
use std::sync::Arc;

use super::bundle::{Bundle, BundleError, Material, Method};
use super::claim::Claim;
use super::dsse::{Envelope, legacy_sha256};
use super::method::certificate::chain::{Path, PathError};
use super::method::certificate::{Anchors, Certificate, CertificateError, When};
use super::method::key::{KeyError, PublicKey};
use super::method::sigstore::{self, SigstoreError};
use super::statement::{Statement, StatementError};
use super::trust::{Signer, Trust};
use crate::digest::{Algorithm, Digest};
use crate::name::Escaped;

/// The payload of a bundle whose signature holds, and who signed it.
pub struct VerifiedStatement {
    // Private, and filled in here alone once a signature holds: what one of these holds was signed.
    // `manifest::VerifiedManifest` is made of it, and shows that it can't be made otherwise.
    envelope: Envelope,
    signer: Signer,
    message: Message,
}

/// Which message a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// The PAE of DSSE.
    Pae,
    /// That of releases before 1.0.
    LegacyPae,
}

impl VerifiedStatement {
    /// Only for what [`check`] has just said of this very bundle.
    fn new(bundle: Bundle, signer: Signer, message: Message) -> Self {
        let (_, envelope) = bundle.into_parts();
        Self {
            envelope,
            signer,
            message,
        }
    }

    /// The statement that was signed.
    ///
    /// # Errors
    /// [`StatementError`] if what was signed breaks a rule of OMS.
    pub fn parse(&self) -> Result<Statement<'_>, StatementError> {
        let payload = self.payload();
        match (self.message, self.signer.method()) {
            (Message::LegacyPae, _) => Statement::parse_legacy(payload),
            (Message::Pae, Method::Sigstore) => Statement::parse_any(payload),
            (Message::Pae, Method::Key | Method::Certificate) => Statement::parse(payload),
        }
    }

    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        self.envelope.unverified_payload()
    }

    /// SHA-256 of the signed bytes. It stands for everything that was signed; the root digest of a
    /// statement stands for the digests of contents alone.
    pub fn payload_digest(&self) -> Digest {
        Algorithm::Sha256.hash(self.payload())
    }

    /// The signature file that was verified, to the byte.
    pub(crate) fn into_bundle(self) -> Arc<[u8]> {
        self.envelope
            .into_file()
            .expect("`verify` takes envelopes from files")
    }
}

impl fmt::Debug for VerifiedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedStatement")
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// Verifies the bytes of a signature file against one trusted signer.
///
/// # Errors
/// [`VerifyError`] if the file is malformed, signed by another method or another signer, or not as
/// it was signed.
pub fn verify(bundle: &[u8], trust: &Trust) -> Result<VerifiedStatement, VerifyError> {
    verify_file(bundle.into(), trust)
}

/// The same without a copy.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_file(
    bundle: Arc<[u8]>,
    trust: &Trust,
) -> Result<VerifiedStatement, VerifyError> {
    let bundle = Bundle::take(bundle)?;
    let (signer, message) = check(&bundle, trust)?;
    Ok(VerifiedStatement::new(bundle, signer, message))
}

/// Verifies the bytes of a signature file, which are decoded once, against all who are
/// trusted.
///
/// # Errors
/// [`VerifyAnyError`] if the file is malformed or by none of them.
pub(crate) fn verify_any<'a, L>(
    bundle: Arc<[u8]>,
    trusted: impl IntoIterator<Item = (L, &'a Trust)>,
) -> Result<VerifiedByAny<L>, VerifyAnyError<L>> {
    let bundle = Bundle::take(bundle).map_err(VerifyAnyError::Bundle)?;
    let (mut signers, mut refused, mut first) = (Vec::new(), Vec::new(), None);
    for (label, trust) in trusted {
        match check(&bundle, trust) {
            Ok((signer, message)) => {
                first.get_or_insert_with(|| (signer.clone(), message));
                signers.push((label, signer));
            }
            Err(error) => refused.push((label, error)),
        }
    }
    match first {
        Some((signer, message)) => Ok(VerifiedByAny {
            statement: VerifiedStatement::new(bundle, signer, message),
            signers,
        }),
        None => Err(VerifyAnyError::Nobody {
            claim: Claim::of(bundle.material()),
            refused,
        }),
    }
}

/// A payload that at least one of those who were asked about signed.
pub(crate) struct VerifiedByAny<L> {
    // Private: the signers are those of the statement.
    statement: VerifiedStatement,
    signers: Vec<(L, Signer)>,
}

impl<L> VerifiedByAny<L> {
    /// The payload, whose signer is the first; and each of the signers, with the label that came
    /// along.
    pub(crate) fn into_parts(self) -> (VerifiedStatement, Vec<(L, Signer)>) {
        (self.statement, self.signers)
    }
}

/// A signature file that is malformed, or by none of those who were asked about.
pub(crate) enum VerifyAnyError<L> {
    Bundle(BundleError),
    Nobody {
        claim: Claim,
        refused: Vec<(L, VerifyError)>,
    },
}

/// Whom a signature is by, and which message it is over.
fn check(bundle: &Bundle, trust: &Trust) -> Result<(Signer, Message), VerifyError> {
    let envelope = bundle.envelope();
    match (trust, bundle.material()) {
        (Trust::Key(key), Material::Key { hint }) => check_key(key, hint.as_deref(), envelope),
        (Trust::Certificate { anchors, when }, Material::Certificate { chain }) => {
            check_certificate(anchors, when, chain, envelope)
        }
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
        ) => {
            let signer = sigstore::verify(
                identity,
                identity_provider,
                trusted_root,
                certificate,
                evidence,
                envelope,
            )?;
            Ok((signer, Message::Pae))
        }
        (_, material) => Err(VerifyError::Method {
            trusted: trust.method(),
            found: material.method(),
        }),
    }
}

fn check_key(
    key: &PublicKey,
    hint: Option<&str>,
    envelope: &Envelope,
) -> Result<(Signer, Message), VerifyError> {
    // The hint only makes for a better message: the signature decides.
    if let Some(hint) = hint
        && hint != key.hint()
    {
        return Err(VerifyError::OtherKey {
            stated: Escaped::bounded(hint),
            trusted: key.hint().to_owned(),
        });
    }
    let message = check_signature(key, envelope)?;
    let hint = key.hint().to_owned();
    Ok((Signer::Key { hint }, message))
}

fn check_certificate(
    anchors: &Anchors,
    when: &When,
    chain: &[Vec<u8>],
    envelope: &Envelope,
) -> Result<(Signer, Message), VerifyError> {
    let chain = chain
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()?;
    // A bundle has at least one.
    let (leaf, others) = chain.split_first().ok_or(BundleError::EmptyChain)?;
    let path = match Path::judge(leaf, others, anchors, when, envelope.unverified_payload()) {
        Ok(path) => Ok(path),
        Err(PathError::Untimely(untimely)) => Err(untimely),
        Err(error) => return Err(error.into()),
    };
    let key = leaf.public_key().map_err(|error| VerifyError::SignerKey {
        subject: leaf.subject().clone(),
        error,
    })?;
    let message = check_signature(&key, envelope)?;
    // That time is in the way is said last, of what is right in all other respects: the operator
    // may want to waive it.
    let path = path.map_err(PathError::Untimely)?;
    let anchor = path.certificates().last().unwrap_or(leaf);
    let signer = Signer::Certificate {
        subject: leaf.subject().clone(),
        fingerprint: leaf.fingerprint().to_owned(),
        anchor: anchor.subject().clone(),
        time: path.time().clone(),
    };
    Ok((signer, message))
}

/// Checks the signature of an envelope with a key that is believed.
fn check_signature(key: &PublicKey, envelope: &Envelope) -> Result<Message, VerifyError> {
    let signature = envelope.signature();
    if key.verify(&envelope.pae().parts(), signature).is_ok() {
        return Ok(Message::Pae);
    }
    let sha256 = legacy_sha256(envelope.unverified_payload());
    match key.verify_legacy(&sha256, signature) {
        Ok(()) => Ok(Message::LegacyPae),
        Err(_) => Err(VerifyError::Signature),
    }
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
    /// A certificate of the bundle can't be read.
    #[error("the bundle's certificates: {0}")]
    Certificate(#[from] CertificateError),
    /// No path leads from the signer's certificate to a trusted one. That one is
    /// [untimely](PathError::Untimely) is said only where its key has made the signature.
    #[error("the signer's certificate is not trusted: {0}")]
    Path(#[from] PathError),
    /// The signer's certificate is for a key that OMS doesn't sign with.
    #[error("certificate \"{subject}\": {error}")]
    SignerKey {
        /// The certificate's subject, escaped.
        subject: Escaped,
        /// What is wrong with its key.
        #[source]
        error: KeyError,
    },
    /// The signature isn't by that key over that payload.
    #[error("the signature does not match the bundle's payload and the trusted key")]
    Signature,
    /// Not proved by what Sigstore adds to a signature.
    #[error(transparent)]
    Sigstore(#[from] SigstoreError),
}

#[cfg(test)]
mod tests;
