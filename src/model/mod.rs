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
pub use self::mount::{MountOptions, Mounted, StatusHandle};
pub use self::options::OpenOptions;
pub use self::signed::{SignedModel, Trusted, warn_of_absent};
pub use self::store::{StoreError, StorePlace, open_store};
use crate::fs::ToHash;
use crate::manifest::{ManifestFile, VerifiedManifest};
use crate::name::FileName;
use crate::reading::table::{Laziness, laziness};
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

    /// Files that will be hashed as a whole when they are first opened: what was signed of them
    /// doesn't let them be read lazily, and this host hasn't proved them before. Reads nothing but
    /// headers of the store. Files that take a chunk table aren't among them, which may have one.
    pub fn to_hash(&self) -> ToHash {
        let scan = self.signed.scan();
        let mut found = ToHash::default();
        for (index, file) in self.manifest().indexed() {
            let len = scan.len_of_signed(index, &file.name);
            let known = || self.table_store().is_some_and(|it| it.has(&file.content));
            if laziness(&file.content, len) == Laziness::No && !known() {
                found.to_hash_files += 1;
                found.to_hash_bytes = found.to_hash_bytes.saturating_add(len.unwrap_or(0));
            }
        }
        found
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
