//! Where a model and its signature lie on this machine.
//!
//! Guarantees: a model is a directory, or one file in a directory; either way names in its manifest
//! are relative to one root. Doesn't: look at content, or trust anything.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::index_store::shipped;
use super::source::{ABSENT, Links, LocalDirectory, Scan};
use crate::manifest::{DEFAULT_IGNORE_PATHS, Manifest};
use crate::name::{Escaped, FileName, NameError};
use crate::oms::bundle::MAX_BUNDLE;

/// What a signature is called in a model directory, and beside one.
pub const SIGNATURE_NAME: &str = "model.sig";

/// A model and its signature.
#[derive(Debug, Clone)]
pub struct ModelLocation {
    /// The directory that names are relative to; absolute, without links.
    root: PathBuf,
    /// The one file, if the model is one.
    single: Option<FileName>,
    /// The signature file.
    signature: PathBuf,
    /// Its name in the model, if it lies there.
    signature_name: Option<FileName>,
}

/// Why a model can't be found.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// There is nothing, or nothing that can be looked at.
    #[error("model {}: {error}", Escaped::path(path))]
    Model {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it wasn't found.
        error: io::Error,
    },
    /// It is neither a directory nor a regular file.
    #[error("model {}: neither a directory nor a regular file", Escaped::path(.0))]
    Kind(PathBuf),
    /// The file has a name that can't be signed.
    #[error("model: {0}")]
    Name(#[from] NameError),
    /// The signature can't be read.
    #[error("signature {}: {error}", Escaped::path(path))]
    Signature {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// No signature is that large: a malformed one, and not a file that can't be read.
    #[error("signature {}: it has more than {MAX_BUNDLE} bytes", Escaped::path(.0))]
    LargeSignature(PathBuf),
    /// A path to ignore isn't in the model.
    #[error("\"{0}\" is not a path in the model")]
    Ignored(Escaped),
}

impl ModelLocation {
    /// Finds a model and its signature: the one given, or for a directory `MODEL/model.sig`, then
    /// `model.sig` beside it, and for a file `MODEL.sig`. The signature need not exist.
    ///
    /// # Errors
    /// [`LocationError`], when there is no model.
    pub fn find(model: &Path, signature: Option<&Path>) -> Result<Self, LocationError> {
        let failed = |error| LocationError::Model {
            path: model.to_owned(),
            error,
        };
        let kind = model.metadata().map_err(failed)?;
        let (root, single) = if kind.is_dir() {
            (model.canonicalize().map_err(failed)?, None)
        } else if kind.is_file() {
            let name = model.file_name().unwrap_or_default();
            let name = FileName::from_path(name)?;
            let parent = model.parent().filter(|parent| *parent != Path::new(""));
            let parent = parent.unwrap_or(Path::new("."));
            (parent.canonicalize().map_err(failed)?, Some(name))
        } else {
            return Err(LocationError::Kind(model.to_owned()));
        };
        let signature = match (signature, &single) {
            (Some(given), _) => given.to_owned(),
            (None, Some(name)) => root.join(format!("{}.sig", name.as_str())),
            (None, None) => {
                let inside = root.join(SIGNATURE_NAME);
                let beside = root.parent().map(|parent| parent.join(SIGNATURE_NAME));
                match beside {
                    Some(beside) if !inside.exists() && beside.is_file() => beside,
                    _ => inside,
                }
            }
        };
        let mut location = Self {
            root,
            single,
            signature,
            signature_name: None,
        };
        location.signature_name = location.name_of(&location.signature);
        Ok(location)
    }

    /// The directory that names are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The signature file.
    pub fn signature(&self) -> &Path {
        &self.signature
    }

    /// The name under which a mount shows the signature: its own where it lies in the model, else
    /// the usual one.
    pub fn mounted_signature_name(&self) -> Option<FileName> {
        if let Some(name) = &self.signature_name {
            return Some(name.clone());
        }
        let usual = match &self.single {
            Some(name) => format!("{}.sig", name.as_str()),
            None => SIGNATURE_NAME.to_owned(),
        };
        FileName::new(&usual).ok()
    }

    /// The model's own name: the last component of its path.
    pub fn model_name(&self) -> String {
        match &self.single {
            Some(name) => name.as_str().to_owned(),
            None => self.root.file_name().map_or_else(
                || "model".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// Reads the signature file, see [`read_signature_file`].
    ///
    /// # Errors
    /// [`LocationError::Signature`] or [`LocationError::LargeSignature`].
    pub fn read_signature(&self) -> Result<Arc<[u8]>, LocationError> {
        read_signature_file(&self.signature)
    }

    /// Opens the model's directory.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn open(&self, links: Links) -> Result<LocalDirectory, LocationError> {
        LocalDirectory::open(&self.root, links).map_err(|error| LocationError::Model {
            path: self.root.clone(),
            error,
        })
    }

    /// The names of paths given by a user, absolute or relative to the model.
    ///
    /// # Errors
    /// [`LocationError::Ignored`] for one outside of the model.
    pub fn ignored(&self, paths: &[PathBuf]) -> Result<Vec<FileName>, LocationError> {
        paths
            .iter()
            .map(|path| {
                let name = if path.is_absolute() {
                    self.name_of(path)
                } else {
                    lexical_name(path)
                };
                name.ok_or_else(|| LocationError::Ignored(Escaped::bounded_path(path)))
            })
            .collect()
    }

    /// Everything there that a signature made with `manifest` has to account for: all but what it
    /// ignores, what the user ignores, and the signature.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn scan_signed(
        &self,
        directory: &LocalDirectory,
        manifest: &Manifest,
        ignored: &[FileName],
    ) -> Result<Scan, LocationError> {
        let mut scan = self.scan(directory, Some(manifest), |name| {
            manifest.is_ignored(name) && !manifest.lists_within(name)
                || ignored.iter().any(|ignored| name.is_within(ignored))
        })?;
        // The signature is left out, whatever is signed under its name.
        if let Some(name) = &self.signature_name
            && let Ok(index) = manifest
                .files()
                .binary_search_by(|file| file.name.cmp(name))
            && let Some(len) = scan.signed.get_mut(index)
        {
            *len = ABSENT;
        }
        Ok(scan)
    }

    /// Everything there that is to be signed: all but what every signer leaves out, our own tables,
    /// what the user ignores, and the signature.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn scan_to_sign(
        &self,
        directory: &LocalDirectory,
        ignored: &[FileName],
    ) -> Result<Scan, LocationError> {
        self.scan(directory, None, |name| {
            DEFAULT_IGNORE_PATHS.contains(&name.as_str())
                || name.as_str() == shipped::DIRECTORY
                || ignored.iter().any(|ignored| name.is_within(ignored))
        })
    }

    /// The signature's name where it lies in a model directory, for `ignore_paths`.
    pub fn signature_to_ignore(&self) -> Option<&FileName> {
        self.signature_name
            .as_ref()
            .filter(|_| self.single.is_none())
    }

    /// Whether the model is a single file.
    pub fn is_single_file(&self) -> bool {
        self.single.is_some()
    }

    fn scan(
        &self,
        directory: &LocalDirectory,
        manifest: Option<&Manifest>,
        skip: impl Fn(&FileName) -> bool + Sync,
    ) -> Result<Scan, LocationError> {
        let skip = |name: &FileName| Some(name) == self.signature_name.as_ref() || skip(name);
        let scan = match (&self.single, manifest) {
            (Some(name), _) => directory.scan_one(name),
            (None, Some(manifest)) => directory.scan_for(manifest, skip),
            (None, None) => directory.scan(skip),
        };
        scan.map_err(|error| LocationError::Model {
            path: self.root.clone(),
            error,
        })
    }

    /// The name of a path in the model; `None` if it isn't there. The directory that holds it must
    /// exist, the path itself need not.
    fn name_of(&self, path: &Path) -> Option<FileName> {
        let file_name = path.file_name()?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let relative = match parent.canonicalize() {
            Ok(parent) => parent.join(file_name),
            Err(_) => path.to_owned(),
        };
        lexical_name(relative.strip_prefix(&self.root).ok()?)
    }
}

/// A relative path as a name, leading and inner `.` left out.
fn lexical_name(path: &Path) -> Option<FileName> {
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

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (file, len) = open_bounded(path, limit)?;
    let mut bytes = Vec::with_capacity(len);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

/// Reads a signature file of at most [`MAX_BUNDLE`] bytes, in the memory that it is then kept in: it
/// may be large, so there is never a second copy.
///
/// # Errors
/// [`LocationError::LargeSignature`] for one that is too large, else [`LocationError::Signature`].
pub fn read_signature_file(path: &Path) -> Result<Arc<[u8]>, LocationError> {
    let read = || {
        let (mut file, len) = open_bounded(path, MAX_BUNDLE)?;
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        match Arc::get_mut(&mut bytes) {
            Some(buffer) => file.read_exact(buffer)?,
            None => return Err(io::Error::other("its memory is shared")),
        }
        if file.read(&mut [0])? > 0 {
            return Err(io::Error::other("it grew while it was read"));
        }
        Ok(bytes)
    };
    read().map_err(|error| {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::FileTooLarge => LocationError::LargeSignature(path),
            _ => LocationError::Signature { path, error },
        }
    })
}

/// Opens a regular file that claims at most `limit` bytes, and gives its length.
fn open_bounded(path: &Path, limit: usize) -> io::Result<(File, usize)> {
    use std::os::unix::fs::OpenOptionsExt as _;

    // A FIFO must not keep us waiting.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    match usize::try_from(metadata.len()) {
        Ok(len) if len <= limit => Ok((file, len)),
        _ => Err(too_large(limit)),
    }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it has more than {limit} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_signatures_where_they_usually_are() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let model = dir.join("m");
        std::fs::create_dir(&model).unwrap();
        let found = ModelLocation::find(&model, None).unwrap();
        assert_eq!(found.signature(), model.join("model.sig"));
        assert_eq!(
            found.mounted_signature_name().unwrap().as_str(),
            "model.sig"
        );
        std::fs::write(dir.join("model.sig"), b"").unwrap();
        let found = ModelLocation::find(&model, None).unwrap();
        assert_eq!(found.signature(), dir.join("model.sig"));
        assert_eq!(found.signature_to_ignore(), None);
        std::fs::write(model.join("model.sig"), b"").unwrap();
        let found = ModelLocation::find(&model, None).unwrap();
        assert_eq!(found.signature(), model.join("model.sig"));

        let file = model.join("weights.gguf");
        std::fs::write(&file, b"x").unwrap();
        let found = ModelLocation::find(&file, None).unwrap();
        assert_eq!(found.signature(), model.join("weights.gguf.sig"));
        assert_eq!(found.model_name(), "weights.gguf");
        assert!(matches!(
            ModelLocation::find(&dir.join("nothing"), None),
            Err(LocationError::Model { .. })
        ));
    }

    #[test]
    fn ignored_paths_are_absolute_or_relative_to_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelLocation::find(dir.path(), None).unwrap();
        let names = |path: &Path| {
            let names = model.ignored(&[path.to_owned()]).ok()?;
            Some(names[0].as_str().to_owned())
        };
        assert_eq!(names(Path::new("a/b")).as_deref(), Some("a/b"));
        assert_eq!(names(Path::new("./a/./b/")).as_deref(), Some("a/b"));
        assert_eq!(names(&dir.path().join("c")).as_deref(), Some("c"));
        for outside in ["..", "../x", "a/../../x", "/etc", "."] {
            assert_eq!(names(Path::new(outside)), None, "{outside}");
        }
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(read_bounded(dir.path(), 4).is_err());
    }
}
