//! From a name to an inode, and to the length that goes with it.
//!
//! Guarantees: attributes that are called proved have the proved length; a claimed length has an
//! inode of its own (see [`claimed_inodes`](super::claimed_inodes)), and where links are followed
//! it is told to the owner and root alone. Doesn't: make full passes.

use std::ffi::OsStr;
use std::sync::Arc;

use super::attributes::Attributes;
use super::claimed_inodes::ClaimedInodes;
use super::errno::FsError;
use super::file_system::FileSystem;
use super::inode::Inode;
use super::status::Audience;
use super::tree::Node;
use crate::manifest::FileIndex;
use crate::name::MAX_COMPONENT;
use crate::reading::{ProvedLength, ReadError};

impl FileSystem {
    /// Hands `then` the inode of `name` in `parent`, at once where its length is known. Otherwise
    /// the length is proved if that takes no full pass, on another thread; a file that takes one is
    /// shown with the length that its source claims.
    ///
    /// Where links are followed, others than the owner are not told such a claim: the owner of the
    /// model may have a link lead to what they can't see, whose length they would learn. They are
    /// shown an empty file until it was opened, which proves the length. None of their lookups
    /// waits for that: the kernel holds the directory meanwhile.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::NameTooLong`], and
    /// [`FsError::Read`] for a file that can't be what was signed, or can't be read.
    pub fn lookup(
        self: &Arc<Self>,
        parent: Inode,
        name: &OsStr,
        audience: Audience,
        then: impl FnOnce(Result<Attributes, FsError>) + Send + 'static,
    ) {
        let ino = match self.find(parent, name) {
            Ok(ino) => ino,
            Err(error) => return then(Err(error)),
        };
        let index = match self.tree.node(ino) {
            Some(Node::File(index)) => index,
            Some(Node::Directory(_) | Node::Signature) | None => return then(self.stat(ino)),
        };
        if self.reader.proved_len(index).is_some() {
            return then(self.shown(index));
        }
        let is_hidden = audience == Audience::Others && self.reader.manifest().allow_symlinks();
        let fs = Arc::clone(self);
        self.workers.run(index.number(), move || {
            let reader = Arc::clone(&fs.reader);
            reader.length_then(index, move |looked| {
                then(match looked {
                    Ok(Some(_)) => fs.shown(index),
                    // Nor are they told what is the matter.
                    Ok(None) | Err(_) if is_hidden => {
                        let ino = ClaimedInodes::hidden(index);
                        Ok(fs.attributes_of(ino, index, 0, false))
                    }
                    looked => fs.counted(fs.looked(index, looked)),
                });
            });
        });
    }

    /// What is in the tree under that name.
    fn find(&self, parent: Inode, name: &OsStr) -> Result<Inode, FsError> {
        if name.len() > MAX_COMPONENT {
            return Err(FsError::NameTooLong);
        }
        self.require_directory(parent)?;
        self.tree.lookup(parent, name).ok_or(FsError::NotFound)
    }

    /// Attributes of a file after a look at its length.
    fn looked(
        &self,
        index: FileIndex,
        looked: Result<Option<ProvedLength>, ReadError>,
    ) -> Result<Attributes, FsError> {
        if looked?.is_none() {
            let len = self.reader.claimed_len(index)?;
            let proved = || self.reader.proved_len(index);
            if let Some(ino) = self.claims.claim(index, len, proved) {
                return Ok(self.attributes_of(ino, index, len, false));
            }
        }
        self.shown(index)
    }

    /// Attributes of a file whose length is proved.
    fn shown(&self, index: FileIndex) -> Result<Attributes, FsError> {
        let len = self.reader.proved_len(index).ok_or(FsError::Stale)?;
        let ino = self.inode(index).ok_or(FsError::Stale)?;
        Ok(self.attributes_of(ino, index, len.bytes(), true))
    }

    /// The inode of a file whose length is proved, which is then always the same.
    pub(super) fn inode(&self, index: FileIndex) -> Option<Inode> {
        let len = self.reader.proved_len(index)?;
        let in_tree = self.tree.of_file(index)?;
        Some(self.claims.inode(index, len, in_tree))
    }
    /// Whether `ino` was only ever told of file `index` with the length that is proved, by this
    /// process or one before.
    pub(super) fn has_proved_length(&self, ino: Inode, index: FileIndex) -> bool {
        self.reader.proved_len(index).is_some_and(|len| {
            self.inode(index) == Some(ino)
                || self.tree.of_file(index) == Some(ino)
                || ClaimedInodes::is_made_of(ino, index, len)
        })
    }
}
