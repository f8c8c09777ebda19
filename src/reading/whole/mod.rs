//! Whole models: hashing one that is to be signed, and verifying one against its signature.
//!
//! Guarantees: every byte that is, or is to be, signed is read, but of files whose length alone
//! shows that they aren't what was signed. Doesn't: hold for longer than that takes.

pub mod hash;
pub mod locate;
pub mod verify;
