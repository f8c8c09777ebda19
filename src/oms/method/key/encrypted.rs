//! Private keys under a password: PKCS#8 (PBES2), and OpenSSL's traditional form (`DEK-Info`).
//!
//! Guarantees: whatever a file asks for, the work and the memory are bounded. A password and the
//! decrypted key are wiped when dropped. Doesn't: look into the key further than it takes to tell a
//! wrong password.

use std::fmt;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use md5::{Digest as _, Md5};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{Kdf, Pbkdf2Prf};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo};
use zeroize::Zeroizing;

use super::file::KeyError;

/// Most PBKDF2 iterations: the largest number that RFC 8018, section 4.2, suggests for any use.
pub const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

/// Most memory that an scrypt-encrypted key may ask for, in bytes: 128 · N · r. OpenSSL writes 16
/// MiB.
pub const MAX_SCRYPT_MEMORY: u64 = 1 << 30;

/// Most passes over that memory.
pub const MAX_SCRYPT_PARALLELIZATION: u16 = 16;

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
    pub(in crate::oms) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Decrypts PKCS#8 (RFC 5958, section 3; RFC 8018, section 6.2).
pub(super) fn decrypt_pkcs8(
    der: &[u8],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
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
pub(super) fn dek_info(block: &pem::Pem) -> Result<Option<String>, KeyError> {
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
pub(super) fn decrypt_traditional(
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
pub(super) fn looks_like_sec1(der: &[u8]) -> bool {
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
