//! Writes signed bundles.
//!
//! Guarantees: the statement is plain OMS v1.0, and the same draft gives the same payload. A bundle
//! of the method `certificate` is signed with the key of its first certificate, which was valid and
//! for signing when the [`SigningCertificate`] was made. Doesn't: check the draft's rules, which
//! [`crate::manifest::Manifest`] keeps; or write a file; or know whom verifiers trust.
//!
//! [`Signing`] says how a payload gets signed. Keys that live elsewhere (PKCS #11) implement
//! [`SigningKey`]; methods that need more than a signature over the PAE (Sigstore) join as
//! variants. A Sigstore signature is by a key that the services certified, and verified before it
//! is given out.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bundle::{Bundle, MAX_BUNDLE, MAX_CERTIFICATES, Material};
use super::certificate::{CODE_SIGNING, Certificate, CertificateError, CertificateRule};
use super::dsse::{Envelope, Pae};
use super::key::{PrivateKey, PublicKey, SigningFailed};
#[cfg(feature = "sigstore-sign")]
use super::sigstore::signing::{SigstoreSigner, SigstoreSigningError};
use super::statement::{Draft, Serialization, sharded_name};
use crate::name::Escaped;

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

/// A private key, wherever it lives.
pub trait SigningKey {
    /// The key that verifies what this one signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs a message, which is given in parts: ECDSA in DER, over the hash that goes with the
    /// curve (SHA-256, -384, -512).
    ///
    /// # Errors
    /// [`SigningFailed`] says why there is no signature.
    fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed>;
}

impl SigningKey for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        self.public_key()
    }

    fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed> {
        self.sign(message)
    }
}

/// How a payload gets signed, and what the bundle says about it.
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
    let algorithm = match (compat, draft.serialization) {
        (Compat::Reference, Serialization::Shards { size }) => sharded_name(draft.hash, size),
        _ => draft.hash.name().to_owned(),
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

/// The certificate to sign with, and those that lead from it to what verifiers trust.
#[derive(Debug, Clone)]
pub struct SigningCertificate {
    /// The leaf first, each once.
    certificates: Vec<Certificate>,
    key: PublicKey,
}

impl SigningCertificate {
    /// Takes the first certificate of a PEM file to sign with. Those that follow it in that file,
    /// and then all of `chain`, go into the bundle in their order, each once; verifiers don't mind
    /// the order. The trusted root may be among them and needn't.
    ///
    /// # Errors
    /// [`SigningCertificateError`] if a file can't be read, or if every verifier would refuse the
    /// certificate: not valid now, not for signing (nor an issuer in the files), or with a key that
    /// OMS doesn't know.
    pub fn from_pem<P: AsRef<[u8]>>(
        certificate: &[u8],
        chain: impl IntoIterator<Item = P>,
    ) -> Result<Self, SigningCertificateError> {
        let mut certificates = Vec::new();
        let mut add = |more: Vec<Certificate>| {
            for certificate in more {
                if !certificates.contains(&certificate) {
                    certificates.push(certificate);
                }
            }
            match certificates.len() {
                0..=MAX_CERTIFICATES => Ok(()),
                found => Err(SigningCertificateError::LongChain { found }),
            }
        };
        add(Certificate::from_pem(certificate)?)?;
        for file in chain {
            add(Certificate::from_pem(file.as_ref())?)?;
        }

        let broken = |certificate: &Certificate, rule| SigningCertificateError::Rule {
            subject: certificate.subject().clone(),
            rule,
        };
        let leaf = &certificates[0];
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        leaf.check(now)
            .and_then(|()| leaf.check_signer())
            .map_err(|rule| broken(leaf, rule))?;
        // Whether all of them is needed is for verifiers to find out; an issuer that is for
        // something else would be in nobody's path.
        for issuer in &certificates[1..] {
            let issued = |other: &Certificate| {
                other != issuer && other.names_as_issuer(issuer) && other.is_signed_by(issuer)
            };
            if certificates.iter().any(issued) {
                issuer
                    .check_purpose(CODE_SIGNING)
                    .map_err(|rule| broken(issuer, rule))?;
            }
        }
        let key = leaf
            .public_key()
            .map_err(|error| SigningCertificateError::Key {
                subject: leaf.subject().clone(),
                error,
            })?;
        Ok(Self { certificates, key })
    }

    /// The certificate to sign with.
    pub fn leaf(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// The key that it is for.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Checks that it is for a key.
    ///
    /// # Errors
    /// [`KeyMismatch`] if it is for another one.
    pub fn check_key(&self, key: &PublicKey) -> Result<(), KeyMismatch> {
        if self.key.hint() == key.hint() {
            Ok(())
        } else {
            Err(KeyMismatch {
                subject: self.leaf().subject().clone(),
            })
        }
    }

    fn material(&self) -> Material {
        Material::Certificate {
            chain: self
                .certificates
                .iter()
                .map(|certificate| certificate.der().to_vec())
                .collect(),
        }
    }
}

/// A certificate that is for another key than the one to sign with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the private key is not that of the signing certificate \"{subject}\"")]
pub struct KeyMismatch {
    /// The certificate's subject, escaped.
    pub subject: Escaped,
}

/// A certificate that can't be signed with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningCertificateError {
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] CertificateError),
    /// More certificates than a bundle may have.
    #[error(
        "there are {found} certificates for the bundle, at most {MAX_CERTIFICATES} are allowed"
    )]
    LongChain {
        /// Certificates found.
        found: usize,
    },
    /// No verifier would take it.
    #[error("the signing certificate \"{subject}\": {rule}")]
    Rule {
        /// Its subject, escaped.
        subject: Escaped,
        /// The rule that it breaks.
        rule: CertificateRule,
    },
    /// Its key isn't one that OMS signs with.
    #[error("the signing certificate \"{subject}\": {error}")]
    Key {
        /// Its subject, escaped.
        subject: Escaped,
        /// What is wrong with its key.
        #[source]
        error: super::key::KeyError,
    },
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
