//! The curves of OMS: what each is called, and which hash and algorithm go with it.

use std::fmt;

use aws_lc_rs::digest as message_digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm,
};
use pkcs8::ObjectIdentifier;

use super::file::KeyError;

pub(in crate::oms) const ID_EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

pub(in crate::oms) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

pub(in crate::oms) const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The curves of OMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256, with SHA-256.
    P256,
    /// NIST P-384, with SHA-384.
    P384,
    /// NIST P-521, with SHA-512.
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
            Self::P521 => ObjectIdentifier::new_unwrap("1.3.132.0.35"),
        }
    }

    /// As releases before 1.0 signed: with SHA-256 whatever the curve.
    pub(super) fn legacy_verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA256_ASN1,
            Self::P521 => &ECDSA_P521_SHA256_ASN1,
        }
    }

    pub(super) fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    pub(super) fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// The hash that goes with the curve, of a message that is given in parts.
    pub(in crate::oms) fn hash(self, message: &[&[u8]]) -> message_digest::Digest {
        let mut context = message_digest::Context::new(match self {
            Self::P256 => &message_digest::SHA256,
            Self::P384 => &message_digest::SHA384,
            Self::P521 => &message_digest::SHA512,
        });
        for part in message {
            context.update(part);
        }
        context.finish()
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        })
    }
}

/// The curve of a key with this algorithm identifier.
pub(in crate::oms) fn curve(
    algorithm: ObjectIdentifier,
    parameters: Option<ObjectIdentifier>,
) -> Result<Curve, KeyError> {
    match algorithm {
        ID_EC_PUBLIC_KEY => {
            let named = parameters.ok_or(KeyError::UnnamedCurve)?;
            Curve::ALL
                .into_iter()
                .find(|curve| curve.oid() == named)
                .ok_or_else(|| KeyError::UnsupportedCurve(named.to_string()))
        }
        RSA_ENCRYPTION => Err(KeyError::NotEc("an RSA key".into())),
        ID_ED25519 => Err(KeyError::NotEc("an Ed25519 key".into())),
        other => Err(KeyError::NotEc(format!("a key of type {other}"))),
    }
}
