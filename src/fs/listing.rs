//! Directories.
//!
//! Guarantees: a listing holds the signed names and tells what kind each is. Doesn't: tell lengths,
//! which are proved where a name is [looked up](FileSystem::lookup).

use super::errno::FsError;
use super::file_system::FileSystem;
use super::inode::Inode;
use super::tree::Node;

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Inode number, as of now.
    pub ino: Inode,
    /// The name.
    pub name: &'a str,
    /// Whether it is a directory; otherwise it is a regular file.
    pub is_directory: bool,
}

impl FileSystem {
    /// The entry of a directory at `position`, `.` and `..` first; `None` beyond the last. Says
    /// nothing about what the entry is but its kind: a length has to be looked up.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn entry(&self, directory: Inode, position: u64) -> Result<Option<Entry<'_>>, FsError> {
        self.require_directory(directory)?;
        let Some((ino, name)) = self.tree.entry(directory, position) else {
            return Ok(None);
        };
        let (ino, is_directory) = match self.tree.node(ino) {
            Some(Node::Directory(_)) => (ino, true),
            Some(Node::File(index)) => (self.claims.claimed(index).map_or(ino, |it| it.ino), false),
            Some(Node::Signature) | None => (ino, false),
        };
        Ok(Some(Entry {
            ino,
            name,
            is_directory,
        }))
    }

    /// That `ino` is a directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn require_directory(&self, ino: Inode) -> Result<(), FsError> {
        match self.node(ino)? {
            Node::Directory(_) => Ok(()),
            Node::File(_) | Node::Signature => Err(FsError::NotADirectory),
        }
    }
}
