//! A model and its signature, found.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::error::LocationError;
use super::signature::{SIGNATURE_NAME, SignaturePlace};
use super::single_file::{SingleFile, located, single_file};
use crate::files::{Directory, Identity, Output, has_descriptor_paths, look_at, parent_of};
use crate::manifest::ModelShape;
use crate::name::FileName;
use crate::reading::source::{Links, LocalDirectory};

/// A model and its signature.
#[derive(Debug, Clone)]
pub struct ModelLocation {
    /// The directory that names are relative to. Its path is absolute and without links.
    root: Directory,
    /// The one file, if the model is one.
    pub(super) single: Option<SingleFile>,
    /// The signature file.
    pub(super) signature: SignaturePlace,
    /// Its name in the model, if it lies there.
    pub(super) signature_name: Option<FileName>,
}

impl ModelLocation {
    /// Finds a model and its signature: the one given, or for a directory `MODEL/model.sig`,
    /// else the only one of `*.oms.sig` at its root, and `MODEL.sig` and `model.sig` beside it; and
    /// for a file `MODEL.sig`. The signature need not exist.
    ///
    /// # Errors
    /// [`LocationError`], when there is no model, or it may have several signatures.
    pub fn find(model: &Path, signature: Option<&Path>) -> Result<Self, LocationError> {
        let mut location = Self::find_to_sign(model, signature)?;
        if signature.is_none()
            && location.single.is_none()
            && !location.has_signature()
            && let Some(place) = SignaturePlace::elsewhere(&location.root)?
        {
            location.signature_name = match &place {
                SignaturePlace::Usual(path) => lexical_name(path),
                SignaturePlace::Given(_) => None,
            };
            location.signature = place;
        }
        Ok(location)
    }

    /// Finds a model, and the place where its signature is written: the one given, or
    /// `MODEL/model.sig`, and for a file `MODEL.sig`. What lies beside a model directory is another
    /// model's.
    ///
    /// # Errors
    /// [`LocationError`], when there is no model.
    pub fn find_to_sign(model: &Path, signature: Option<&Path>) -> Result<Self, LocationError> {
        if !has_descriptor_paths() {
            return Err(LocationError::NoProc);
        }
        let failed = |error| LocationError::Model {
            path: model.to_owned(),
            error,
        };
        let (found, kind) = look_at(model).map_err(failed)?;
        let (root, single) = match kind {
            FileType::Directory => {
                let directory = Directory::new(found, model.to_owned());
                (located(directory).map_err(failed)?, None)
            }
            FileType::RegularFile => {
                let (root, single) = single_file(model, &found)?;
                (root, Some(single))
            }
            _ => return Err(LocationError::Kind(model.to_owned())),
        };
        let signature = match (signature, &single) {
            (Some(given), _) => SignaturePlace::Given(given.to_owned()),
            (None, Some(single)) => {
                SignaturePlace::Usual(format!("{}.sig", single.name.as_str()).into())
            }
            (None, None) => SignaturePlace::Usual(SIGNATURE_NAME.into()),
        };
        let mut location = Self {
            root,
            single,
            signature,
            signature_name: None,
        };
        location.signature_name = match &location.signature {
            SignaturePlace::Given(path) => location.name_of(path),
            SignaturePlace::Usual(path) => lexical_name(path),
        };
        Ok(location)
    }

    /// The directory that names are relative to.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The same, opened.
    pub fn directory(&self) -> &Directory {
        &self.root
    }

    /// Where the model lies: the directory, or the file by the name that the user gave. Absolute.
    pub fn path(&self) -> PathBuf {
        match &self.single {
            Some(single) => self.root().join(&single.name),
            None => self.root().to_owned(),
        }
    }

    /// Where that really is, a link at its end followed: what a limit for a signer is about.
    pub fn resolved(&self) -> PathBuf {
        match &self.single {
            Some(single) => single.directory.path().join(&single.file),
            None => self.root().to_owned(),
        }
    }

    /// Whether a directory lies in the model, or is it. None lies in a file.
    ///
    /// # Errors
    /// When the kernel doesn't show a directory on the way up.
    pub fn contains(&self, directory: &Directory) -> io::Result<bool> {
        match self.single {
            Some(_) => Ok(false),
            None => directory.is_within(self.root.identity()?),
        }
    }

    /// The signature file.
    pub fn signature(&self) -> PathBuf {
        self.signature.path(&self.root)
    }

    /// Whether there is a signature: whatever the user named, or a regular file where it usually
    /// is.
    pub fn has_signature(&self) -> bool {
        self.signature.exists(&self.root)
    }

    /// Finds the signature file to be written: whatever the user named, or a regular file where it
    /// usually is.
    ///
    /// # Errors
    /// [`LocationError::Signature`] where it can't be written.
    pub fn signature_to_write(&self) -> Result<Output, LocationError> {
        self.signature.to_write(&self.root)
    }

    /// Reads the signature file, of at most [`MAX_BUNDLE`](crate::oms::bundle::MAX_BUNDLE) bytes.
    ///
    /// # Errors
    /// [`LocationError::Signature`] or [`LocationError::LargeSignature`].
    pub fn read_signature(&self) -> Result<Arc<[u8]>, LocationError> {
        self.signature.read(&self.root)
    }

    /// The name under which a mount shows the signature: its own where it lies in the model, else
    /// the usual one.
    pub fn mounted_signature_name(&self) -> Option<FileName> {
        if let Some(name) = &self.signature_name {
            return Some(name.clone());
        }
        let usual = match &self.single {
            Some(single) => format!("{}.sig", single.name.as_str()),
            None => SIGNATURE_NAME.to_owned(),
        };
        FileName::new(&usual).ok()
    }

    /// The model's own name: the last component of its path. Informational.
    pub fn model_name(&self) -> String {
        match &self.single {
            Some(single) => single.name.as_str().to_owned(),
            None => self.root().file_name().map_or_else(
                || "model".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// What the model is: a directory, or one file.
    pub fn shape(&self) -> ModelShape {
        match &self.single {
            Some(single) => ModelShape::SingleFile(single.name.clone()),
            None => ModelShape::Directory,
        }
    }

    /// The model's directory, as it was found, to be read.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn open(&self, links: Links) -> Result<LocalDirectory, LocationError> {
        let open = || {
            let directory = LocalDirectory::of(&self.root, links)?;
            match &self.single {
                None => Ok(directory),
                Some(single) => {
                    let place = (&single.directory, single.file.as_os_str());
                    let allowed = links == Links::Follow || !self.is_linked(single)?;
                    directory.with_one_file(&single.name, allowed.then_some(place))
                }
            }
        };
        open().map_err(|error| self.failed(error))
    }

    /// Whether the name that the user gave is a link to the file.
    fn is_linked(&self, single: &SingleFile) -> io::Result<bool> {
        Ok(single.file != OsStr::new(single.name.as_str())
            || single.directory.identity()? != self.root.identity()?)
    }

    /// Whether nothing has this name in the model now, not even a link.
    pub fn lacks(&self, name: &FileName) -> bool {
        let found = rustix::fs::statat(&self.root, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        matches!(found, Err(Errno::NOENT | Errno::NOTDIR))
    }

    /// The first of these files that is the one of this identity, under whatever name.
    pub fn find_same<'a>(
        &self,
        mut names: impl Iterator<Item = &'a FileName>,
        identity: Identity,
    ) -> Option<&'a FileName> {
        names.find(|name| {
            let found = rustix::fs::statat(&self.root, name.as_str(), AtFlags::empty());
            found.is_ok_and(|stat| Identity::from(&stat) == identity)
        })
    }

    /// The signature's name where it lies in a model directory, for `ignore_paths`.
    pub fn signature_to_ignore(&self) -> Option<&FileName> {
        self.signature_name
            .as_ref()
            .filter(|_| self.single.is_none())
    }

    pub(super) fn failed(&self, error: io::Error) -> LocationError {
        LocationError::Model {
            path: self.path(),
            error,
        }
    }

    /// The name of a path in the model; `None` if it isn't there. The directory that holds it must
    /// exist, the path itself need not.
    pub(super) fn name_of(&self, path: &Path) -> Option<FileName> {
        let file_name = path.file_name()?;
        let relative = match Directory::open(parent_of(path)).and_then(|parent| parent.locate()) {
            Ok(parent) => parent.join(file_name),
            Err(_) => path.to_owned(),
        };
        lexical_name(relative.strip_prefix(self.root()).ok()?)
    }
}

/// A relative path as a name, leading and inner `.` left out.
pub(super) fn lexical_name(path: &Path) -> Option<FileName> {
    let components = path
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(component) => component.to_str(),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    FileName::new(&components.join("/")).ok()
}
