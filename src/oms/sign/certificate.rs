//! Certificates to sign with.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::name::Escaped;
use crate::oms::bundle::{MAX_CERTIFICATES, Material};
use crate::oms::method::certificate::{
    CODE_SIGNING, Certificate, CertificateError, CertificateRule,
};
use crate::oms::method::key::{KeyError, PublicKey};

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
        // something else would be in no verifier's path.
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

    pub(super) fn material(&self) -> Material {
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
        error: KeyError,
    },
}
