//! An image of the file system, as EROFS has it: names, lengths, times and places, no content.
//!
//! The kernel's EROFS reads such an image as any other: content is on a second device, which is the
//! [data file](super::data). Only what is needed of the format is here; it is that of
//! `fs/erofs/erofs_fs.h` in Linux, from version 5.16 on (device table, chunk-based files).
//!
//! | block | holds |
//! |---|---|
//! | 0 | superblock at byte 1024, the one slot of the device table behind it, then inodes |
//! | … | inodes in the order of the [tree](super::Tree), the root first; small directories inline |
//! | … | blocks of directories that are too large for that |
//!
//! Guarantees: the same file system, owner and access give the same image; lengths in it are proved
//! ones. Memory: four bytes an inode, whatever is written. Doesn't: mount, or know where the image
//! is kept.

mod attributes;
mod directory;
mod error;
mod format;
mod identity;
mod plan;
mod scratch;
#[cfg(test)]
mod tests;
mod write;

pub use self::error::ImageError;
pub use self::identity::ImageDigest;
pub use self::scratch::{SCRATCH_FILE, scratch};
pub use self::write::{Image, ImageOptions};
