//! The data file: all files of a model one after the other, each from a block's start on.
//!
//! An image of the file system holds names and lengths, and says of each file only where in the
//! data file it lies. So this is what a kernel that has the image asks for, and all of it is
//! verified.
//!
//! Guarantees: what is read is verified bytes of the files at their places, and zeros of ours from
//! a file's end to the end of its block; all that was asked for, or an error, never less. Doesn't:
//! exist anywhere as a file, or know a kernel.

mod bytes;
mod extents;
mod file;
#[cfg(test)]
mod tests;

pub use self::bytes::DataBytes;
pub use self::extents::{Extents, NoExtents, Part};
pub use self::file::{DataFile, DataRead, PendingDataRead};
