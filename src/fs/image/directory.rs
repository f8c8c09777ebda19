//! Directories in an image.
//!
//! Guarantees: entries are sorted by the bytes of their names, `.` and `..` among them, in each
//! block and from block to block, as the kernel's search expects. Doesn't: know where the blocks
//! lie.

use super::format::{BLOCK, ENTRY, entry};
use crate::fs::inode::Inode;
use crate::fs::tree::{Node, Tree};

/// Entries of a directory, sorted.
fn sorted(tree: &Tree, directory: Inode) -> impl Iterator<Item = (Inode, &str)> {
    let entries = |from| (from..).map_while(move |position| tree.entry(directory, position));
    let mut dots = entries(0).take(2).peekable();
    let mut names = entries(2).peekable();
    std::iter::from_fn(move || match (dots.peek(), names.peek()) {
        (Some((_, dot)), Some((_, name))) if dot < name => dots.next(),
        (Some(_), None) => dots.next(),
        (_, Some(_)) | (None, None) => names.next(),
    })
}

/// The entries that share a block.
fn block_of<'a>(
    entries: &mut std::iter::Peekable<impl Iterator<Item = (Inode, &'a str)>>,
) -> Option<(Vec<(Inode, &'a str)>, u64)> {
    let (mut block, mut used) = (Vec::new(), 0);
    while let Some(found) = entries.next_if(|(_, name)| {
        let with = used + ENTRY + name.len() as u64;
        with <= BLOCK
    }) {
        used += ENTRY + found.1.len() as u64;
        block.push(found);
    }
    (!block.is_empty()).then_some((block, used))
}

/// Bytes of a directory: whole blocks and what is used of the last one.
pub(super) fn size(tree: &Tree, directory: Inode) -> u64 {
    let mut entries = sorted(tree, directory).peekable();
    let mut size = 0_u64;
    while let Some((_, used)) = block_of(&mut entries) {
        size = size.next_multiple_of(BLOCK) + used;
    }
    size
}

/// The content of a directory, block by block, the last one as long as it is. `nid` gives the
/// number of an inode in the image.
pub(super) fn blocks(
    tree: &Tree,
    directory: Inode,
    nid: impl Fn(Inode) -> u64,
) -> impl Iterator<Item = Vec<u8>> {
    let mut entries = sorted(tree, directory).peekable();
    std::iter::from_fn(move || {
        let (block, used) = block_of(&mut entries)?;
        let mut out = Vec::with_capacity(usize::try_from(used).unwrap_or_default());
        let mut name_at = u16::try_from(block.len() as u64 * ENTRY).unwrap_or_default();
        for (ino, name) in &block {
            let is_directory = matches!(tree.node(*ino), Some(Node::Directory(_)));
            out.extend(entry(nid(*ino), name_at, is_directory));
            name_at += u16::try_from(name.len()).unwrap_or_default();
        }
        for (_, name) in &block {
            out.extend(name.bytes());
        }
        Some(out)
    })
}
