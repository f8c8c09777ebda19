//! Extended attributes of a mount (`xattr(7)`, user namespace).
//!
//! Guarantees: they say what was signed, by whom, and how far the proof is; nothing changes them.
//! They are answered where they are asked for by name, and not listed: tools that copy would take
//! what they list along, and a copy that says `proved` for ever would be a lie. Doesn't: tell all of
//! the [status](super::status) to everybody.

use std::ffi::OsStr;

use super::status::Audience;
use super::{FileSystem, FsError, Node, ROOT};
use crate::manifest::SignedContent;

/// The extended attribute of the mount's root that holds its status, as JSON.
pub const STATUS_ATTRIBUTE: &str = "user.model-fs.status";

/// Extended attributes, all of them read-only (`xattr(7)`, user namespace).
mod attribute {
    /// Of a file: its signed digest. Of the root: the root digest.
    pub(super) const DIGEST: &str = "user.model-fs.digest";
    /// Of the root: who signed.
    pub(super) const SIGNER: &str = "user.model-fs.signer";
    /// Of a file: `proved` once its length and chunk table are, else `unproved`.
    pub(super) const STATE: &str = "user.model-fs.state";
    /// Of the root: what the daemon did and met, as JSON.
    pub(super) const STATUS: &str = super::STATUS_ATTRIBUTE;
}

impl FileSystem {
    /// The value of an extended attribute, as far as it is for `audience`.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`], [`FsError::NotFound`].
    pub fn attribute(
        &self,
        ino: u64,
        name: &OsStr,
        audience: Audience,
    ) -> Result<Vec<u8>, FsError> {
        let node = self.node(ino).ok_or_else(|| Self::missing(ino))?;
        let manifest = self.reader.manifest();
        let name = name.to_str().ok_or(FsError::NoAttribute)?;
        let value = match (node, name) {
            (Node::Directory(_), attribute::DIGEST) if ino == ROOT => {
                manifest.root_digest().to_string()
            }
            (Node::Directory(_), attribute::SIGNER) if ino == ROOT => manifest.signer().to_string(),
            (Node::Directory(_), attribute::STATUS) if ino == ROOT => self.status(audience),
            (Node::File(index), attribute::DIGEST) => match &manifest.files()[index].content {
                SignedContent::Whole(digest) => digest.to_string(),
                SignedContent::Shards(_) => return Err(FsError::NoAttribute),
            },
            (Node::File(index), attribute::STATE) => match self.reader.proved_len(index) {
                Some(_) => "proved".to_owned(),
                None => "unproved".to_owned(),
            },
            _ => return Err(FsError::NoAttribute),
        };
        Ok(value.into_bytes())
    }

    /// That `ino` is there: no extended attribute is listed; see the head of this file.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn attribute_names(&self, ino: u64) -> Result<&'static [&'static str], FsError> {
        match self.node(ino) {
            Some(_) => Ok(&[]),
            None => Err(Self::missing(ino)),
        }
    }
}
