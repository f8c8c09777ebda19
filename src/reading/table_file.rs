//! Chunk tables as files.
//!
//! ```text
//! offset  size
//!      0     8  magic "MFSTABLE"
//!      8     4  version, little endian: 1
//!     12     1  log2 of the chunk size in bytes
//!     13     3  zero
//!     16     8  length of the file in bytes, little endian
//!     24    32  identity of what was signed (`SignedContent::identity`)
//!     56    32  BLAKE3 root hash of the file
//!     88     8  zero
//!     96    32  MAC: keyed BLAKE3 of bytes 0 to 95 under the host key; zero where a table is shipped
//!    128  32·n  BLAKE3 chaining value of each chunk
//! ```
//!
//! Guarantees: decoding takes no more memory than a table of the file's length needs, and never
//! more than [`MAX_VALUES`]. Doesn't: trust anything. The chaining values prove themselves against
//! a root hash; whether the root hash and the length in the header may be believed is up to the
//! MAC, which [`IndexStore`](super::IndexStore) checks.

use std::io::{self, Read, Write};

use super::subtree::{RootHash, VALUE_LEN};
use super::table::MAX_VALUES;
use crate::chunk::{Chunks, SubtreeSize};

const MAGIC: &[u8; 8] = b"MFSTABLE";
const VERSION: u32 = 1;
/// Bytes of the header that the MAC covers.
const AUTHENTICATED: usize = 96;
const HEADER: usize = 128;

/// What a table file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Chunk size.
    pub size: SubtreeSize,
    /// Length of the model file, in bytes.
    pub len: u64,
    /// Identity of the signed content that the table is for.
    pub identity: [u8; 32],
    /// BLAKE3 root hash of the model file.
    pub root: RootHash,
    /// Chaining values, [`VALUE_LEN`] bytes a chunk.
    pub values: Box<[u8]>,
}

/// A key for the MAC of bindings.
pub(super) type MacKey = [u8; 32];

/// Why a table file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// Reading failed, or the file ended early.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// Not a table file, or of another version.
    #[error("it isn't a table file of version {VERSION}")]
    Format,
    /// The length asks for more than [`MAX_VALUES`], or for fewer than two chunks.
    #[error("it is for a file of {0} bytes, which no table can be for")]
    Length(u64),
    /// More bytes than the header announces.
    #[error("it is longer than its header says")]
    Trailing,
    /// The MAC isn't the one that this host would have written.
    #[error("it wasn't written by this host, or was edited since")]
    Mac,
}

impl TableFile {
    /// Writes the file, with a MAC if a key is given.
    pub(super) fn write(&self, out: &mut impl Write, key: Option<&MacKey>) -> io::Result<()> {
        let mut header = [0; HEADER];
        header[0..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12] = self.size.log2();
        header[16..24].copy_from_slice(&self.len.to_le_bytes());
        header[24..56].copy_from_slice(&self.identity);
        header[56..88].copy_from_slice(&self.root);
        if let Some(key) = key {
            let mac = blake3::keyed_hash(key, &header[..AUTHENTICATED]);
            header[AUTHENTICATED..].copy_from_slice(mac.as_bytes());
        }
        out.write_all(&header)?;
        out.write_all(&self.values)
    }

    /// Reads a file; with a key, only one whose MAC holds.
    pub(super) fn read(
        input: &mut impl Read,
        key: Option<&MacKey>,
    ) -> Result<Self, TableFileError> {
        let mut header = [0; HEADER];
        input.read_exact(&mut header)?;
        if &header[0..8] != MAGIC
            || header[8..12] != VERSION.to_le_bytes()
            || header[13..16] != [0; 3]
            || header[88..AUTHENTICATED] != [0; 8]
        {
            return Err(TableFileError::Format);
        }
        let size = SubtreeSize::from_log2(header[12]).ok_or(TableFileError::Format)?;
        if let Some(key) = key {
            // `blake3::Hash` compares in constant time.
            let found: [u8; 32] = array(&header[AUTHENTICATED..]);
            if blake3::keyed_hash(key, &header[..AUTHENTICATED]) != found {
                return Err(TableFileError::Mac);
            }
        }
        let len = u64::from_le_bytes(array(&header[16..24]));
        let count = Chunks::new(size.bytes(), len).count();
        let bytes = count.saturating_mul(VALUE_LEN as u64);
        let bytes = match usize::try_from(bytes) {
            Ok(small) if count > 1 && bytes <= MAX_VALUES => small,
            _ => return Err(TableFileError::Length(len)),
        };
        // Grows with what is really there: a short file can't make us reserve a gigabyte.
        let mut values = Vec::new();
        input.take(bytes as u64 + 1).read_to_end(&mut values)?;
        if values.len() < bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if values.len() > bytes {
            return Err(TableFileError::Trailing);
        }
        Ok(Self {
            size,
            len,
            identity: array(&header[24..56]),
            root: array(&header[56..88]),
            values: values.into(),
        })
    }
}

/// A fixed part of the header.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .try_into()
        .expect("a slice of the header of this length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MacKey = [42; 32];

    fn sample() -> TableFile {
        TableFile {
            size: SubtreeSize::MIN,
            len: 3 * 16384 - 1,
            identity: [1; 32],
            root: [2; 32],
            values: vec![3; 3 * VALUE_LEN].into(),
        }
    }

    fn encoded(key: Option<&MacKey>) -> Vec<u8> {
        let mut bytes = Vec::new();
        sample().write(&mut bytes, key).unwrap();
        bytes
    }

    #[test]
    fn round_trip() {
        for key in [None, Some(&KEY)] {
            let bytes = encoded(key);
            assert_eq!(TableFile::read(&mut &bytes[..], key).unwrap(), sample());
        }
    }

    #[test]
    fn every_edit_of_a_binding_is_noticed() {
        let bytes = encoded(Some(&KEY));
        for position in 0..HEADER {
            for bit in 0..8 {
                let mut edited = bytes.clone();
                edited[position] ^= 1 << bit;
                assert!(
                    TableFile::read(&mut &edited[..], Some(&KEY)).is_err(),
                    "byte {position}, bit {bit}"
                );
            }
        }
        assert!(matches!(
            TableFile::read(&mut &bytes[..], Some(&[43; 32])),
            Err(TableFileError::Mac)
        ));
        let shipped = encoded(None);
        assert!(matches!(
            TableFile::read(&mut &shipped[..], Some(&KEY)),
            Err(TableFileError::Mac)
        ));
    }

    #[test]
    fn truncated_and_extended_files_are_refused() {
        let bytes = encoded(None);
        for len in 0..bytes.len() {
            assert!(
                TableFile::read(&mut &bytes[..len], None).is_err(),
                "{len} bytes"
            );
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(
            TableFile::read(&mut &longer[..], None),
            Err(TableFileError::Trailing)
        ));
    }

    #[test]
    fn hostile_lengths_are_refused_before_memory_is_taken() {
        for len in [0, 1, 16384, MAX_VALUES / 32 * 16384 + 1, u64::MAX] {
            let mut bytes = encoded(None);
            bytes[16..24].copy_from_slice(&len.to_le_bytes());
            assert!(matches!(
                TableFile::read(&mut &bytes[..], None),
                Err(TableFileError::Length(_))
            ));
        }
    }
}
