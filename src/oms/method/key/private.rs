//! Private keys, and how one signs.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use pkcs8::der::asn1::{AnyRef, ContextSpecific, OctetStringRef};
use pkcs8::der::{self, Reader as _, SliceReader, TagNumber};
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use zeroize::Zeroizing;

use super::curve::{Curve, ID_EC_PUBLIC_KEY, curve};
use super::encrypted::{Password, decrypt_pkcs8, decrypt_traditional, dek_info, looks_like_sec1};
use super::file::{KeyError, blocks};
use super::public::PublicKey;
use crate::name::Escaped;
use crate::oms::wire::pem_file;

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

/// A private key to sign with.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads the one private key of a PEM file: SEC1 `EC PRIVATE KEY`, plain or with OpenSSL's
    /// traditional AES-CBC encryption, or PKCS#8 `PRIVATE KEY` or `ENCRYPTED PRIVATE KEY` (PBES2
    /// with PBKDF2 or scrypt, and AES-CBC). Other text and blocks (`EC PARAMETERS`) are passed
    /// over. A password for a key that isn't encrypted is not used.
    ///
    /// # Errors
    /// [`KeyError`] if there is no such block, more than one, the password is missing or wrong, or
    /// the key is not on a known curve.
    pub fn from_pem(pem: &[u8], password: Option<&Password>) -> Result<Self, KeyError> {
        let mut blocks = blocks(pem)?;
        let is_private = |block: &pem::Pem| {
            matches!(
                block.tag(),
                "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "EC PRIVATE KEY"
            )
        };
        let position = match blocks.iter().filter(|block| is_private(block)).count() {
            1 => blocks.iter().position(is_private),
            0 => None,
            _ => return Err(KeyError::Several("PRIVATE KEY")),
        };
        let Some(position) = position else {
            return Err(KeyError::NotFound {
                wanted: "PRIVATE KEY",
                found: pem_file::found(&blocks),
            });
        };
        let block = blocks.swap_remove(position);
        match block.tag() {
            "PRIVATE KEY" => Self::from_pkcs8(&Zeroizing::new(block.into_contents())),
            "ENCRYPTED PRIVATE KEY" => {
                let password = password.ok_or(KeyError::NoPassword)?;
                let decrypted = decrypt_pkcs8(block.contents(), password)?;
                Self::from_pkcs8(&decrypted)
            }
            _ => match dek_info(&block)? {
                None => Self::from_sec1(&Zeroizing::new(block.into_contents())),
                Some(dek_info) => {
                    let password = password.ok_or(KeyError::NoPassword)?;
                    let decrypted = decrypt_traditional(block.contents(), &dek_info, password)?;
                    // A wrong password passes the padding check once in 256 times.
                    if looks_like_sec1(&decrypted) {
                        Self::from_sec1(&decrypted)
                    } else {
                        Err(KeyError::WrongPassword)
                    }
                }
            },
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfo::try_from(der).map_err(|_| KeyError::Malformed)?;
        let parameters = info
            .algorithm
            .parameters
            .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let curve = curve(info.algorithm.oid, parameters)?;
        match sec1_curve(info.private_key)? {
            Some(inner) if inner != curve => Err(KeyError::Malformed),
            _ => Self::from_der(curve, der).ok_or(KeyError::Malformed),
        }
    }

    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        match sec1_curve(der)? {
            Some(curve) => Self::from_der(curve, der).ok_or(KeyError::Malformed),
            None => Err(KeyError::UnknownSec1),
        }
    }

    fn from_der(curve: Curve, der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?;
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
        let public = PublicKey::from_spki(spki.as_ref()).ok()?;
        Some(Self { pair, public })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message, which is given in parts: ECDSA in DER.
    ///
    /// # Errors
    /// [`SigningFailed`] if the cryptographic library refuses, which it has no known reason to.
    pub fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed> {
        self.pair
            .sign_digest(&self.public.curve().hash(message))
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SigningFailed(Escaped::new("the cryptographic library refused")))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, …)", self.public.curve())
    }
}

/// No signature could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the private key could not sign: {0}")]
pub struct SigningFailed(pub Escaped);

/// The curve that a SEC1 private key names inside (RFC 5915, section 3), if it names one. The
/// decoder of the cryptographic library takes explicit parameters too, which OMS doesn't know.
fn sec1_curve(der: &[u8]) -> Result<Option<Curve>, KeyError> {
    let parameters = |der| -> der::Result<_> {
        SliceReader::new(der)?.sequence(|fields| {
            let _version: u8 = fields.decode()?;
            let _key: OctetStringRef<'_> = fields.decode()?;
            let parameters = ContextSpecific::<AnyRef<'_>>::decode_explicit(fields, TagNumber::N0)?;
            fields.read_slice(fields.remaining_len())?;
            Ok(parameters)
        })
    };
    match parameters(der).map_err(|_| KeyError::Malformed)? {
        None => Ok(None),
        Some(parameters) => curve(ID_EC_PUBLIC_KEY, parameters.value.decode_as().ok()).map(Some),
    }
}

impl SigningKey for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        self.public_key()
    }

    fn sign(&self, message: &[&[u8]]) -> Result<Vec<u8>, SigningFailed> {
        self.sign(message)
    }
}
