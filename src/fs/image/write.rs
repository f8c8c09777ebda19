//! Writing an image, from its first byte to its last.
//!
//! Guarantees: what is written is as long as was planned, to the byte, or an error. Doesn't: keep
//! what it wrote, or read it.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use super::attributes::attributes;
use super::directory;
use super::error::ImageError;
use super::format::{self, BLOCK, Content, SLOT, SUPERBLOCK_AT, Superblock};
use super::identity::{Hashing, ImageDigest};
use super::plan::Plan;
use crate::fs::data::{Extents, Part};
use crate::fs::file_system::FileSystem;
use crate::fs::inode::Inode;
use crate::fs::tree::Node;

/// Bytes that are hashed and written at a time: of that many, many blocks are hashed at once.
const BUFFER: usize = 1 << 20;

/// What an image says beyond the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageOptions {
    /// The user who owns everything.
    pub uid: u32,
    /// The group of everything.
    pub gid: u32,
    /// Permission bits that nothing has.
    pub umask: u16,
    /// The user who alone may enter, but for root; `None` for all whom the permission bits let in.
    /// Nothing else keeps users out: the root directory is that user's alone, whoever owns the
    /// rest.
    pub only: Option<u32>,
}

/// An image that can be written.
pub struct Image<'a> {
    fs: &'a FileSystem,
    extents: &'a Extents,
    options: ImageOptions,
    plan: Plan,
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
        Ok(Self {
            plan: Plan::new(fs)?,
            fs,
            extents,
            options,
        })
    }

    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        u64::from(self.plan.all_blocks) * BLOCK
    }

    /// What tells it from any other.
    ///
    /// # Errors
    /// What [`Image::new`] may meet.
    pub fn digest(&self) -> Result<ImageDigest, ImageError> {
        self.write_without_uuid(io::sink())
    }

    /// Writes all of it, from where `out` is.
    ///
    /// # Errors
    /// [`ImageError::Write`], and what else [`Image::new`] may meet.
    pub fn write(&self, mut out: impl Write + Seek) -> Result<ImageDigest, ImageError> {
        let start = out.stream_position()?;
        let digest = self.write_without_uuid(&mut out)?;
        out.seek(SeekFrom::Start(start + format::UUID_AT))?;
        out.write_all(&digest.uuid())?;
        out.flush()?;
        Ok(digest)
    }

    /// Writes it in one go, with zeros in the place of the UUID, which is made of all the rest.
    fn write_without_uuid(&self, out: impl Write) -> Result<ImageDigest, ImageError> {
        let hashing = Hashing::new(&self.fs.shown_digest(), out);
        let out = BufWriter::with_capacity(BUFFER, hashing);
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
        Ok(out.out.get_ref().digest())
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
        let ImageOptions {
            uid,
            gid,
            umask,
            only,
        } = self.options;
        let permissions = if found.is_directory { 0o755 } else { 0o644 } & !umask;
        let (uid, permissions) = match only {
            Some(only) if ino == Inode::ROOT => (only, 0o700),
            _ => (uid, permissions),
        };
        let number = self.plan.nid(ino);
        out.write_all(&format::inode(&format::Inode {
            content,
            is_directory: found.is_directory,
            permissions,
            size,
            number: u32::try_from(number).map_err(|_| ImageError::TooLarge)?,
            uid,
            gid,
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
