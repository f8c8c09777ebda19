//! Extended attributes of a mount (`xattr(7)`, user namespace).
//!
//! Guarantees: they say what was signed, by whom, and how far the proof is; nothing changes them.
//! They are answered where they are asked for by name, and not listed: tools that copy would take
//! what they list along, and a copy that says `proved` for ever would be a lie. Doesn't: tell all
//! of the [status](super::status) to others than the owner.

use std::ffi::OsStr;

use super::errno::FsError;
use super::file_system::FileSystem;
use super::inode::Inode;
use super::status::Audience;
use super::tree::Node;
use crate::manifest::SignedContent;

/// The extended attribute of the mount's root that holds its status, as JSON.
pub const STATUS_ATTRIBUTE: &str = "user.model-fs.status";

/// Extended attributes, all of them read-only (`xattr(7)`, user namespace).
mod attribute {
    /// Of a file: its signed digest. Of the root: the root digest.
    pub(super) const DIGEST: &str = "user.model-fs.digest";
    /// Of the root: the signer.
    pub(super) const SIGNER: &str = "user.model-fs.signer";
    /// Of a file: `proved` once its length and chunk table are, else `unproved`.
    pub(super) const STATE: &str = "user.model-fs.state";
    /// Of the root: what the daemon did and met, as JSON.
    pub(super) const STATUS: &str = super::STATUS_ATTRIBUTE;
}

/// Those that never change and that anybody may be told.
pub(super) const FIXED: [&str; 2] = [DIGEST, attribute::SIGNER];

/// That of the signed digest.
pub(super) const DIGEST: &str = attribute::DIGEST;

impl FileSystem {
    /// The value of an extended attribute, as far as it is for `audience`.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`], [`FsError::NotFound`].
    pub fn xattr(&self, ino: Inode, name: &OsStr, audience: Audience) -> Result<Vec<u8>, FsError> {
        let node = self.node(ino)?;
        let manifest = self.reader.manifest();
        let name = name.to_str().ok_or(FsError::NoAttribute)?;
        let value = match (node, name) {
            (Node::Directory(_), attribute::DIGEST) if ino == Inode::ROOT => {
                manifest.root_digest().to_string()
            }
            (Node::Directory(_), attribute::SIGNER) if ino == Inode::ROOT => {
                manifest.signer().to_string()
            }
            (Node::Directory(_), attribute::STATUS) if ino == Inode::ROOT => {
                self.status_text(audience)
            }
            (Node::File(index), attribute::DIGEST) => match &manifest.at(index).content {
                SignedContent::Whole(whole) => whole.digest().to_string(),
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

    /// The extended attributes that are listed: none of any inode that is there. Tools that copy
    /// would take along what they list, and a copy that says `proved` for ever would be a lie.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn xattr_names(&self, ino: Inode) -> Result<&'static [&'static str], FsError> {
        self.node(ino)?;
        Ok(&[])
    }
}
