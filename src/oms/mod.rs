//! OMS, the `OpenSSF` Model Signing format: what a signature file is and who made it.
//!
//! ```text
//! Sigstore bundle (JSON)         bundle      mediaType, verificationMaterial, dsseEnvelope
//! └─ DSSE envelope               dsse        what is signed, and over which bytes
//!    └─ in-toto Statement v1     statement   _type, subject[1], predicateType
//!       └─ OMS predicate         statement   resources[], serialization{}
//! ```
//!
//! Guarantees: [`verify::verify`] is the only way to a [`verify::VerifiedStatement`], and no byte
//! of a payload is parsed as a statement before the signature over those very bytes held (an
//! unverified look goes through a type of its own, [`crate::manifest::UnverifiedManifest`]). Every
//! size that a bundle chooses has a named bound.
//!
//! Where the formats have JSON objects or tables only those are read, by name, and nothing that
//! isn't UTF-8 (`strict`).
//!
//! Doesn't: look at any file of the model, or know which names make a sensible directory tree; that
//! is [`crate::manifest`].
//!
//! The methods are `key`, [`certificate`] and [`sigstore`]. Each is a variant of [`trust::Trust`]
//! and [`trust::Signer`] and an arm in [`verify`]; a further one changes nothing else.
//!
//! Every error of these modules says that a signature is invalid, malformed or by somebody else,
//! save those of [`key`], [`sign`], [`sigstore::trusted_root`] and [`trust_store`], which are about
//! the user's own files, and of `sigstore::signing`, which are about services too.

mod base64;
pub mod bundle;
pub mod certificate;
pub mod chain;
pub mod claim;
pub mod dsse;
pub mod key;
mod pem_file;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod sign;
pub mod sigstore;
pub mod statement;
mod strict;
pub mod trust;
pub mod trust_store;
pub mod verify;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// A JSON array of which only the first `MAX` entries are kept and all are counted: a rule about
/// their number can be checked, and a hostile array costs no memory.
#[derive(Debug)]
struct Few<T, const MAX: usize> {
    items: Vec<T>,
    count: usize,
}

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            count: 0,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FewVisitor<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for FewVisitor<T, MAX> {
            type Value = Few<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
                let mut count = items.len();
                if count == MAX {
                    while seq.next_element::<IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                }
                Ok(Few { items, count })
            }
        }

        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keeps_the_first_and_counts_all() {
        for count in 0..6 {
            let text = serde_json::to_string(&vec![7; count]).unwrap();
            let few: Few<u8, 3> = serde_json::from_str(&text).unwrap();
            assert_eq!((few.items.len(), few.count), (count.min(3), count));
        }
    }
}
