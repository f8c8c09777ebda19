//! The methods of OMS: with what a signature is checked, and how keys are read that make one.

pub mod certificate;
pub mod key;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod sigstore;
