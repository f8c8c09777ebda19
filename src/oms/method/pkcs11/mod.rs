//! Private keys that stay in hardware: signing through a PKCS #11 module (feature `pkcs11`).
//!
//! Guarantees: exactly one token and one private key fit the URI, else nothing is signed. What the
//! token gives as a signature left here only after it held under the public key. A module is loaded
//! from an absolute path of a regular file, never by a search of the dynamic linker's. The PIN is
//! wiped when dropped, goes to the one token that was found, and appears in no message.
//!
//! Doesn't: shield this process from the module, whose code runs in it; know keys that want their
//! PIN for each signature (`CKA_ALWAYS_AUTHENTICATE`); make or change anything on a token.

mod error;
mod key;
mod module;
mod object;
mod token;
mod uri;

pub use self::error::Pkcs11Error;
pub use self::key::Pkcs11Key;
pub use self::module::MODULE_DIRECTORIES;
pub use self::uri::{MAX_URI, Pkcs11Uri, UriError};
