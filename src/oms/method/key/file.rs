//! Key files, and what is wrong with one.

use crate::name::Escaped;
use crate::oms::wire::pem_file;

/// Largest PEM file, in bytes. Text before the key is allowed, so this isn't tight.
pub const MAX_PEM: usize = 1 << 20;

/// The blocks of a PEM file.
pub(super) fn blocks(pem: &[u8]) -> Result<Vec<pem::Pem>, KeyError> {
    if pem.len() > MAX_PEM {
        return Err(KeyError::TooLarge { found: pem.len() });
    }
    pem_file::blocks(pem).ok_or(KeyError::Pem)
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
    /// Above [`super::MAX_PBKDF2_ITERATIONS`], [`super::MAX_SCRYPT_MEMORY`] or
    /// [`super::MAX_SCRYPT_PARALLELIZATION`].
    #[error("the private key's encryption asks for an unreasonable amount of work")]
    WorkFactor,
}
