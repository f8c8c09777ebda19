//! OMS, the `OpenSSF` Model Signing format: what a signature file is and who made it.
//!
//! ```text
//! Sigstore bundle (JSON)         bundle      mediaType, verificationMaterial, dsseEnvelope
//! └─ DSSE envelope               dsse        what is signed, and over which bytes
//!    └─ in-toto Statement v1     statement   _type, subject[1], predicateType
//!       └─ OMS predicate         statement   resources[], serialization{}
//! ```
//!
//! Guarantees: [`verify`] is the only way to a [`verify::VerifiedStatement`], and no byte
//! of a payload is parsed as a statement before the signature over those very bytes held (an
//! unverified look goes through a type of its own, [`crate::manifest::UnverifiedManifest`]). Every
//! size that a bundle chooses has a named bound.
//!
//! Where the formats have JSON objects or tables only those are read, by name, and nothing that
//! isn't UTF-8 (`wire::strict`).
//!
//! Doesn't: look at any file of the model, or know which names make a sensible directory tree; that
//! is [`crate::manifest`].
//!
//! Imports go downward only, and no files import one another in a circle:
//!
//! | layer | where | holds |
//! |---|---|---|
//! | 7 | [`sign`], [`trust_store`] | signatures to be made; signers to be believed, in files |
//! | 6 | [`verify`] | the one way from a bundle and a trust to a verified statement |
//! | 5 | [`trust`], [`claim`] | whom to believe; what a bundle says of itself, for people |
//! | 4 | [`key`] < [`certificate`] < [`sigstore`], `pkcs11` | the methods, in `method/` |
//! | 3 | `signer` | whom a signature turned out to be by |
//! | 2 | [`bundle`], [`statement`] | the documents: members and bounds, apart from the rules |
//! | 1 | `dsse` | the envelope, and the message that is signed |
//! | 0 | `wire/` | spellings: base64, PEM, strict JSON and TOML |
//!
//! A method is a variant of each of these, and an arm in [`verify`]; a further one changes nothing
//! else. They look alike and say different things, so that no claim is taken for a proof:
//!
//! | type | what it says |
//! |---|---|
//! | [`bundle::Method`] | which method, and nothing more |
//! | [`bundle::Material`] | a claim: what the bundle holds, in its bytes |
//! | [`claim::Claim`] | the same claim, decoded for people |
//! | [`trust::Trust`] | whom the user believes |
//! | [`trust_store::NewIdentity`] | whom the user would believe: files that nothing has read yet |
//! | [`trust::Signer`] | what verification proved |
//! | [`sign::Signing`] | with what to sign |
//!
//! Every error of these modules says that a signature is invalid, malformed or by someone else,
//! save those of [`key`], [`sign`], [`sigstore::trusted_root`] and [`trust_store`], which are about
//! the user's own files, and of `sign::sigstore`, which are about services too.

pub mod bundle;
pub mod claim;
#[doc(hidden)] // for tests, which sign payloads of their own
pub mod dsse;
mod method;
pub mod sign;
mod signer;
pub mod statement;
pub mod trust;
pub mod trust_store;
pub mod verify;
mod wire;

#[cfg(feature = "pkcs11")]
pub use self::method::pkcs11;
pub use self::method::{certificate, key, sigstore};
