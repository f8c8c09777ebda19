//! A model that is one file.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::error::LocationError;
use crate::files::{Directory, parent_of, place_of};
use crate::name::FileName;

/// A model that is a file.
#[derive(Debug, Clone)]
pub(super) struct SingleFile {
    /// Its name in the root, as the user gave it.
    pub(super) name: FileName,
    /// Where it really lies, if that name is a link: the directory, and its name there.
    pub(super) directory: Directory,
    pub(super) file: OsString,
}

/// The same directory, with the path that really leads to it.
pub(super) fn located(directory: Directory) -> io::Result<Directory> {
    let path = directory.locate()?;
    Ok(directory.found_at(path))
}

/// The model that is the file which was opened by the path `model`, and the root of its name.
pub(super) fn single_file(
    model: &Path,
    found: &OwnedFd,
) -> Result<(Directory, SingleFile), LocationError> {
    let name = model.file_name().unwrap_or_default();
    let name = name
        .to_str()
        .ok_or_else(|| LocationError::NotUtf8(model.to_owned()))?;
    let name = FileName::new(name)?;
    let find = || {
        let root = located(Directory::open(parent_of(model))?)?;
        let (directory, file) = place_of(found)?;
        let single = SingleFile {
            name,
            directory,
            file,
        };
        Ok((root, single))
    };
    find().map_err(|error| LocationError::Model {
        path: model.to_owned(),
        error,
    })
}
