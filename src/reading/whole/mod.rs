//! Whole models: hashing one that is to be signed, and verifying one against its signature.
//!
//! Guarantees: every byte of every file is read. Doesn't: hold for longer than that takes.

pub mod hash;
pub mod verify;
