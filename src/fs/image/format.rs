//! Structures of EROFS on disk, little-endian, as far as they are used here.
//!
//! Guarantees: each function gives exactly one structure, as long as the format says. Doesn't: know
//! a file system. Names in brackets are those of `fs/erofs/erofs_fs.h`.

use std::time::{Duration, SystemTime};

/// Bytes in a block, of metadata, directories and data.
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;
const BLOCK_BITS: u8 = 12;

/// Where the superblock begins (`EROFS_SUPER_OFFSET`), in bytes.
pub(super) const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK: usize = 128;

/// Where the 16 bytes of the UUID are, which are zeros until all else is written.
pub(super) const UUID_AT: u64 = SUPERBLOCK_AT + 48;

/// Bytes of a slot of the device table, and where the first one is: behind the superblock.
const DEVICE_SLOT: usize = 128;
const DEVICE_TABLE_AT: u64 = SUPERBLOCK_AT + SUPERBLOCK as u64;

/// Inodes are numbered in units of so many bytes from the beginning of the image.
pub(super) const SLOT: u64 = 32;

/// Where the first inode is, in bytes. Its number is not zero, which `d_ino` may not be.
pub(super) const INODES_AT: u64 = DEVICE_TABLE_AT + DEVICE_SLOT as u64;

/// Bytes of an inode (extended form), of an entry of a directory without its name, of the place of
/// a file's data.
pub(super) const INODE: u64 = 64;
pub(super) const ENTRY: u64 = ENTRY_LEN as u64;
const ENTRY_LEN: usize = 12;
pub(super) const PLACE: u64 = 8;

const MAGIC: u32 = 0xE0F5_E1E2;
/// Inodes have times of their own (`EROFS_FEATURE_COMPAT_MTIME`).
const COMPATIBLE: u32 = 2;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`, `EROFS_FEATURE_INCOMPAT_DEVICE_TABLE`.
const INCOMPATIBLE: u32 = 4 | 8;

/// Where content is (`EROFS_INODE_FLAT_PLAIN`, `…_FLAT_INLINE`, `…_CHUNK_BASED`), and what comes
/// with it (`i_u`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nowhere: there is none.
    None,
    /// In the image, from this block on.
    Blocks(u32),
    /// In the image: whole blocks of it from this one on, the rest behind the inode.
    Inline,
    /// On the data device; its [place] is behind the inode.
    Device,
}

/// A format of the place of data: chunks of 2³¹ blocks, of which a file has one, and an index
/// (`EROFS_CHUNK_FORMAT_INDEXES`).
const CHUNK_FORMAT: u32 = 31 | 0x20;

/// No block.
const NO_BLOCK: u32 = u32::MAX;

/// An inode as [`inode`] writes it.
pub(super) struct Inode {
    pub(super) content: Content,
    pub(super) is_directory: bool,
    /// Permission bits.
    pub(super) permissions: u16,
    /// Bytes.
    pub(super) size: u64,
    /// Number for callers that know 32 bits only.
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) time: SystemTime,
    pub(super) links: u32,
    /// Bytes of extended attributes behind it: none, or a header of 12 and multiples of 4.
    pub(super) attributes: u64,
}

/// What goes into the superblock.
pub(super) struct Superblock {
    /// Number of the root's inode.
    pub(super) root: u16,
    pub(super) inodes: u64,
    pub(super) time: SystemTime,
    /// Blocks of the image.
    pub(super) blocks: u32,
}

/// The superblock (`erofs_super_block`).
pub(super) fn superblock(it: &Superblock) -> Vec<u8> {
    let time = since_1970(it.time);
    let mut out = Vec::with_capacity(SUPERBLOCK);
    out.extend(MAGIC.to_le_bytes());
    out.extend([0; 4]); // checksum, which isn't among the compatible features
    out.extend(COMPATIBLE.to_le_bytes());
    out.extend([BLOCK_BITS, 0]); // no extension of this structure
    out.extend(it.root.to_le_bytes());
    out.extend(it.inodes.to_le_bytes());
    out.extend(time.as_secs().to_le_bytes());
    out.extend(time.subsec_nanos().to_le_bytes());
    out.extend(it.blocks.to_le_bytes());
    out.extend([0; 8]); // inodes are numbered from block 0; no shared attributes
    out.extend([0; 16]); // the UUID, see UUID_AT
    out.extend(*b"model-fs\0\0\0\0\0\0\0\0");
    out.extend(INCOMPATIBLE.to_le_bytes());
    out.extend([0; 2]); // no compression
    out.extend(1_u16.to_le_bytes()); // devices beside the image
    let slot = DEVICE_TABLE_AT / DEVICE_SLOT as u64;
    out.extend(u16::try_from(slot).unwrap_or_default().to_le_bytes());
    out.resize(SUPERBLOCK, 0);
    out
}

/// The slot of the one device (`erofs_deviceslot`), of so many blocks, which in a count of all
/// blocks follow those of the image.
pub(super) fn device_slot(blocks: u32, image_blocks: u32) -> Vec<u8> {
    let mut out = vec![0; 64];
    out.extend(blocks.to_le_bytes());
    out.extend(image_blocks.to_le_bytes());
    out.resize(DEVICE_SLOT, 0);
    out
}

/// An inode in its extended form (`erofs_inode_extended`).
pub(super) fn inode(it: &Inode) -> Vec<u8> {
    let (layout, union) = match it.content {
        Content::None => (0, NO_BLOCK),
        Content::Blocks(first) => (0, first),
        Content::Inline => (2, NO_BLOCK),
        Content::Device => (4, CHUNK_FORMAT),
    };
    // Attributes are counted in units of 4 bytes, of which the header is one.
    let attributes = match it.attributes {
        0 => 0,
        bytes => 1 + (bytes - 12) / 4,
    };
    let kind: u16 = if it.is_directory {
        0o040_000
    } else {
        0o100_000
    };
    let time = since_1970(it.time);
    let mut out = Vec::with_capacity(64);
    out.extend((1_u16 | layout << 1).to_le_bytes());
    out.extend(u16::try_from(attributes).unwrap_or_default().to_le_bytes());
    out.extend((kind | it.permissions).to_le_bytes());
    out.extend([0; 2]);
    out.extend(it.size.to_le_bytes());
    out.extend(union.to_le_bytes());
    out.extend(it.number.to_le_bytes());
    out.extend(it.uid.to_le_bytes());
    out.extend(it.gid.to_le_bytes());
    out.extend(time.as_secs().to_le_bytes());
    out.extend(time.subsec_nanos().to_le_bytes());
    out.extend(it.links.to_le_bytes());
    out.resize(64, 0);
    out
}

/// Where on the device a file lies (`erofs_inode_chunk_index`).
pub(super) fn place(first_block: u32) -> [u8; 8] {
    let [a, b, c, d] = first_block.to_le_bytes();
    // Bits 32 and up of the block; number of the device, from one.
    [0, 0, 1, 0, a, b, c, d]
}

/// An entry of a directory (`erofs_dirent`): inode, where in the block its name begins, kind.
pub(super) fn entry(nid: u64, name_at: u16, is_directory: bool) -> [u8; ENTRY_LEN] {
    let mut out = [0; ENTRY_LEN];
    out[..8].copy_from_slice(&nid.to_le_bytes());
    out[8..10].copy_from_slice(&name_at.to_le_bytes());
    out[10] = if is_directory { 2 } else { 1 };
    out
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_structure_is_as_long_as_the_format_says() {
        let time = SystemTime::UNIX_EPOCH;
        let superblock = superblock(&Superblock {
            root: 40,
            inodes: 1,
            time,
            blocks: 1,
        });
        assert_eq!(superblock.len(), SUPERBLOCK);
        // Fields with fixed places.
        assert_eq!(superblock[44..64], [0; 20]);
        assert_eq!(superblock[64..72], *b"model-fs");
        assert_eq!(superblock[80..84], [12, 0, 0, 0]);
        assert_eq!(superblock[86..90], [1, 0, 9, 0]);
        assert_eq!(device_slot(1, 1).len(), DEVICE_SLOT);
        let inode = inode(&Inode {
            content: Content::Device,
            is_directory: false,
            permissions: 0o644,
            size: 5,
            number: 1,
            uid: 0,
            gid: 0,
            time,
            links: 1,
            attributes: 16,
        });
        assert_eq!(inode.len() as u64, INODE);
        assert_eq!(inode[..4], [9, 0, 2, 0]);
    }
}
