//! Where a model and its signature lie on this machine.
//!
//! Guarantees: a model is a directory, or one file in a directory; either way names in its manifest
//! are relative to one root. It is found once: everything later, limits for signers included, is
//! about the directory and the file that were opened then, whatever their names lead to by now. A
//! signature that is found in or beside a model, where the user didn't name it, is a
//! regular file. Doesn't:
//! look at content, or trust anything.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::shipped;
use super::source::{ABSENT, Links, LocalDirectory, Scan};
use crate::files::{
    Directory, Identity, Output, look_at, open_found, open_given, parent_of, place_of, read_stream,
    read_whole,
};
use crate::manifest::{DEFAULT_IGNORE_PATHS, Manifest, ModelShape};
use crate::name::{Escaped, FileName, NameError};
use crate::oms::bundle::MAX_BUNDLE;

/// What a signature is called in a model directory, and beside one.
pub const SIGNATURE_NAME: &str = "model.sig";

/// A model and its signature.
#[derive(Debug, Clone)]
pub struct ModelLocation {
    /// The directory that names are relative to. Its path is absolute and without links.
    root: Directory,
    /// The one file, if the model is one.
    single: Option<SingleFile>,
    /// The signature file.
    signature: SignaturePlace,
    /// Its name in the model, if it lies there.
    signature_name: Option<FileName>,
}

/// A model that is a file.
#[derive(Debug, Clone)]
struct SingleFile {
    /// Its name in the root, as the user gave it.
    name: FileName,
    /// Where it really lies, if that name is a link: the directory, and its name there.
    directory: Directory,
    file: OsString,
}

/// Where a signature is.
#[derive(Debug, Clone)]
enum SignaturePlace {
    /// Where the user says: a file, a pipe, whatever can be read.
    Given(PathBuf),
    /// Where it usually is, relative to the root.
    Usual(PathBuf),
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
    /// The file has a name that can't be signed, since names in manifests are UTF-8.
    #[error("model {}: the name of the file is not valid UTF-8", Escaped::path(.0))]
    NotUtf8(PathBuf),
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
        let mut location = Self::find_to_sign(model, signature)?;
        if signature.is_none() && location.single.is_none() && !location.has_signature() {
            let beside = SignaturePlace::Usual(Path::new("..").join(SIGNATURE_NAME));
            let inside = std::mem::replace(&mut location.signature, beside);
            if location.has_signature() {
                location.signature_name = None;
            } else {
                location.signature = inside;
            }
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
        match &self.signature {
            SignaturePlace::Given(path) => path.clone(),
            SignaturePlace::Usual(path) => match path.strip_prefix("..") {
                Ok(beside) => self.root().parent().unwrap_or(self.root()).join(beside),
                Err(_) => self.root().join(path),
            },
        }
    }

    /// Whether there is a signature: whatever the user named, or a regular file where it usually
    /// is.
    pub fn has_signature(&self) -> bool {
        match &self.signature {
            SignaturePlace::Given(_) => true,
            SignaturePlace::Usual(path) => {
                match rustix::fs::statat(&self.root, path, AtFlags::empty()) {
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
    pub fn signature_to_write(&self) -> Result<Output, LocationError> {
        let found = match &self.signature {
            SignaturePlace::Given(path) => Output::given(path),
            SignaturePlace::Usual(path) => Output::in_directory(&self.root, path.as_os_str()),
        };
        found.map_err(|error| LocationError::Signature {
            path: self.signature(),
            error,
        })
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

    /// Reads the signature file, of at most [`MAX_BUNDLE`] bytes.
    ///
    /// # Errors
    /// [`LocationError::Signature`] or [`LocationError::LargeSignature`].
    pub fn read_signature(&self) -> Result<Arc<[u8]>, LocationError> {
        match &self.signature {
            SignaturePlace::Given(path) => read_given_signature(path),
            SignaturePlace::Usual(path) => open_found(&self.root, path, MAX_BUNDLE)
                .and_then(|(file, len)| read_whole(file, len))
                .map_err(|error| signature_failed(&self.signature(), error)),
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
        self.scan(directory, None, |name| is_left_out(name, ignored))
    }

    /// Whether the signature file has a name in the model that isn't usual for one, and that would
    /// be signed if it weren't for that: what is there is content.
    pub fn signature_is_content(&self, ignored: &[FileName]) -> bool {
        let (Some(name), SignaturePlace::Given(_)) = (&self.signature_name, &self.signature) else {
            return false;
        };
        if let Some(single) = &self.single {
            return *name == single.name;
        }
        let above = std::iter::successors(Some(name.as_str()), |path| {
            path.rsplit_once('/').map(|(parent, _)| parent)
        });
        let left_out = above
            .filter_map(|path| FileName::new(path).ok())
            .any(|path| is_left_out(&path, ignored));
        name.as_str() != SIGNATURE_NAME && !left_out
    }

    /// The signature's name where it lies in a model directory, for `ignore_paths`.
    pub fn signature_to_ignore(&self) -> Option<&FileName> {
        self.signature_name
            .as_ref()
            .filter(|_| self.single.is_none())
    }

    fn scan(
        &self,
        directory: &LocalDirectory,
        manifest: Option<&Manifest>,
        skip: impl Fn(&FileName) -> bool + Sync,
    ) -> Result<Scan, LocationError> {
        let skip = |name: &FileName| Some(name) == self.signature_name.as_ref() || skip(name);
        let scan = match (&self.single, manifest) {
            (Some(single), _) => directory.scan_one(&single.name),
            (None, Some(manifest)) => directory.scan_for(manifest, skip),
            (None, None) => directory.scan(skip),
        };
        scan.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> LocationError {
        LocationError::Model {
            path: self.path(),
            error,
        }
    }

    /// The name of a path in the model; `None` if it isn't there. The directory that holds it must
    /// exist, the path itself need not.
    fn name_of(&self, path: &Path) -> Option<FileName> {
        let file_name = path.file_name()?;
        let relative = match Directory::open(parent_of(path)).and_then(|parent| parent.locate()) {
            Ok(parent) => parent.join(file_name),
            Err(_) => path.to_owned(),
        };
        lexical_name(relative.strip_prefix(self.root()).ok()?)
    }
}

/// What is signed of no model: what every signer leaves out, our own tables, and what the user
/// ignores.
fn is_left_out(name: &FileName, ignored: &[FileName]) -> bool {
    DEFAULT_IGNORE_PATHS.contains(&name.as_str())
        || name.as_str() == shipped::DIRECTORY
        || ignored.iter().any(|ignored| name.is_within(ignored))
}

/// The same directory, with the path that really leads to it.
fn located(directory: Directory) -> io::Result<Directory> {
    let path = directory.locate()?;
    Ok(directory.found_at(path))
}

/// The model that is the file which was opened by the path `model`, and the root of its name.
fn single_file(model: &Path, found: &OwnedFd) -> Result<(Directory, SingleFile), LocationError> {
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
        // What lies beside may be another model's.
        let to_sign = ModelLocation::find_to_sign(&model, None).unwrap();
        assert_eq!(to_sign.signature(), model.join("model.sig"));
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
        assert!(matches!(
            ModelLocation::find(Path::new("/dev/null"), None),
            Err(LocationError::Kind(_))
        ));
    }

    #[test]
    fn a_model_is_found_once() {
        use std::os::unix::fs::symlink;

        use crate::reading::source::{Caching, Source as _};

        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for (folder, content) in [("old", "old"), ("new", "new")] {
            std::fs::create_dir(dir.join(folder)).unwrap();
            std::fs::write(dir.join(folder).join("f"), content).unwrap();
        }
        symlink("old", dir.join("m")).unwrap();
        symlink("old/f", dir.join("link")).unwrap();
        let directory = ModelLocation::find(&dir.join("m"), None).unwrap();
        let file = ModelLocation::find(&dir.join("link"), None).unwrap();
        for (link, target) in [("m", "new"), ("link", "new/f")] {
            std::fs::remove_file(dir.join(link)).unwrap();
            symlink(target, dir.join(link)).unwrap();
        }
        assert_eq!(directory.resolved(), dir.join("old"));
        assert_eq!(file.resolved(), dir.join("old/f"));
        assert_eq!(file.path(), dir.join("link"));
        let read = |location: &ModelLocation, file: &str, links| {
            let name = FileName::new(file).unwrap();
            let opened = location.open(links).unwrap().open(&name)?;
            let mut bytes = [0; 3];
            opened.read_at(&mut bytes, 0, Caching::Keep)?;
            Ok::<_, crate::reading::SourceError>(bytes)
        };
        assert_eq!(&read(&directory, "f", Links::Refuse).unwrap(), b"old");
        assert_eq!(&read(&file, "link", Links::Follow).unwrap(), b"old");
        // A link is none of the files that are signed, unless links are.
        assert!(read(&file, "link", Links::Refuse).is_err());

        // No link in place of what was found, and none to itself by another name.
        std::fs::remove_file(dir.join("old/f")).unwrap();
        symlink("../new/f", dir.join("old/f")).unwrap();
        for links in [Links::Follow, Links::Refuse] {
            assert!(read(&file, "link", links).is_err());
        }
        std::fs::remove_file(dir.join("old/f")).unwrap();
        std::fs::write(dir.join("old/f"), "ren").unwrap();
        assert_eq!(&read(&file, "link", Links::Follow).unwrap(), b"ren");
    }

    #[test]
    fn a_directory_lies_in_a_model_by_whatever_path() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("m");
        std::fs::create_dir_all(model.join("sub")).unwrap();
        std::fs::create_dir(dir.path().join("beside")).unwrap();
        std::fs::write(model.join("f"), "x").unwrap();
        std::os::unix::fs::symlink(model.join("sub"), dir.path().join("link")).unwrap();
        let contains = |model: &Path, path: &str| {
            let location = ModelLocation::find(model, None).unwrap();
            let directory = Directory::open(&dir.path().join(path)).unwrap();
            location.contains(&directory).unwrap()
        };
        for (path, inside) in [
            ("m", true),
            ("m/sub", true),
            ("link", true),
            ("beside/../m/sub", true),
            ("beside", false),
            ("m/..", false),
        ] {
            assert_eq!(contains(&model, path), inside, "{path}");
            assert!(!contains(&model.join("f"), path), "{path}, of a file");
        }
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
}
