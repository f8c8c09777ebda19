//! Certificates that are trusted.

use std::sync::Arc;

use super::error::{CertificateError, MAX_ANCHORS};
use super::x509::Certificate;
use crate::name::Escaped;

/// Certificates that are trusted to say who may sign: whom each of them issued a certificate to,
/// through others or not, or who holds its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors(Arc<[Certificate]>);

impl Anchors {
    /// Trusts certificates.
    ///
    /// # Errors
    /// [`CertificateError::NotFound`] for none, [`CertificateError::TooMany`] above
    /// [`MAX_ANCHORS`].
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, CertificateError> {
        match certificates.len() {
            0 => Err(CertificateError::NotFound {
                found: Escaped::new("no file"),
            }),
            found if found > MAX_ANCHORS => Err(CertificateError::TooMany { found }),
            _ => Ok(Self(certificates.into())),
        }
    }

    /// Trusts the certificates of PEM files, all of them in each.
    ///
    /// # Errors
    /// [`CertificateError`] as [`Certificate::from_pem`] and [`Anchors::new`] have it.
    pub fn from_pem<P: AsRef<[u8]>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, CertificateError> {
        let mut certificates = Vec::new();
        for file in files {
            certificates.extend(Certificate::from_pem(file.as_ref())?);
            if certificates.len() > MAX_ANCHORS {
                break;
            }
        }
        Self::new(certificates)
    }

    /// The trusted certificates; at least one.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }
}
