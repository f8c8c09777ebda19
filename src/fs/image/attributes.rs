//! Extended attributes in an image: those of [`xattr`](crate::fs::xattr) that never change.
//!
//! Guarantees: digests and signer, under the same names as everywhere. Doesn't: hold states or a
//! status, which change. Unlike where they are answered one by one, the kernel lists them; a copy
//! that takes a digest along says what was signed, not that it is proved.

use super::error::ImageError;
use crate::fs::file_system::FileSystem;
use crate::fs::inode::Inode;
use crate::fs::tree::Node;
use crate::fs::xattr::{DIGEST, FIXED};
use crate::fs::{Audience, FsError};
use crate::manifest::SignedContent;

/// The prefix that the format has a number for.
const PREFIX: &str = "user.";
const PREFIX_NUMBER: u8 = 1;

/// Bytes of the header (`erofs_xattr_ibody_header`).
const HEADER: usize = 12;

/// Bytes of an entry before name and value (`erofs_xattr_entry`).
const ENTRY: usize = 4;

/// Most bytes of all attributes of an inode: they are counted in 16 bits, in units of 4.
const MOST: usize = 4 * (u16::MAX as usize - 1);

/// The attributes of an inode as they follow it: nothing where it has none.
pub(super) fn attributes(fs: &FileSystem, ino: Inode) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    for name in FIXED {
        match fs.xattr(ino, name.as_ref(), Audience::Others) {
            Ok(value) => add(&mut out, name, &value)?,
            // The only other thing that is wrong with an inode of the tree.
            Err(FsError::NoAttribute) => {}
            Err(_) => return Err(ImageError::Attributes),
        }
    }
    if out.len() > MOST {
        return Err(ImageError::Attributes);
    }
    Ok(out)
}

/// Bytes of the attributes of an inode, without making them where that is known without.
pub(super) fn len(fs: &FileSystem, ino: Inode) -> Result<u64, ImageError> {
    let Some(Node::File(index)) = fs.tree().node(ino) else {
        return Ok(attributes(fs, ino)?.len() as u64);
    };
    Ok(match &fs.reader().manifest().at(index).content {
        SignedContent::Whole(whole) => {
            let digest = whole.digest();
            // The algorithm, a colon, and two digits a byte.
            let value = digest.algorithm().name().len() + 1 + 2 * digest.as_bytes().len();
            let entry = ENTRY + DIGEST.len() - PREFIX.len() + value;
            (HEADER + entry.next_multiple_of(4)) as u64
        }
        SignedContent::Shards(_) => 0,
    })
}

/// Adds one, and the header before the first.
fn add(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), ImageError> {
    let name = name.strip_prefix(PREFIX).ok_or(ImageError::Attributes)?;
    if out.is_empty() {
        out.resize(HEADER, 0);
    }
    let len = u8::try_from(name.len()).map_err(|_| ImageError::Attributes)?;
    let value_len = u16::try_from(value.len()).map_err(|_| ImageError::Attributes)?;
    out.extend([len, PREFIX_NUMBER]);
    out.extend(value_len.to_le_bytes());
    out.extend(name.bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}
