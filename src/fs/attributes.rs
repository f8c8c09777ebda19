//! What `stat(2)`, `access(2)` and `statfs(2)` tell.
//!
//! Guarantees: a size is proved, or the attributes say that it isn't; times follow from what was
//! signed. Doesn't: tell owners; those are of the mount.

use std::time::SystemTime;

use super::errno::FsError;
use super::file_system::FileSystem;
use super::inode::Inode;
use super::tree::Node;
use crate::manifest::FileIndex;
use crate::reading::ProvedLength;

/// Block size reported by `stat` and `statfs`, in bytes.
pub const BLOCK_SIZE: u32 = 4096;

/// Attributes of an inode. Modes and owners aren't signed, so the kernel is told constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: Inode,
    /// Whether it is a directory; otherwise it is a regular file.
    pub is_directory: bool,
    /// Bytes.
    pub size: u64,
    /// Links: subdirectories and two for a directory, one for a file.
    pub links: u32,
    /// Whether `size` is proved. If not it is the source's claim, and may still change.
    pub proved: bool,
    /// When it was last changed, made of what was signed.
    pub time: SystemTime,
}

/// Totals for `statfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of all files whose length is proved.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl FileSystem {
    /// Attributes of an inode.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::Stale`] for one whose length turned out to be another.
    pub fn stat(&self, ino: Inode) -> Result<Attributes, FsError> {
        let node = self.node(ino)?;
        let (size, links) = match node {
            Node::Directory(children) => {
                let links = 2 + self.tree.subdirectories(children);
                (0, u32::try_from(links).unwrap_or(u32::MAX))
            }
            Node::Signature => (self.signature.len() as u64, 1),
            Node::File(index) => return self.stat_file(ino, index),
        };
        Ok(Attributes {
            ino,
            is_directory: matches!(node, Node::Directory(_)),
            size,
            links,
            proved: true,
            time: self.time(node),
        })
    }

    fn stat_file(&self, ino: Inode, index: FileIndex) -> Result<Attributes, FsError> {
        let (size, proved) = self.size_of(ino, index)?;
        Ok(self.attributes_of(ino, index, size, proved))
    }

    /// The size of a file, or of the signature: what [`stat`](Self::stat) tells of it, without its
    /// time, which takes a hash.
    ///
    /// # Errors
    /// As for [`stat`](Self::stat).
    pub(super) fn size(&self, ino: Inode) -> Result<u64, FsError> {
        match self.node(ino)? {
            Node::File(index) => self.size_of(ino, index).map(|(size, _)| size),
            Node::Signature => Ok(self.signature.len() as u64),
            Node::Directory(_) => Ok(0),
        }
    }

    /// The size of a file, and whether it is proved.
    fn size_of(&self, ino: Inode, index: FileIndex) -> Result<(u64, bool), FsError> {
        match (self.reader.proved_len(index), self.claims.file(ino)) {
            (Some(len), _) if self.has_proved_length(ino, index) => Ok((len.bytes(), true)),
            (None, Some((_, claimed))) => Ok((claimed.len, false)),
            (Some(_), _) | (None, None) => Err(FsError::Stale),
        }
    }

    /// Attributes of a file of `size` bytes.
    pub(super) fn attributes_of(
        &self,
        ino: Inode,
        index: FileIndex,
        size: u64,
        proved: bool,
    ) -> Attributes {
        Attributes {
            ino,
            is_directory: false,
            size,
            links: 1,
            proved,
            time: self.time(Node::File(index)),
        }
    }

    fn time(&self, node: Node<'_>) -> SystemTime {
        match node {
            Node::Directory(_) => self.times.of_directory(),
            Node::Signature => self.times.of_signature(self.signature.as_slice()),
            Node::File(index) => {
                let file = self.reader.manifest().at(index);
                self.times.of_file(index, &file.content)
            }
        }
    }

    /// Whether an access of these kinds is possible at all (`access(2)`).
    ///
    /// # Errors
    /// [`FsError::ReadOnly`] for writing, [`FsError::Denied`] for executing a file.
    pub fn access(&self, ino: Inode, write: bool, execute: bool) -> Result<(), FsError> {
        match self.node(ino)? {
            _ if write => Err(FsError::ReadOnly),
            Node::File(_) | Node::Signature if execute => Err(FsError::Denied),
            Node::File(_) | Node::Signature | Node::Directory(_) => Ok(()),
        }
    }

    /// Totals of the model, as far as they are proved.
    pub fn totals(&self) -> Totals {
        Totals {
            bytes: self.reader.proved_bytes(),
            inodes: self.tree.len() as u64,
        }
    }

    /// Bytes of all files, proved or claimed when the mount was made.
    pub fn claimed_bytes(&self) -> u64 {
        let files = (0..).map(FileIndex::new).zip(&self.claimed);
        files
            .map(|(index, &claimed)| {
                let proved = self.reader.proved_len(index);
                proved.map_or(claimed, ProvedLength::bytes)
            })
            // Claims may be as large as the adversary likes.
            .fold(0, u64::saturating_add)
    }
}
