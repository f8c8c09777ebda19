//! The front door: a signed model, opened, read and mounted.
//!
//! Guarantees: a [`Model`] exists only for a signature that holds and a directory that has the
//! signed names, and no others but those that its options pass over; what is read of it is
//! verified. Doesn't: have a way around that. The parts are in [`manifest`](crate::manifest),
//! [`reading`](crate::reading), [`fs`](crate::fs) and, with the feature `mount`, `kernel`.

mod error;
mod file;
#[cfg(feature = "mount")]
mod mount;
mod options;
mod signed;
mod store;

use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use self::error::{FileError, OpenError};
pub use self::file::ModelFile;
#[cfg(feature = "mount")]
pub use self::mount::{MountOptions, Mounted};
pub use self::options::OpenOptions;
pub use self::signed::{SignedModel, Trusted, warn_of_absent};
pub use self::store::{StoreError, StorePlace, open_store};
use crate::manifest::{ManifestFile, VerifiedManifest};
use crate::name::FileName;
use crate::reading::{Reader, ReaderOptions, ReaderStats, Source, TableStore, ViolationLog};

/// A signed model whose signature was verified, and whose directory has the signed names.
#[derive(Debug)]
pub struct Model {
    signed: SignedModel,
    store: Option<Arc<TableStore>>,
    /// Made for the first file that is opened.
    reader: OnceLock<Arc<Reader>>,
}

impl Model {
    /// Verifies the signature of the model at `path`, a directory or a file, and holds its names
    /// against the signed ones. Reads no content.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<'a>(
        path: impl AsRef<Path>,
        trust: impl Into<Trusted<'a>>,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        Self::new(SignedModel::open(path, trust, options)?)
    }

    /// The same for a model whose signature was verified already, with the options of that.
    ///
    /// # Errors
    /// [`OpenError::Differs`] and [`OpenError::Store`].
    pub fn new(signed: SignedModel) -> Result<Self, OpenError> {
        let differences = signed.name_differences();
        if !differences.is_empty() {
            return Err(OpenError::Differs(differences));
        }
        let store = open_store(&signed.options.store, signed.location())?.map(Arc::new);
        Ok(Self {
            signed,
            store,
            reader: OnceLock::new(),
        })
    }

    /// What was signed, and by whom.
    pub fn manifest(&self) -> &VerifiedManifest {
        self.signed.manifest()
    }

    /// The model, its signature and its directory.
    pub fn signed(&self) -> &SignedModel {
        &self.signed
    }

    /// The store that keeps what is proved, if there is one.
    pub fn table_store(&self) -> Option<&TableStore> {
        self.store.as_deref()
    }

    /// The files, sorted by name.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &ManifestFile> {
        self.manifest().files().iter()
    }

    /// Opens a file by its signed name. Waits for the proof of its chunk table and length, which
    /// reads the whole file where no table is at hand.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn file(&self, name: &str) -> Result<ModelFile, FileError> {
        let manifest = self.manifest();
        let index = manifest.position(name).ok_or_else(|| {
            let is_it = |left_out: &FileName| left_out.as_str() == name;
            FileError::missing(name, manifest.left_out().iter().any(is_it))
        })?;
        Ok(ModelFile::new(self.reader().open(index)?))
    }

    /// What was done so far.
    pub fn stats(&self) -> ReaderStats {
        self.reader().stats()
    }

    /// The violations met so far.
    pub fn violations(&self) -> &ViolationLog {
        self.reader().violations()
    }

    /// The reader underneath.
    pub fn reader(&self) -> &Arc<Reader> {
        self.reader
            .get_or_init(|| self.new_reader(self.signed.options.reader()))
    }

    fn new_reader(&self, options: ReaderOptions) -> Arc<Reader> {
        let source = Arc::clone(self.signed.directory()) as Arc<dyn Source>;
        let manifest = Arc::clone(self.signed.shared_manifest());
        Reader::new(manifest, source, self.store.clone(), options)
    }
}
