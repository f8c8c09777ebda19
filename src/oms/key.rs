//! EC keys from PEM files, and ECDSA with them (OMS v1.0, 4.1 and 4.2).
//!
//! Guarantees: a key is on P-256, P-384 or P-521, named by its curve's identifier and not by
//! explicit parameters; the hash goes with the curve (SHA-256, -384, -512). A password and the
//! decrypted form of a private key are wiped when dropped and appear in no message.
//!
//! Doesn't: read files, so whoever reads one keeps its bytes in [`zeroize::Zeroizing`]; or wipe the
//! copies that the PEM decoder makes on its way.

use std::fmt;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use aws_lc_rs::digest as message_digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair as _, ParsedPublicKey,
};
use md5::{Digest as _, Md5};
use pkcs8::der::asn1::{AnyRef, ContextSpecific, OctetStringRef};
use pkcs8::der::{self, Reader as _, SliceReader, TagNumber};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Pbkdf2Prf};
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{EncryptedPrivateKeyInfo, ObjectIdentifier, PrivateKeyInfo};
use zeroize::Zeroizing;

use super::pem_file;
use crate::digest::Algorithm;
use crate::name::Escaped;

/// Largest PEM file, in bytes. Text before the key is allowed, so this isn't tight.
pub const MAX_PEM: usize = 1 << 20;

/// Most PBKDF2 iterations: the largest number that RFC 8018, section 4.2, suggests for any use.
pub const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

/// Most memory that an scrypt-encrypted key may ask for, in bytes: 128 · N · r. OpenSSL writes 16
/// MiB.
pub const MAX_SCRYPT_MEMORY: u64 = 1 << 30;

/// Most passes over that memory.
pub const MAX_SCRYPT_PARALLELIZATION: u16 = 16;

pub(super) const ID_EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

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
    fn legacy_verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA256_ASN1,
            Self::P521 => &ECDSA_P521_SHA256_ASN1,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// The hash that goes with the curve, of a message that is given in parts.
    pub(super) fn hash(self, message: &[&[u8]]) -> message_digest::Digest {
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
                found: found(&blocks),
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
    pub(super) fn verify_legacy(
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

/// The password of a private key: bytes, wiped when dropped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes exactly as they are; a newline at the end of a file is for the caller to
    /// cut.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for those who open a key with them.
    #[cfg(feature = "pkcs11")]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
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
                found: found(&blocks),
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
            .sign_digest(&self.public.curve.hash(message))
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SigningFailed(Escaped::new("the cryptographic library refused")))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, …)", self.public.curve)
    }
}

/// No signature could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the private key could not sign: {0}")]
pub struct SigningFailed(pub Escaped);

/// The blocks of a PEM file.
fn blocks(pem: &[u8]) -> Result<Vec<pem::Pem>, KeyError> {
    if pem.len() > MAX_PEM {
        return Err(KeyError::TooLarge { found: pem.len() });
    }
    pem_file::blocks(pem).ok_or(KeyError::Pem)
}

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

/// What a file has instead of the wanted block.
pub(super) fn found(blocks: &[pem::Pem]) -> Escaped {
    if blocks.is_empty() {
        return Escaped::new("no PEM block");
    }
    let tags: Vec<_> = blocks.iter().map(pem::Pem::tag).collect();
    Escaped::bounded(&tags.join(", "))
}

/// The curve of a key with this algorithm identifier.
pub(super) fn curve(
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

fn hint(spki: &[u8]) -> String {
    let block = pem::Pem::new("PUBLIC KEY", spki);
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Algorithm::Sha256
        .hash(pem::encode_config(&block, config).as_bytes())
        .to_hex()
}

/// Decrypts PKCS#8 (RFC 5958, section 3; RFC 8018, section 6.2).
fn decrypt_pkcs8(der: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Reading fails for a scheme that the crate doesn't know, and for a file that isn't one.
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| KeyError::Encryption)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(KeyError::WeakEncryption("PBES1"));
    };
    // The crate runs whatever work factor the file asks for: bounded here.
    match &parameters.kdf {
        // What OpenSSL wrote before 1.1.0, and what a file says by not saying it. The crate knows
        // it and was built without.
        Kdf::Pbkdf2(kdf) if kdf.prf == Pbkdf2Prf::HmacWithSha1 => {
            return Err(KeyError::WeakEncryption("PBKDF2 with SHA-1"));
        }
        Kdf::Pbkdf2(kdf) if kdf.iteration_count > MAX_PBKDF2_ITERATIONS => {
            return Err(KeyError::WorkFactor);
        }
        Kdf::Scrypt(kdf) => {
            let memory = 128_u64
                .checked_mul(kdf.cost_parameter)
                .and_then(|n| n.checked_mul(kdf.block_size.into()));
            if memory.is_none_or(|memory| memory > MAX_SCRYPT_MEMORY)
                || kdf.parallelization > MAX_SCRYPT_PARALLELIZATION
            {
                return Err(KeyError::WorkFactor);
            }
        }
        _ => {}
    }
    match info
        .encryption_algorithm
        .decrypt(&*password.0, info.encrypted_data)
    {
        Ok(decrypted) => Ok(Zeroizing::new(decrypted)),
        Err(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. }
            | pkcs8::pkcs5::Error::NoPbes1CryptSupport,
        ) => Err(KeyError::Encryption),
        Err(_) => Err(KeyError::WrongPassword),
    }
    .and_then(|decrypted| {
        // A wrong password passes the padding check once in 256 times.
        match PrivateKeyInfo::try_from(decrypted.as_slice()) {
            Ok(_) => Ok(decrypted),
            Err(_) => Err(KeyError::WrongPassword),
        }
    })
}

/// The `DEK-Info` header of a traditionally encrypted block; `None` if it isn't encrypted.
fn dek_info(block: &pem::Pem) -> Result<Option<String>, KeyError> {
    match block.headers().get("Proc-Type") {
        None => Ok(None),
        Some(proc_type) if proc_type.trim() == "4,ENCRYPTED" => block
            .headers()
            .get("DEK-Info")
            .map(|info| Some(info.trim().to_owned()))
            .ok_or(KeyError::Encryption),
        Some(_) => Err(KeyError::Encryption),
    }
}

/// Decrypts OpenSSL's traditional form: AES-CBC under a key that one pass of MD5 makes of the
/// password and the first 8 bytes of the initialisation vector (`EVP_BytesToKey`).
fn decrypt_traditional(
    encrypted: &[u8],
    dek_info: &str,
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (cipher, iv) = dek_info.split_once(',').ok_or(KeyError::Encryption)?;
    let mut vector = [0; 16];
    hex::decode_to_slice(iv, &mut vector).map_err(|_| KeyError::Encryption)?;
    let salt = &vector[..8];

    // Two blocks of MD5 make 32 bytes, enough for any AES key.
    let first = Zeroizing::new(<[u8; 16]>::from(
        Md5::new()
            .chain_update(&*password.0)
            .chain_update(salt)
            .finalize(),
    ));
    let second = Zeroizing::new(<[u8; 16]>::from(
        Md5::new()
            .chain_update(*first)
            .chain_update(&*password.0)
            .chain_update(salt)
            .finalize(),
    ));
    let mut key = Zeroizing::new([0; 32]);
    key[..16].copy_from_slice(&*first);
    key[16..].copy_from_slice(&*second);

    match cipher {
        "AES-128-CBC" => decrypt_cbc::<cbc::Decryptor<aes::Aes128>>(&key[..16], &vector, encrypted),
        "AES-192-CBC" => decrypt_cbc::<cbc::Decryptor<aes::Aes192>>(&key[..24], &vector, encrypted),
        "AES-256-CBC" => decrypt_cbc::<cbc::Decryptor<aes::Aes256>>(&key[..], &vector, encrypted),
        _ => Err(KeyError::Encryption),
    }
}

/// Whether DER begins as a SEC1 key does: a sequence whose first member is the number 1.
fn looks_like_sec1(der: &[u8]) -> bool {
    matches!(
        der,
        [0x30, 0..=0x7f, 2, 1, 1, ..] | [0x30, 0x81, _, 2, 1, 1, ..]
    )
}

fn decrypt_cbc<C: KeyIvInit + BlockDecryptMut>(
    key: &[u8],
    vector: &[u8],
    encrypted: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    C::new_from_slices(key, vector)
        .map_err(|_| KeyError::Encryption)?
        .decrypt_padded_vec_mut::<Pkcs7>(encrypted)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::WrongPassword)
}

/// How a private key comes to an encryption that is supported.
const REENCRYPT: &str = "encrypt it anew: openssl pkcs8 -topk8 -in OLD -out NEW \
                         -v2 aes-256-cbc -v2prf hmacWithSHA256";

/// A key file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Larger than [`MAX_PEM`].
    #[error("the key file has {found} bytes, at most {MAX_PEM} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// A PEM block is damaged.
    #[error("the key file has a damaged PEM block")]
    Pem,
    /// The wanted block isn't there.
    #[error("the key file has no {wanted} block (found: {found})")]
    NotFound {
        /// The label wanted.
        wanted: &'static str,
        /// The labels found, escaped.
        found: Escaped,
    },
    /// The wanted block is there more than once.
    #[error("the key file has more than one {0} block")]
    Several(&'static str),
    /// Not what its label says.
    #[error("the key is malformed")]
    Malformed,
    /// A SEC1 key that doesn't say which curve it is on.
    #[error("the key doesn't name its curve; it must be P-256, P-384 or P-521")]
    UnknownSec1,
    /// Not an EC key; the text says what.
    #[error("the file holds {0}; EC keys on P-256, P-384 and P-521 are supported")]
    NotEc(String),
    /// An EC key on another curve.
    #[error("the key is on curve {0}; P-256, P-384 and P-521 are supported")]
    UnsupportedCurve(String),
    /// Explicit curve parameters, which can dress up a weak curve as a known one.
    #[error("the key states its curve by explicit parameters; only named curves are supported")]
    UnnamedCurve,
    /// Encrypted, and no password given.
    #[error("the private key is encrypted and no password was given")]
    NoPassword,
    /// Encrypted with another password.
    #[error("the password does not open the private key")]
    WrongPassword,
    /// Encrypted in another way.
    #[error(
        "the private key is encrypted in an unsupported way \
         (AES-CBC is supported, with PBKDF2, scrypt or OpenSSL's traditional form); {REENCRYPT}"
    )]
    Encryption,
    /// Encrypted in a way that is out of use; the text says which.
    #[error("the private key is encrypted under {0}, which is weak and not supported; {REENCRYPT}")]
    WeakEncryption(&'static str),
    /// Above [`MAX_PBKDF2_ITERATIONS`], [`MAX_SCRYPT_MEMORY`] or [`MAX_SCRYPT_PARALLELIZATION`].
    #[error("the private key's encryption asks for an unreasonable amount of work")]
    WorkFactor,
}
