//! The key under which this host keeps what it has proved itself.
//!
//! Guarantees: it is derived for this one purpose, and cleared from memory when it is dropped.
//! Doesn't: keep the secret that it is derived from; the store does.

use zeroize::Zeroizing;

use super::file::TableHeader;

/// The key of this host for what it has proved itself.
pub(super) struct HostKey(Zeroizing<[u8; 32]>);

/// The context of the MAC key. Another meaning of what is signed with it needs another context:
/// stores of version 1 hold bindings that a model's owner could have chosen.
const MAC_CONTEXT: &str = "model-fs index store 2026-11-30 binding MAC, store version 2";

impl HostKey {
    /// The key that is derived from a secret of the store and what identifies the machine.
    pub(super) fn derive(material: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(MAC_CONTEXT, material)))
    }

    /// The MAC of a header.
    pub(super) fn mac(&self, header: &TableHeader) -> blake3::Hash {
        blake3::keyed_hash(&self.0, &header.authenticated())
    }
}
