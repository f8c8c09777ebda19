//! Where a signature lies, beside its model or in it.
//!
//! Guarantees: what the user didn't name is read only if it is a regular file. Doesn't: look into
//! it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};

use super::error::LocationError;
use crate::files::{Directory, Output, open_found, open_given, read_stream, read_whole};
use crate::oms::bundle::MAX_BUNDLE;

/// What a signature is called in a model directory, and beside one.
pub const SIGNATURE_NAME: &str = "model.sig";

/// What names of published signatures end in, at the root of their model (`skill.oms.sig`).
const PUBLISHED: &str = ".oms.sig";

/// Most of them that are listed.
const MAX_PUBLISHED: usize = 64;

/// Where a signature is.
#[derive(Debug, Clone)]
pub(super) enum SignaturePlace {
    /// Where the user says: a file, a pipe, whatever can be read.
    Given(PathBuf),
    /// Where it usually is, relative to the root.
    Usual(PathBuf),
}

impl SignaturePlace {
    /// Where the signature of a model directory is that doesn't have the usual one: published at
    /// its root, or `MODEL.sig` or `model.sig` beside it. None is chosen of several: what the owner
    /// of the model adds must not take the place of what lies beside.
    ///
    /// # Errors
    /// [`LocationError::Several`], and [`LocationError::Model`] where it can't be listed.
    pub(super) fn elsewhere(root: &Directory) -> Result<Option<Self>, LocationError> {
        let failed = |error| LocationError::Model {
            path: root.path().to_owned(),
            error,
        };
        let mut places = published(root).map_err(failed)?;
        places.extend(beside(root).filter(|place| place.exists(root)));
        match places.len() {
            0 | 1 => Ok(places.into_iter().next()),
            _ => {
                let mut paths: Vec<_> = places.iter().map(|place| place.path(root)).collect();
                paths.sort_unstable();
                Err(LocationError::Several(paths))
            }
        }
    }

    /// The signature file.
    pub(super) fn path(&self, root: &Directory) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Usual(path) => match path.strip_prefix("..") {
                Ok(beside) => root.path().parent().unwrap_or(root.path()).join(beside),
                Err(_) => root.path().join(path),
            },
        }
    }

    /// Whether there is a signature: whatever the user named, or a regular file where it usually
    /// is.
    pub(super) fn exists(&self, root: &Directory) -> bool {
        match self {
            Self::Given(_) => true,
            Self::Usual(path) => {
                match rustix::fs::statat(root, path, AtFlags::empty()) {
                    // Inside, anything but nothing hides what lies beside.
                    Ok(stat) => {
                        !path.starts_with("..")
                            || FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    }
                    Err(_) => false,
                }
            }
        }
    }

    /// Finds the signature file to be written: whatever the user named, or a regular file where it
    /// usually is.
    ///
    /// # Errors
    /// [`LocationError::Signature`] where it can't be written.
    pub(super) fn to_write(&self, root: &Directory) -> Result<Output, LocationError> {
        let found = match self {
            Self::Given(path) => Output::given(path),
            Self::Usual(path) => Output::in_directory(root, path.as_os_str()),
        };
        found.map_err(|error| LocationError::Signature {
            path: self.path(root),
            error,
        })
    }

    /// Reads the signature file, of at most [`MAX_BUNDLE`] bytes.
    ///
    /// # Errors
    /// [`LocationError::Signature`] or [`LocationError::LargeSignature`].
    pub(super) fn read(&self, root: &Directory) -> Result<Arc<[u8]>, LocationError> {
        match self {
            Self::Given(path) => read_given_signature(path),
            Self::Usual(path) => open_found(root, path, MAX_BUNDLE)
                .and_then(|(file, len)| read_whole(file, len))
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => LocationError::NoSignature {
                        path: self.path(root),
                        error,
                    },
                    _ => signature_failed(&self.path(root), error),
                }),
        }
    }
}

/// The published signatures at the root of a model, whatever they are.
fn published(root: &Directory) -> io::Result<Vec<SignaturePlace>> {
    let mut places = Vec::new();
    root.for_each_name(|name| {
        // No other name can be left out of the content.
        let name = name.to_str().filter(|name| name.ends_with(PUBLISHED));
        if let Some(name) = name.filter(|_| places.len() < MAX_PUBLISHED) {
            places.push(SignaturePlace::Usual(name.into()));
        }
        Ok(())
    })?;
    Ok(places)
}

/// Where a signature may lie beside a model.
fn beside(root: &Directory) -> impl Iterator<Item = SignaturePlace> {
    let own = root.path().file_name().map(|name| {
        let mut name = name.to_owned();
        name.push(".sig");
        name
    });
    // The same one for a model that is called `model`.
    let own = own.filter(|name| name != SIGNATURE_NAME);
    let names = own.into_iter().chain([SIGNATURE_NAME.into()]);
    names.map(|name| SignaturePlace::Usual(Path::new("..").join(name)))
}

/// Reads a signature that the user named, of at most [`MAX_BUNDLE`] bytes: a file, or whatever can
/// be read, see [`read_given`](crate::files::read_given).
///
/// # Errors
/// [`LocationError::LargeSignature`] for one that is too large, else [`LocationError::Signature`].
pub fn read_given_signature(path: &Path) -> Result<Arc<[u8]>, LocationError> {
    let read = || {
        let file = open_given(path)?;
        let metadata = file.metadata()?;
        match usize::try_from(metadata.len()) {
            Ok(len) if metadata.is_file() && len > 0 && len <= MAX_BUNDLE => read_whole(file, len),
            // What doesn't say how long it is (a pipe) is in memory twice for a moment.
            _ => read_stream(&file, MAX_BUNDLE).map(Arc::from),
        }
    };
    read().map_err(|error| signature_failed(path, error))
}

fn signature_failed(path: &Path, error: io::Error) -> LocationError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::FileTooLarge => LocationError::LargeSignature(path),
        _ => LocationError::Signature { path, error },
    }
}
