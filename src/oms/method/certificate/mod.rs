//! X.509 certificates (RFC 5280), as far as the OMS method `certificate` needs them.
//!
//! Guarantees: a [`Certificate`] is well-formed DER whose extensions occur once each; those that
//! decide what it may do are decoded. `Certificate::is_signed_by` checks the bytes that were
//! decoded, and accepts no signature by a broken hash or a short key. Files and numbers are
//! bounded.
//!
//! Doesn't: decide whom to trust; `chain` does. Nor does it ask whether a certificate was
//! revoked: verification works without a network.

mod algorithms;
mod anchors;
#[doc(hidden)] // for the tests of paths; the program only has `verify`
pub mod chain;
mod error;
mod moment;
mod path_error;
mod pinned;
mod rules;
mod x509;

pub use self::anchors::Anchors;
pub use self::error::{CertificateError, MAX_ANCHORS, MAX_PEM};
pub use self::moment::{Moment, Span, ValidAt, ValidAtError, When};
pub use self::path_error::{PathError, Untimely};
pub use self::pinned::Pins;
pub use self::rules::CertificateRule;
pub(in crate::oms) use self::rules::{CODE_SIGNING, TIME_STAMPING};
pub use self::x509::{Certificate, MAX_EXTENSIONS};
