//! Writing an image, from its first byte to its last.
//!
//! Guarantees: what is written is as long as was planned, to the byte, or an error. Doesn't: seek,
//! or keep what it wrote.

use std::io::{self, Write};

use super::attributes::attributes;
use super::directory;
use super::error::ImageError;
use super::format::{self, BLOCK, Content, SLOT, SUPERBLOCK_AT, Superblock};
use super::plan::Plan;
use crate::fs::data::{Extents, Part};
use crate::fs::file_system::FileSystem;
use crate::fs::inode::Inode;
use crate::fs::tree::Node;

/// The context for what tells one image from another. Another encoding needs another context.
const DIGEST_CONTEXT: &str = "model-fs 2026-12-01 digest of an image v2";

/// What an image says beyond the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageOptions {
    /// The user who owns everything.
    pub uid: u32,
    /// The group of everything.
    pub gid: u32,
    /// Whether other users may enter. Nothing but permission bits keeps them out: then the root
    /// directory is its owner's alone.
    pub others: bool,
}

/// An image that can be written.
pub struct Image<'a> {
    fs: &'a FileSystem,
    extents: &'a Extents,
    options: ImageOptions,
    plan: Plan,
    digest: blake3::Hash,
}

impl<'a> Image<'a> {
    /// The image of `fs`, whose files lie in the data file as `extents` says.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn new(
        fs: &'a FileSystem,
        extents: &'a Extents,
        options: ImageOptions,
    ) -> Result<Self, ImageError> {
        let mut image = Self {
            plan: Plan::new(fs)?,
            fs,
            extents,
            options,
            digest: [0; 32].into(),
        };
        // Of the image with this as its UUID.
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        hasher.update(fs.shown_digest().as_bytes());
        image.write(&mut hasher)?;
        image.digest = hasher.finalize();
        Ok(image)
    }

    /// A digest of all that a kernel that has the image goes on believing: the image, to the byte,
    /// where each file lies in the data file, and the signature.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        u64::from(self.plan.all_blocks) * BLOCK
    }

    /// What tells this image from any other: the beginning of its [digest](Self::digest).
    pub fn uuid(&self) -> [u8; 16] {
        std::array::from_fn(|at| self.digest.as_bytes()[at])
    }

    /// What a kernel that has the image says of it (`f_fsid` of statvfs(3)), made of its UUID.
    pub fn number(&self) -> u64 {
        let uuid = u128::from_le_bytes(self.uuid());
        let halves = [uuid, uuid >> 64].map(|half| half & u128::from(u64::MAX));
        u64::try_from(halves[0] ^ halves[1]).unwrap_or_default()
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`ImageError::Write`], and what else [`Image::new`] may meet.
    pub fn write(&self, out: impl Write) -> Result<(), ImageError> {
        let mut out = Counting { out, at: 0 };
        self.write_head(&mut out)?;
        for ino in self.fs.tree().inodes() {
            out.skip_to(self.plan.nid(ino) * SLOT)?;
            self.write_inode(ino, &mut out)?;
        }
        let nid = |ino| self.plan.nid(ino);
        for ino in self.plan.apart() {
            for block in directory::blocks(self.fs.tree(), ino, nid) {
                out.skip_to(out.at.next_multiple_of(BLOCK))?;
                out.write_all(&block)?;
            }
        }
        out.skip_to(self.bytes())?;
        out.out.flush()?;
        Ok(())
    }

    fn write_head(&self, out: &mut Counting<impl Write>) -> Result<(), ImageError> {
        let root = self.fs.stat(Inode::ROOT).map_err(ImageError::Inode)?;
        out.skip_to(SUPERBLOCK_AT)?;
        let nid = self.plan.nid(Inode::ROOT);
        out.write_all(&format::superblock(&Superblock {
            root: u16::try_from(nid).map_err(|_| ImageError::TooLarge)?,
            inodes: self.fs.tree().len() as u64,
            time: root.time,
            blocks: self.plan.all_blocks,
            uuid: self.uuid(),
        }))?;
        let slot = format::device_slot(self.extents.blocks(), self.plan.all_blocks);
        out.write_all(&slot)?;
        Ok(())
    }

    fn write_inode(&self, ino: Inode, out: &mut Counting<impl Write>) -> Result<(), ImageError> {
        let tree = self.fs.tree();
        let found = self.fs.stat(ino).map_err(ImageError::Inode)?;
        let part = match tree.node(ino) {
            Some(Node::File(index)) => Some(Part::File(index)),
            Some(Node::Signature) => Some(Part::Signature),
            Some(Node::Directory(_)) | None => None,
        };
        let (size, content) = match part {
            None => {
                let first = self.plan.first_block(ino);
                let content = first.map_or(Content::Inline, Content::Blocks);
                (directory::size(tree, ino), content)
            }
            Some(_) if found.size == 0 => (0, Content::None),
            Some(_) => (found.size, Content::Device),
        };
        let attributes = attributes(self.fs, ino)?;
        let permissions = match (found.is_directory, self.options.others) {
            (true, false) if ino == Inode::ROOT => 0o700,
            (true, _) => 0o755,
            (false, _) => 0o644,
        };
        let number = self.plan.nid(ino);
        out.write_all(&format::inode(&format::Inode {
            content,
            is_directory: found.is_directory,
            permissions,
            size,
            number: u32::try_from(number).map_err(|_| ImageError::TooLarge)?,
            uid: self.options.uid,
            gid: self.options.gid,
            time: found.time,
            links: found.links,
            attributes: attributes.len() as u64,
        }))?;
        out.write_all(&attributes)?;
        match (content, part) {
            (Content::Device, Some(part)) => {
                out.skip_to(out.at.next_multiple_of(format::PLACE))?;
                out.write_all(&format::place(self.extents.start(part)))?;
            }
            (Content::Inline, _) => {
                for block in directory::blocks(tree, ino, |ino| self.plan.nid(ino)) {
                    out.write_all(&block)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("options", &self.options)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// What is between parts of an image.
const ZEROS: [u8; 4096] = [0; 4096];

/// Knows where it is.
struct Counting<W> {
    out: W,
    at: u64,
}

impl<W: Write> Counting<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to there.
    fn skip_to(&mut self, at: u64) -> io::Result<()> {
        let mut left = at
            .checked_sub(self.at)
            .ok_or_else(|| io::Error::other("parts of an image would overlap"))?;
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write_all(&ZEROS[..some])?;
            left -= some as u64;
        }
        Ok(())
    }
}
