//! Who a bundle says has signed it, for people to read.
//!
//! Guarantees: everything here is safe to show. Doesn't: prove any of it. A claim is what the
//! author of the file wants to be believed, so what it says is compared with what the publisher
//! says elsewhere before a signer is trusted.

use std::fmt;

use super::bundle::{Material, Method};
use super::method::certificate::Certificate;
use super::method::sigstore::ClaimedIdentity;
use crate::name::Escaped;

/// Who a bundle says has signed it: its [`Material`], decoded and safe to show. Not a
/// [`Signer`](super::trust::Signer), which only a signature that holds gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// The holder of a key.
    Key {
        /// The key, see [`super::key::PublicKey::hint`], escaped. Older bundles name none.
        hint: Option<Escaped>,
    },
    /// The holder of a certificate.
    Certificate {
        /// The signer's certificate; `None` if it is malformed.
        leaf: Option<Certificate>,
        /// The issuer that the last certificate names, escaped: mostly who would have to be
        /// trusted.
        issuer: Option<Escaped>,
    },
    /// An identity that Sigstore vouches for; `None` if the certificate names none.
    Sigstore(Option<ClaimedIdentity>),
}

impl Claim {
    /// What the material of a bundle says.
    pub fn of(material: &Material) -> Self {
        match material {
            Material::Key { hint } => Self::Key {
                hint: hint.as_deref().map(Escaped::bounded),
            },
            Material::Certificate { chain } => {
                let decode = |der: Option<&Vec<u8>>| Certificate::from_der(der?).ok();
                Self::Certificate {
                    leaf: decode(chain.first()),
                    issuer: decode(chain.last()).map(|last| last.issuer().clone()),
                }
            }
            Material::Sigstore { certificate, .. } => {
                Self::Sigstore(ClaimedIdentity::of(certificate).ok())
            }
        }
    }

    /// The method that the bundle was signed with.
    pub fn method(&self) -> Method {
        match self {
            Self::Key { .. } => Method::Key,
            Self::Certificate { .. } => Method::Certificate,
            Self::Sigstore(_) => Method::Sigstore,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { hint: Some(hint) } => write!(f, "key {hint}"),
            Self::Key { hint: None } => f.write_str("a key that the bundle does not name"),
            Self::Certificate {
                leaf: Some(leaf),
                issuer,
            } => {
                write!(
                    f,
                    "certificate \"{}\" (SHA-256 {}, valid from {} to {})",
                    leaf.subject(),
                    leaf.fingerprint(),
                    leaf.not_before(),
                    leaf.not_after()
                )?;
                match issuer {
                    Some(issuer) => write!(f, " under \"{issuer}\""),
                    None => Ok(()),
                }
            }
            Self::Certificate { leaf: None, .. } => f.write_str("a malformed certificate"),
            Self::Sigstore(Some(claimed)) => fmt::Display::fmt(claimed, f),
            Self::Sigstore(None) => {
                f.write_str("a Sigstore identity that the certificate does not name")
            }
        }
    }
}
