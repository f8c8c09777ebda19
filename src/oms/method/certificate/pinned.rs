//! Payloads that an operator has pinned, and the proof that one of them was met.
//!
//! Guarantees: a [`PinnedPayload`] is of a payload whose SHA-256 the operator has named. Its field
//! is private to this file, and [`Pins::prove`], which hashes the very bytes, is all that makes
//! one. It is what [`super::chain`] waives time for; so nothing can waive it without having looked.
//!
//! Doesn't: say that anybody signed the payload.

use std::sync::Arc;

use crate::digest::{Algorithm, Digest};

/// SHA-256 digests of payloads that an operator has looked at and named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins(Arc<[Digest]>);

impl Pins {
    /// Takes digests. An empty list pins nothing.
    pub fn new(digests: &[Digest]) -> Self {
        Self(digests.into())
    }

    /// The proof that a payload is one of the pinned ones, if it is.
    pub(super) fn prove(&self, payload: &[u8]) -> Option<PinnedPayload> {
        let digest = Algorithm::Sha256.hash(payload);
        self.0.contains(&digest).then_some(PinnedPayload(()))
    }
}

/// The proof that a payload is pinned; see the head of this file.
#[derive(Debug)]
pub(super) struct PinnedPayload(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pinned_payload_is_proved() {
        let digest = |payload: &[u8]| Algorithm::Sha256.hash(payload);
        let pins = Pins::new(&[digest(b"a"), digest(b"b")]);
        assert!(pins.prove(b"a").is_some() && pins.prove(b"b").is_some());
        for other in [&b""[..], b"c", b"ab", b"a\n", digest(b"a").as_bytes()] {
            assert!(pins.prove(other).is_none());
        }
        assert!(Pins::new(&[]).prove(b"").is_none());
        // A digest of the same bytes by another hash is none of these.
        let blake3 = Pins::new(&[Algorithm::Blake3.hash(b"a")]);
        assert!(blake3.prove(b"a").is_none());
    }
}
