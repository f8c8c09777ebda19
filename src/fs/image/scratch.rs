//! A scratch image: one file of one block, to try a kernel with.

use std::time::SystemTime;

use super::format::{
    BLOCK, Content, ENTRY, INODE, INODES_AT, Inode, PLACE, SLOT, SUPERBLOCK_AT, Superblock,
    device_slot, entry, inode, place, superblock,
};

/// The name of the one file.
pub const SCRATCH_FILE: &str = "f";

/// An image of a directory with one file, [`SCRATCH_FILE`], of 4096 bytes: the first block of the
/// device. It takes one block.
pub fn scratch() -> Vec<u8> {
    let names = [".", "..", SCRATCH_FILE];
    let entries = names.len() as u64 * ENTRY;
    let size = entries + names.iter().map(|name| name.len() as u64).sum::<u64>();
    let root = INODES_AT / SLOT;
    let file = (INODES_AT + INODE + size).div_ceil(SLOT);
    let node = |content, size, links| Inode {
        content,
        is_directory: content == Content::Inline,
        permissions: 0o500,
        size,
        number: 1,
        uid: 0,
        gid: 0,
        time: SystemTime::UNIX_EPOCH,
        links,
        attributes: 0,
    };
    let mut out = vec![0; usize::try_from(SUPERBLOCK_AT).unwrap_or_default()];
    out.extend(superblock(&Superblock {
        root: u16::try_from(root).unwrap_or_default(),
        inodes: 2,
        time: SystemTime::UNIX_EPOCH,
        blocks: 1,
    }));
    out.extend(device_slot(1, 1));
    out.extend(inode(&node(Content::Inline, size, 2)));
    let mut name_at = u16::try_from(entries).unwrap_or_default();
    for (name, nid) in names.iter().zip([root, root, file]) {
        out.extend(entry(nid, name_at, nid == root));
        name_at += u16::try_from(name.len()).unwrap_or_default();
    }
    for name in names {
        out.extend(name.bytes());
    }
    out.resize(usize::try_from(file * SLOT).unwrap_or_default(), 0);
    out.extend(inode(&node(Content::Device, BLOCK, 1)));
    const { assert!(INODE.is_multiple_of(PLACE)) };
    out.extend(place(0));
    out.resize(usize::try_from(BLOCK).unwrap_or_default(), 0);
    out
}
