//! What a statement lists: names with digests and annotations, and the one digest over them.

use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::digest::{Algorithm, Digest};

/// Text of a payload, or made for one. A million resources have some each, so it takes as little as
/// a reference: the rare copy is behind two.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// As the payload has it.
    Borrowed(&'a str),
    /// Without the escapes that the payload has, or made here.
    Owned(Box<String>),
}

const _: () = assert!(size_of::<Text<'_>>() == size_of::<&str>());

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Owned(Box::new(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(text.to_owned().into())
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A resource as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The name: a path, or with shards `<path>:<start>:<end>`. Not validated.
    pub name: Text<'a>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What is said besides; boxed, since most published statements say nothing.
    pub annotations: Option<Box<Annotations>>,
}

/// What a resource says beside its digest (`docs/spec/lazy-verification.md`; the `annotations` of
/// an in-toto `ResourceDescriptor`). Each member stands for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Bytes in the file, at most [`MAX_SIZE`](Self::MAX_SIZE).
    pub size: Option<u64>,
    /// The BLAKE3 digest of the whole file, where the resource's own digest is of another hash.
    pub blake3: Option<[u8; 32]>,
}

impl Annotations {
    /// The largest size that can be stated, in bytes: 2⁶³ − 1, the largest length of a file (POSIX
    /// `off_t` in 64 bits).
    pub const MAX_SIZE: u64 = i64::MAX as u64;

    /// For a resource; `None` where nothing is said.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// SHA-256 over the raw digests one after the other (OMS v1.0, 6.5.1).
pub fn root_digest_of<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut hasher = Algorithm::Sha256.hasher();
    for digest in digests {
        hasher.update(digest.as_bytes());
    }
    hasher.finish()
}
