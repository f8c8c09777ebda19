//! The signature file: a Sigstore bundle in JSON (OMS v1.0, 4; Sigstore bundle v0.3).
//!
//! Guarantees: a [`Bundle`] has exactly the media type of OMS, exactly one kind of verification
//! material and one DSSE envelope with one signature; nothing in it is larger than the bounds here.
//! JSON members that aren't known are passed over; a known member that occurs twice is an error, as
//! is an array where an object belongs.
//!
//! Doesn't: check any signature. Everything in a [`Bundle`] is a claim of the author of the file;
//! what it says about its own key is never trusted.

mod error;
mod evidence;
mod material;
mod rules;
mod wire;

pub use self::error::BundleError;
pub use self::evidence::{
    Evidence, EvidenceError, LogEntry, MAX_CHECKPOINT, MAX_KIND, MAX_LOG_BODY, MAX_LOG_ENTRIES,
    MAX_PROMISE, MAX_PROOF, MAX_TIMESTAMP, MAX_TIMESTAMPS,
};
pub use self::material::{Material, Method};
pub use self::rules::Bundle;
pub use self::wire::{
    MAX_BUNDLE, MAX_CERTIFICATE, MAX_CERTIFICATES, MAX_ESCAPED, MAX_HINT, MEDIA_TYPE,
};
