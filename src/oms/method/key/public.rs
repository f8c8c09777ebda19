//! Public keys, and what a signature must be to hold under one.

use std::fmt;

use aws_lc_rs::digest as message_digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::ParsedPublicKey;
use pkcs8::ObjectIdentifier;
use pkcs8::spki::SubjectPublicKeyInfoRef;

use super::curve::{Curve, curve};
use super::file::{KeyError, blocks};
use crate::digest::Algorithm;
use crate::oms::wire::pem_file;

/// A public key to verify with.
#[derive(Clone)]
pub struct PublicKey {
    curve: Curve,
    key: ParsedPublicKey,
    hint: String,
}

impl PublicKey {
    /// Reads the one `PUBLIC KEY` block of a PEM file. Other text around it is passed over.
    ///
    /// # Errors
    /// [`KeyError`] if there is no such block, more than one, or not a key on a known curve.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let blocks = blocks(pem)?;
        let mut keys = blocks.iter().filter(|block| block.tag() == "PUBLIC KEY");
        match (keys.next(), keys.next()) {
            (Some(key), None) => Self::from_spki(key.contents()),
            (Some(_), Some(_)) => Err(KeyError::Several("PUBLIC KEY")),
            (None, _) => Err(KeyError::NotFound {
                wanted: "PUBLIC KEY",
                found: pem_file::found(&blocks),
            }),
        }
    }

    /// Reads a `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1.2.7).
    ///
    /// # Errors
    /// [`KeyError`] if it isn't a key on a known curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed)?;
        let parameters = info
            .algorithm
            .parameters
            .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let curve = curve(info.algorithm.oid, parameters)?;
        let key =
            ParsedPublicKey::new(curve.verification(), der).map_err(|_| KeyError::Malformed)?;
        // Encoded anew, so that a key has one hint however its file spells it.
        let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyError::Malformed)?;
        let hint = hint(der.as_ref());
        Ok(Self { curve, key, hint })
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Which key it is, as OMS bundles name it: the lowercase hexadecimal SHA-256 of the key's PEM
    /// text as OpenSSL writes it, the newline at its end included.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Verifies an ECDSA signature in DER over a message, which is given in parts.
    ///
    /// # Errors
    /// [`SignatureMismatch`] whatever the reason.
    pub fn verify(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), SignatureMismatch> {
        self.key
            .verify_digest_sig(&self.curve.hash(message), signature)
            .map_err(|_| SignatureMismatch)
    }

    /// Verifies an ECDSA signature in DER as releases before 1.0 made them, given the SHA-256 of
    /// the message, which they took whatever the curve.
    pub(in crate::oms) fn verify_legacy(
        &self,
        sha256: &message_digest::Digest,
        signature: &[u8],
    ) -> Result<(), SignatureMismatch> {
        let der: PublicKeyX509Der<'_> = self.key.as_der().map_err(|_| SignatureMismatch)?;
        ParsedPublicKey::new(self.curve.legacy_verification(), der.as_ref())
            .map_err(|_| SignatureMismatch)?
            .verify_digest_sig(sha256, signature)
            .map_err(|_| SignatureMismatch)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.curve, self.hint)
    }
}

/// The signature isn't by that key over that message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct SignatureMismatch;

fn hint(spki: &[u8]) -> String {
    let block = pem::Pem::new("PUBLIC KEY", spki);
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Algorithm::Sha256
        .hash(pem::encode_config(&block, config).as_bytes())
        .to_hex()
}
