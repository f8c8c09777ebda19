//! EC keys from PEM files, and ECDSA with them (OMS v1.0, 4.1 and 4.2).
//!
//! Guarantees: a key is on P-256, P-384 or P-521, named by its curve's identifier and not by
//! explicit parameters; the hash goes with the curve (SHA-256, -384, -512). A password and the
//! decrypted form of a private key are wiped when dropped and appear in no message.
//!
//! Doesn't: read files, so their readers keep the bytes in [`zeroize::Zeroizing`]; or wipe the
//! copies that the PEM decoder makes on its way.

mod curve;
mod encrypted;
mod file;
mod private;
mod public;

pub use self::curve::Curve;
pub(in crate::oms) use self::curve::{ID_EC_PUBLIC_KEY, ID_ED25519, RSA_ENCRYPTION, curve};
pub use self::encrypted::{
    MAX_PBKDF2_ITERATIONS, MAX_SCRYPT_MEMORY, MAX_SCRYPT_PARALLELIZATION, Password,
};
pub use self::file::{KeyError, MAX_PEM};
pub use self::private::{PrivateKey, SigningFailed, SigningKey};
pub use self::public::{PublicKey, SignatureMismatch};
