//! Chunk tables as files: the bytes, and nothing about trust.
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
//!     96    32  MAC: keyed BLAKE3 of bytes 0 to 95 under the host key; zero where it is shipped
//!    128  32·n  BLAKE3 chaining value of each chunk
//! ```
//!
//! Guarantees: no memory is taken for values before the header was admitted, and then exactly what
//! it announces, at most [`MAX_VALUES`](super::subtree::MAX_VALUES) of them; a file that is shorter
//! or longer than its header says is refused. Doesn't: trust anything. A [`TableHeader`] is what a
//! file says; only [`ChunkTable`](super::ChunkTable) decides what of it may be believed.

use std::io;
use std::sync::Arc;

use super::geometry::signed_chunks;
use super::subtree::{self, RootHash, VALUE_LEN};
use crate::chunk::{Chunks, SubtreeSize};
use crate::manifest::SignedContent;
use crate::reading::source::{Caching, SourceFile};

const MAGIC: &[u8; 8] = b"MFSTABLE";
const VERSION: u32 = 1;
/// Bytes of the header that the MAC covers.
const AUTHENTICATED: usize = 96;
/// Bytes of a header.
pub(super) const HEADER: usize = 128;

/// What the names of table files end in, after an identity in hexadecimal.
const SUFFIX: &str = ".table";

/// The name of the table file for content of this identity, in a model and in a store.
pub(super) fn name(identity: [u8; 32]) -> String {
    hex::encode(identity) + SUFFIX
}

/// Whether a name is one of table files: whatever has another isn't ours.
pub(super) fn is_name(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|identity| is_hex(identity, 64))
}

/// Whether a text is `len` hexadecimal digits.
pub(super) fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the header of a table file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableHeader {
    /// Chunk size.
    pub size: SubtreeSize,
    /// Length of the model file, in bytes.
    pub len: u64,
    /// Identity of the signed content that the table is for.
    pub identity: [u8; 32],
    /// BLAKE3 root hash of the model file.
    pub root: RootHash,
    /// The MAC; zeros in a shipped table.
    pub mac: [u8; 32],
}

/// A header that is about signed content, as far as it says itself; see [`TableHeader::require`],
/// which alone makes one.
pub(super) struct Required {
    content: SignedContent,
    header: TableHeader,
}

impl Required {
    /// The header.
    pub(super) const fn header(&self) -> &TableHeader {
        &self.header
    }

    /// The content, and the header.
    pub(super) fn into_parts(self) -> (SignedContent, TableHeader) {
        (self.content, self.header)
    }
}

/// Why a table file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// Reading failed, or the file ended early.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// Not a table file, or of another version.
    #[error("it isn't a table file of version {VERSION}")]
    Format,
    /// The header describes no table that model-fs writes for a file of that length.
    #[error("no table for a file of {len} bytes has chunks of {size} bytes")]
    Geometry {
        /// Length of the model file, as the header says.
        len: u64,
        /// Chunk size, as the header says.
        size: u64,
    },
    /// The file isn't as long as its header says.
    #[error("it has {found} bytes where its header asks for {expected}")]
    Length {
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The header names other content than was asked for: by identity, root hash or length.
    #[error("it is for other content: its {0} differs")]
    OtherContent(&'static str),
    /// The MAC isn't the one that this host would have written.
    #[error("it wasn't written by this host, or was edited since")]
    Mac,
    /// The values merge to another root hash.
    #[error("its chaining values don't merge to its root hash")]
    Root,
}

impl TableHeader {
    /// The bytes that a MAC is over.
    pub(super) fn authenticated(&self) -> [u8; AUTHENTICATED] {
        let mut bytes = [0; AUTHENTICATED];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12] = self.size.log2();
        bytes[16..24].copy_from_slice(&self.len.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.identity);
        bytes[56..88].copy_from_slice(&self.root);
        bytes
    }

    /// The header as it is written.
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..AUTHENTICATED].copy_from_slice(&self.authenticated());
        bytes[AUTHENTICATED..].copy_from_slice(&self.mac);
        bytes
    }

    /// Reads a header, whose chunk size must be the one that a file of its length has.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, TableFileError> {
        if &bytes[0..8] != MAGIC
            || bytes[8..12] != VERSION.to_le_bytes()
            || bytes[13..16] != [0; 3]
            || bytes[88..AUTHENTICATED] != [0; 8]
        {
            return Err(TableFileError::Format);
        }
        let header = Self {
            size: SubtreeSize::from_log2(bytes[12]).ok_or(TableFileError::Format)?,
            len: u64::from_le_bytes(array(&bytes[16..24])),
            identity: array(&bytes[24..56]),
            root: array(&bytes[56..88]),
            mac: array(&bytes[AUTHENTICATED..]),
        };
        if subtree::size_for(header.len) == Some(header.size) && header.chunks().count() > 1 {
            Ok(header)
        } else {
            Err(TableFileError::Geometry {
                len: header.len,
                size: header.size.bytes(),
            })
        }
    }

    /// Requires that it is about `content`, wherever it is from: one of the `identities` that are
    /// looked for, a signed length, a signed root hash, and a length that a table is needed for. A
    /// small file is checked against its signed digest directly, and nothing takes the place of
    /// that.
    ///
    /// # Errors
    /// [`TableFileError::OtherContent`].
    pub(super) fn require(
        &self,
        content: &SignedContent,
        identities: &[[u8; 32]],
    ) -> Result<Required, TableFileError> {
        if !identities.contains(&self.identity) {
            return Err(TableFileError::OtherContent("identity"));
        }
        if content.len().is_some_and(|signed| signed != self.len)
            || signed_chunks(content, self.len).is_some()
        {
            return Err(TableFileError::OtherContent("length"));
        }
        if content.blake3().is_some_and(|root| self.root != *root) {
            return Err(TableFileError::OtherContent("root hash"));
        }
        Ok(Required {
            content: content.clone(),
            header: self.clone(),
        })
    }

    /// How the model file is cut.
    pub(super) fn chunks(&self) -> Chunks {
        Chunks::new(self.size.bytes(), self.len)
    }
}

/// A table file that is being read: its header, and values that nothing was read of yet.
pub(super) struct OpenTable {
    file: Arc<dyn SourceFile>,
    header: TableHeader,
}

impl OpenTable {
    /// Reads the header, and compares the length of the file with what it announces.
    pub(super) fn open(file: Arc<dyn SourceFile>) -> Result<Self, TableFileError> {
        let mut bytes = [0; HEADER];
        if file.read_at(&mut bytes, 0, Caching::Keep)? < HEADER {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let header = TableHeader::decode(&bytes)?;
        let expected = HEADER as u64 + header.chunks().count() * VALUE_LEN as u64;
        let found = file.len()?;
        if found == expected {
            Ok(Self { file, header })
        } else {
            Err(TableFileError::Length { expected, found })
        }
    }

    /// What the header says.
    pub(super) fn header(&self) -> &TableHeader {
        &self.header
    }

    /// Reads the values.
    pub(super) fn values(&self) -> Result<Box<[u8]>, TableFileError> {
        let count = usize::try_from(self.header.chunks().count()).map_err(io::Error::other)?;
        // Geometry was checked: at most MAX_VALUES of them.
        let mut values = vec![0; count * VALUE_LEN].into_boxed_slice();
        let read = self
            .file
            .read_at(&mut values, HEADER as u64, Caching::Keep)?;
        if read < values.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(values)
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
    use crate::reading::table::subtree::MAX_VALUES;

    const CHUNK: u64 = SubtreeSize::DEFAULT.bytes();

    struct Bytes(Vec<u8>);

    impl SourceFile for Bytes {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64, _: Caching) -> io::Result<usize> {
            let rest = &self.0[self.0.len().min(usize::try_from(offset).unwrap())..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    fn sample() -> TableHeader {
        TableHeader {
            size: SubtreeSize::DEFAULT,
            len: 3 * CHUNK - 1,
            identity: [1; 32],
            root: [2; 32],
            mac: [3; 32],
        }
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = sample().encode().to_vec();
        bytes.extend_from_slice(&[4; 3 * VALUE_LEN]);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<OpenTable, TableFileError> {
        OpenTable::open(Arc::new(Bytes(bytes.to_vec())))
    }

    #[test]
    fn round_trip() {
        let table = open(&encoded()).unwrap();
        assert_eq!(*table.header(), sample());
        assert_eq!(*table.values().unwrap(), [4; 3 * VALUE_LEN]);
    }

    #[test]
    fn truncated_and_extended_files_are_refused() {
        let bytes = encoded();
        for len in 0..bytes.len() {
            assert!(open(&bytes[..len]).is_err(), "{len} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(
            open(&longer),
            Err(TableFileError::Length {
                expected: 224,
                found: 225
            })
        ));
    }

    /// One chunk size belongs to each length, so that no header can ask for more than
    /// [`MAX_VALUES`] values, or for chunks that would make each read hash megabytes.
    #[test]
    fn hostile_geometry_is_refused_before_memory_is_taken() {
        let refused = |len: u64, log2: u8| {
            let mut bytes = encoded();
            bytes[16..24].copy_from_slice(&len.to_le_bytes());
            bytes[12] = log2;
            matches!(open(&bytes), Err(TableFileError::Geometry { .. }))
        };
        let largest = MAX_VALUES * SubtreeSize::MAX.bytes();
        for len in [0, 1, CHUNK, MAX_VALUES * CHUNK + 1, largest + 1, u64::MAX] {
            assert!(refused(len, SubtreeSize::DEFAULT.log2()), "{len}");
            assert!(refused(len.max(largest + 1), SubtreeSize::MAX.log2()));
        }
        for log2 in (14..=24).filter(|&log2| log2 != 16) {
            assert!(refused(3 * CHUNK - 1, log2), "2^{log2}");
        }
    }
}
