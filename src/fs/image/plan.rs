//! Where everything in an image is.
//!
//! Guarantees: inodes lie in the order of the tree, none over another; the root's number fits into
//! 16 bits. Doesn't: write.

use super::attributes;
use super::directory;
use super::error::ImageError;
use super::format::{BLOCK, Content, INODE, INODES_AT, PLACE, SLOT};
use crate::fs::file_system::FileSystem;
use crate::fs::inode::Inode;
use crate::fs::tree::Node;

/// A directory is kept with its inode if both take no more than this, in bytes: otherwise the rest
/// of a block that it doesn't fit into would be lost too often.
const MOST_MOVED: u64 = BLOCK / 2;

/// Where things are.
pub(super) struct Plan {
    /// Of each inode in the order of the tree, its number: where it is, in units of [`SLOT`].
    slots: Vec<u32>,
    /// Of each directory that isn't inline, in the order of the tree, its first block.
    blocks: Vec<(Inode, u32)>,
    /// All blocks of the image.
    pub(super) all_blocks: u32,
}

/// Bytes behind an inode's attributes.
pub(super) fn behind(content: Content, size: u64, attributes: u64) -> u64 {
    match content {
        Content::None | Content::Blocks(_) => 0,
        Content::Inline => size,
        // The place is aligned.
        Content::Device => {
            let head = INODE + attributes;
            head.next_multiple_of(PLACE) - head + PLACE
        }
    }
}

impl Plan {
    pub(super) fn new(fs: &FileSystem) -> Result<Self, ImageError> {
        let tree = fs.tree();
        let mut plan = Self {
            slots: Vec::with_capacity(tree.len()),
            blocks: Vec::new(),
            all_blocks: 0,
        };
        let mut apart = Vec::new();
        let mut at = INODES_AT;
        for ino in tree.inodes() {
            let attributes = attributes::len(fs, ino)?;
            let (content, size) = match tree.node(ino) {
                Some(Node::Directory(_)) => {
                    let size = directory::size(tree, ino);
                    let is_root = ino == Inode::ROOT;
                    if let Some(there) = inline(at, INODE + attributes, size, is_root) {
                        at = there;
                        (Content::Inline, size)
                    } else {
                        apart.push((ino, size));
                        (Content::Blocks(0), size)
                    }
                }
                _ => match fs.size(ino).map_err(ImageError::Inode)? {
                    0 => (Content::None, 0),
                    size => (Content::Device, size),
                },
            };
            let slot = u32::try_from(at / SLOT).map_err(|_| ImageError::TooLarge)?;
            plan.slots.push(slot);
            at += INODE + attributes + behind(content, size, attributes);
            at = at.next_multiple_of(SLOT);
        }
        let mut block = at.div_ceil(BLOCK);
        for (ino, size) in apart {
            plan.blocks.push((ino, number(block)?));
            block += size.div_ceil(BLOCK);
        }
        plan.all_blocks = number(block)?;
        Ok(plan)
    }

    /// Number of an inode in the image.
    pub(super) fn nid(&self, ino: Inode) -> u64 {
        let at = ino.number() - Inode::ROOT.number();
        let slot = usize::try_from(at).ok().and_then(|at| self.slots.get(at));
        slot.copied().unwrap_or_default().into()
    }

    /// First block of a directory, if it isn't inline.
    pub(super) fn first_block(&self, ino: Inode) -> Option<u32> {
        let found = self.blocks.binary_search_by_key(&ino, |&(ino, _)| ino);
        found.ok().map(|at| self.blocks[at].1)
    }

    /// Directories that aren't inline, in the order of their blocks.
    pub(super) fn apart(&self) -> impl Iterator<Item = Inode> {
        self.blocks.iter().map(|&(ino, _)| ino)
    }
}

/// Where an inode of `head` bytes with a directory of `size` behind it comes to be, from `at` on;
/// `None` if the directory is to lie apart. What is inline may not reach into another block.
fn inline(at: u64, head: u64, size: u64, is_root: bool) -> Option<u64> {
    let fits = |at: u64| (at + head) / BLOCK == (at + head + size - 1) / BLOCK;
    if size < BLOCK && fits(at) {
        return Some(at);
    }
    // The root stays where it is.
    (head + size <= MOST_MOVED && !is_root).then(|| at.next_multiple_of(BLOCK))
}

fn number(block: u64) -> Result<u32, ImageError> {
    u32::try_from(block).map_err(|_| ImageError::TooLarge)
}
