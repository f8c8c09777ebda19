//! Chunks in memory: private buffers, verified bytes, and how they are kept and shared.
//!
//! Guarantees: [`VerifiedBytes`] are the signed ones (`verified`); each chunk is verified once,
//! however many threads ask for it at a time (`in_flight`); what is kept is bounded (`cache`).
//! Doesn't: read a source.

pub(in crate::reading) mod buffer;
mod cache;
mod in_flight;
mod verified;

pub use self::cache::Retain;
pub(in crate::reading) use self::cache::{ChunkCache, Key};
pub(in crate::reading) use self::in_flight::{Claims, InFlight};
pub use self::verified::VerifiedBytes;
pub(in crate::reading) use self::verified::{ChunkVerifier, verify_chunks, verify_length};
