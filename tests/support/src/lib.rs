//! What the tests and benchmarks of model-fs share.
//!
//! Guarantees: nothing that is started here outlives its test; what a test needs and can't have is
//! a failure, unless it was left out on purpose ([`missing`] has the rule). Doesn't: assert
//! anything about model-fs.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "only tests call these: they panic where something is wrong, and names say the rest"
)]

pub mod bench;
pub mod built;
pub mod keys;
pub mod missing;
pub mod mounted;
pub mod pki;
pub mod process;
pub mod python_env;
pub mod reference;
pub mod sigstore;
pub mod storm;
pub mod unprivileged;
