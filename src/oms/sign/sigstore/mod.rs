//! Signs with Sigstore: a key made up for one signature, a certificate for whom an identity token
//! names, and a log that saw both (Sigstore client specification, "Signing").
//!
//! Guarantees: what [`SigstoreSigner`] gives out has been verified as any verifier does, against
//! the trusted root in use, for the identity that the certificate names, and its payload is the one
//! given, byte for byte. So a service that answers with another signer's certificate, another log's
//! entry or an entry about something else makes an error, not a signature. The private key never
//! leaves the process and is dropped with the signature. The identity token goes to the certificate
//! authority alone, in the body of one request that follows no redirect, over TLS (or in the clear
//! to a service on this host); it is in no error, and what is kept of it here is wiped from memory
//! when dropped.
//!
//! Doesn't: get a token, or refresh a signing configuration; wipe the copies that the HTTP client
//! makes for a request; bound the size of a service's answer, other than by the time that it may
//! take (the crate's clients read it whole, and the HTTP library has no limit to give them; packed
//! answers aren't asked for and not unpacked). A failure after the log took the entry leaves that
//! entry there for ever, as logs do.
//!
//! The work is done by `sigstore-sign`, which signs the bytes that it is given. It parses them too,
//! into a tree of several times their size.

mod instance;
mod signer;
mod token;

pub use self::instance::{Instance, InstanceError, RekorVersion, ServiceUrls};
pub use self::signer::{SigstoreSigner, SigstoreSigningError};
pub use self::token::{IdentityToken, MAX_TOKEN, TokenError};
