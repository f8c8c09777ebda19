//! Writes signed bundles.
//!
//! Guarantees: the statement is plain OMS v1.0, and the same draft gives the same payload. A bundle
//! of the method `certificate` is signed with the key of its first certificate, which was valid and
//! for signing when the [`SigningCertificate`] was made. Doesn't: check the draft's rules, which
//! [`crate::manifest::Manifest`] keeps; or write a file; or know whom verifiers trust.
//!
//! [`Signing`] says how a payload gets signed. Keys that live elsewhere (PKCS #11) implement
//! [`SigningKey`](super::key::SigningKey); methods that need more than a signature over the PAE
//! (Sigstore) join as variants. A Sigstore signature is by a key that the services certified, and
//! verified before it is given out.
//!
//! An [`Attestation`] is another statement about a model, in an envelope by itself.

mod attestation;
mod certificate;
mod signing;
#[cfg(feature = "sigstore-sign")]
pub mod sigstore;

pub use self::attestation::{AttestError, Attestation, claimed_key};
pub use self::certificate::{KeyMismatch, SigningCertificate, SigningCertificateError};
pub(crate) use self::signing::sign;
#[cfg(test)]
pub(crate) use self::signing::sign_payload;
pub use self::signing::{Compat, SignError, Signing};
