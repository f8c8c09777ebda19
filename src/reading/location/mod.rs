//! Where a model and its signature lie on this machine.
//!
//! Guarantees: a model is a directory, or one file in a directory; either way names in its manifest
//! are relative to one root. It is found once: everything later, limits for signers included, is
//! about the directory and the file that were opened then, whatever their names lead to by now. A
//! signature that is found in or beside a model, where the user didn't name it, is a regular file.
//! Doesn't: look at content, or trust anything.

mod error;
mod model;
mod scan;
mod signature;
mod single_file;
#[cfg(test)]
mod tests;

pub use self::error::LocationError;
pub use self::model::ModelLocation;
pub use self::signature::{SIGNATURE_NAME, read_given_signature};
