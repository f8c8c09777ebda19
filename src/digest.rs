//! Digests: an algorithm of the OMS registry and the bytes it gave.
//!
//! Guarantees: a [`Digest`] has exactly the length that its [`Algorithm`] gives. Doesn't: say what
//! was hashed, or that it was signed.

use std::fmt;

use blake2::Blake2b512;
use sha2::Digest as _;
use sha2::Sha256;

use crate::name::Escaped;

/// A hash algorithm of the OMS registry (OMS v1.0, 7, and its algorithm registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`: 32 bytes, the algorithm every verifier must know.
    Sha256,
    /// `blake2b`: BLAKE2b with its full 64 bytes.
    Blake2b,
    /// `blake3`: 32 bytes, the root of a Merkle tree over 1024-byte BLAKE3 chunks.
    Blake3,
}

impl Algorithm {
    /// Every algorithm of the registry.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Blake2b, Self::Blake3];

    /// The longest digest of any algorithm, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name in the OMS registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Looks an algorithm up by its registry name.
    ///
    /// # Errors
    /// [`DigestError::UnknownAlgorithm`] for any other name.
    pub fn from_name(name: &str) -> Result<Self, DigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| DigestError::UnknownAlgorithm(Escaped::bounded(name)))
    }

    /// Digest length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
        }
    }

    /// A hasher for this algorithm.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Blake2b => Hasher::Blake2b(Box::default()),
            Self::Blake3 => Hasher::Blake3(Box::default()),
        }
    }

    /// The digest of `bytes`.
    pub fn hash(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A running hash.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256, with the processor's SHA instructions where it has them.
    Sha256(Sha256),
    /// BLAKE2b-512.
    Blake2b(Box<Blake2b512>),
    /// BLAKE3 with the widest SIMD the processor has.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::from_array(Algorithm::Sha256, hasher.finalize().into()),
            Self::Blake3(hasher) => Digest::from_array(Algorithm::Blake3, hasher.finalize().into()),
            Self::Blake2b(hasher) => Digest {
                algorithm: Algorithm::Blake2b,
                bytes: hasher.finalize().into(),
            },
        }
    }
}

/// An algorithm and the bytes it gave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first `algorithm.len()` bytes count, the rest are zero.
    bytes: [u8; Algorithm::MAX_LEN],
}

impl Digest {
    /// A digest from raw bytes.
    ///
    /// # Errors
    /// [`DigestError::Length`] if `bytes` isn't as long as the algorithm's digests are.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, DigestError> {
        if bytes.len() != algorithm.len() {
            return Err(DigestError::Length {
                algorithm,
                found: bytes.len(),
            });
        }
        let mut padded = [0; Algorithm::MAX_LEN];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self {
            algorithm,
            bytes: padded,
        })
    }

    /// A digest from hexadecimal text. OMS writes lowercase; uppercase is refused.
    ///
    /// # Errors
    /// [`DigestError::NotHex`] or [`DigestError::Length`].
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Result<Self, DigestError> {
        // Bounded before decoding: the text may come from an attacker.
        if text.len() != 2 * algorithm.len() {
            return Err(DigestError::Length {
                algorithm,
                found: text.len() / 2,
            });
        }
        if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::NotHex { algorithm });
        }
        let mut bytes = [0; Algorithm::MAX_LEN];
        hex::decode_to_slice(text, &mut bytes[..algorithm.len()])
            .map_err(|_| DigestError::NotHex { algorithm })?;
        Ok(Self { algorithm, bytes })
    }

    fn from_array(algorithm: Algorithm, bytes: [u8; 32]) -> Self {
        let mut padded = [0; Algorithm::MAX_LEN];
        padded[..32].copy_from_slice(&bytes);
        Self {
            algorithm,
            bytes: padded,
        }
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes, [`Algorithm::len`] of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// The bytes as lowercase hexadecimal text, without the algorithm.
    pub fn to_hex(&self) -> String {
        self.with_hex(str::to_owned)
    }

    /// Gives `then` that text, which isn't allocated: a model may have a million.
    fn with_hex<T>(&self, then: impl FnOnce(&str) -> T) -> T {
        let bytes = self.as_bytes();
        let mut text = [0; 2 * Algorithm::MAX_LEN];
        let text = &mut text[..2 * bytes.len()];
        // Several times as fast as `hex::encode`, which goes by characters.
        let encoded = hex::encode_to_slice(bytes, text);
        // Neither can fail: the length is right, and the digits are ASCII.
        let encoded = encoded.ok().and_then(|()| str::from_utf8(text).ok());
        then(encoded.unwrap_or_default())
    }
}

impl fmt::Display for Digest {
    /// `sha256:5f…`, the whole digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        self.with_hex(|text| f.write_str(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a digest as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not a name of the registry.
    #[error("unknown hash algorithm \"{0}\" (known: sha256, blake2b, blake3)")]
    UnknownAlgorithm(Escaped),
    /// Wrong number of bytes.
    #[error("a {algorithm} digest has {} bytes, this one {found}", algorithm.len())]
    Length {
        /// The algorithm that was named.
        algorithm: Algorithm,
        /// Bytes found.
        found: usize,
    },
    /// Something else than lowercase hexadecimal digits.
    #[error("a {algorithm} digest is written in lowercase hexadecimal digits")]
    NotHex {
        /// The algorithm that was named.
        algorithm: Algorithm,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let hex = |algorithm: Algorithm| algorithm.hash(b"abc").to_hex();
        assert_eq!(
            hex(Algorithm::Sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hex(Algorithm::Blake2b).starts_with("ba80a53f981c4d0d6a2797b69f12f6e9"));
        assert_eq!(hex(Algorithm::Blake2b).len(), 128);
        assert_eq!(
            hex(Algorithm::Blake3),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
    }

    #[test]
    fn hex_is_strict() {
        let good = Algorithm::Sha256.hash(b"x");
        assert_eq!(
            Digest::from_hex(Algorithm::Sha256, &good.to_hex()).unwrap(),
            good
        );
        let upper = good.to_hex().to_uppercase();
        assert!(matches!(
            Digest::from_hex(Algorithm::Sha256, &upper),
            Err(DigestError::NotHex { .. })
        ));
        for text in [
            "",
            "0",
            "00",
            &good.to_hex()[..63],
            &format!("{}0", good.to_hex()),
        ] {
            assert!(matches!(
                Digest::from_hex(Algorithm::Sha256, text),
                Err(DigestError::Length { .. })
            ));
        }
        let not_hex = "é".repeat(32);
        assert_eq!(not_hex.len(), 64);
        assert!(Digest::from_hex(Algorithm::Sha256, &not_hex).is_err());
    }

    #[test]
    fn same_bytes_under_another_algorithm_differ() {
        let bytes = [7; 32];
        assert_ne!(
            Digest::new(Algorithm::Sha256, &bytes).unwrap(),
            Digest::new(Algorithm::Blake3, &bytes).unwrap()
        );
        assert!(Digest::new(Algorithm::Blake2b, &bytes).is_err());
    }
}
