//! The algorithms by which certificates are signed.

use aws_lc_rs::signature::{self as sig, VerificationAlgorithm};
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::oms::method::key::{self, Curve};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");

const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// How to check a signature that is said to be made with `signature`, by a key of the kind `key`.
pub(super) fn verification(
    signature: &AlgorithmIdentifierOwned,
    key: &AlgorithmIdentifierOwned,
) -> Option<&'static dyn VerificationAlgorithm> {
    // RFC 4055, section 5: the parameters are NULL. Some leave them out.
    let no_parameters = signature.parameters.as_ref().is_none_or(Any::is_null);
    match key.oid {
        key::RSA_ENCRYPTION => match signature.oid {
            SHA256_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA256),
            SHA384_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA384),
            SHA512_WITH_RSA if no_parameters => Some(&sig::RSA_PKCS1_2048_8192_SHA512),
            RSASSA_PSS => pss(signature.parameters.as_ref()?),
            _ => None,
        },
        key::ID_EC_PUBLIC_KEY => {
            let named = key.parameters.as_ref()?.decode_as().ok();
            let curve = key::curve(key.oid, named).ok()?;
            // RFC 5758, section 3.2: the parameters are absent.
            if signature.parameters.is_some() {
                return None;
            }
            Some(match (curve, signature.oid) {
                (Curve::P256, ECDSA_WITH_SHA256) => &sig::ECDSA_P256_SHA256_ASN1,
                (Curve::P256, ECDSA_WITH_SHA384) => &sig::ECDSA_P256_SHA384_ASN1,
                (Curve::P256, ECDSA_WITH_SHA512) => &sig::ECDSA_P256_SHA512_ASN1,
                (Curve::P384, ECDSA_WITH_SHA256) => &sig::ECDSA_P384_SHA256_ASN1,
                (Curve::P384, ECDSA_WITH_SHA384) => &sig::ECDSA_P384_SHA384_ASN1,
                (Curve::P384, ECDSA_WITH_SHA512) => &sig::ECDSA_P384_SHA512_ASN1,
                (Curve::P521, ECDSA_WITH_SHA256) => &sig::ECDSA_P521_SHA256_ASN1,
                (Curve::P521, ECDSA_WITH_SHA384) => &sig::ECDSA_P521_SHA384_ASN1,
                (Curve::P521, ECDSA_WITH_SHA512) => &sig::ECDSA_P521_SHA512_ASN1,
                _ => return None,
            })
        }
        // RFC 8410, section 3: no parameters.
        key::ID_ED25519 if signature.oid == key::ID_ED25519 && signature.parameters.is_none() => {
            Some(&sig::ED25519)
        }
        _ => None,
    }
}

/// The parameters of PSS in the one form for each hash that is in use: that hash for the message
/// and the mask, and a salt as long as it (RFC 4055, section 3.1).
fn pss(parameters: &Any) -> Option<&'static dyn VerificationAlgorithm> {
    /// DER, less the outermost tag and length. `hash` is the last arc of the hash's identifier
    /// (2.16.840.1.101.3.4.2.x).
    const fn form(hash: u8, salt: u8) -> [u8; 52] {
        [
            0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            hash, 0x05, 0x00, // hashAlgorithm
            0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
            0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash,
            0x05, 0x00, // maskGenAlgorithm, MGF1
            0xa2, 0x03, 0x02, 0x01, salt, // saltLength
        ]
    }
    let value = parameters.value();
    if value == form(1, 32) {
        Some(&sig::RSA_PSS_2048_8192_SHA256)
    } else if value == form(2, 48) {
        Some(&sig::RSA_PSS_2048_8192_SHA384)
    } else if value == form(3, 64) {
        Some(&sig::RSA_PSS_2048_8192_SHA512)
    } else {
        None
    }
}
