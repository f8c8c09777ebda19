//! The manifest: what a signed model consists of, validated.
//!
//! Guarantees: the names in a [`Manifest`] are relative paths that form a tree (none occurs twice,
//! none is both a file and a directory), sorted by Unicode code point; each has one
//! [`SignedContent`]; shards cover their file without gap or overlap. Only a signature check makes
//! a [`VerifiedManifest`]; its file says how that is kept.
//!
//! Doesn't: look at any file. A plain [`Manifest`] has the right shape, and that is all: it may
//! have been made here to be signed. What was read from a bundle without checking its signature is
//! an [`UnverifiedManifest`], and nothing turns one into the other.

mod content;
mod error;
mod file;
mod index;
mod resources;
mod shape;
mod shards;
#[cfg(test)]
mod tests;
mod tree;
mod trusted_signers;
mod unverified;
mod verified;

pub use self::content::{ProvingDigest, ShardDigests, SignedContent, WholeDigest};
pub use self::error::{ManifestError, ShardRule, VerifyManifestError};
pub use self::file::ManifestFile;
pub use self::index::FileIndex;
use self::resources::{resources, whole_files};
pub use self::shape::ModelShape;
use self::shards::sharded_files;
pub use self::trusted_signers::VerifyWithStoreError;
pub use self::unverified::UnverifiedManifest;
pub use self::verified::VerifiedManifest;
use crate::digest::{Algorithm, Digest};
use crate::name::{Escaped, FileName};
use crate::oms::sign::{self, Compat, SignError, Signing};
pub use crate::oms::statement::{Annotations, IgnoredAnnotations, Serialization};
use crate::oms::statement::{Draft, Statement, root_digest_of};

/// What every signer leaves out, at the root of a model only (OMS v1.0, 6.2 and 6.2.1).
pub const DEFAULT_IGNORE_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The validated list of a model's files, and how they were signed; see the [module](self).
///
/// With the method `shards`, OMS lists nothing for an empty file: such a manifest names no empty
/// files, and can't tell whether the model had any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    subject_name: String,
    root_digest: Digest,
    serialization: Serialization,
    /// Whether it is to be signed as a model that is a file and no directory.
    is_single_file: bool,
    allow_symlinks: bool,
    /// Sorted, each once.
    ignore_paths: Vec<FileName>,
    unusable_ignore_paths: Vec<Escaped>,
    /// Sorted by name.
    files: Vec<ManifestFile>,
    ignored_annotations: Option<IgnoredAnnotations>,
}

/// What a new manifest says beside its files.
#[derive(Debug, Clone)]
pub struct Description {
    /// The name of the model; informational, not empty.
    pub subject_name: String,
    /// What the model is. What a single file is called in a bundle depends on [`Compat`].
    pub shape: ModelShape,
    /// How files became digests.
    pub serialization: Serialization,
    /// Whether the targets of symbolic links were hashed under the links' names.
    pub allow_symlinks: bool,
    /// What was left out: the user's choice, and the signature file where it lies in the model.
    /// [`DEFAULT_IGNORE_PATHS`] are added.
    pub ignore_paths: Vec<FileName>,
}

impl Manifest {
    /// A manifest to be signed.
    ///
    /// # Errors
    /// [`ManifestError`] if the files don't make a model, or don't fit the description.
    pub fn new(
        description: Description,
        mut files: Vec<ManifestFile>,
    ) -> Result<Self, ManifestError> {
        let Description {
            subject_name,
            shape,
            serialization,
            allow_symlinks,
            mut ignore_paths,
        } = description;
        if subject_name.is_empty() {
            return Err(ManifestError::NoSubjectName);
        }
        if files.is_empty() {
            return Err(ManifestError::Empty);
        }
        let fits = |file: &ManifestFile| file.content.serialization() == serialization;
        if let Some(file) = files.iter().find(|file| !fits(file)) {
            return Err(ManifestError::Misfit {
                name: Escaped::bounded(file.name.as_str()),
            });
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for default in DEFAULT_IGNORE_PATHS {
            ignore_paths.push(FileName::new(default)?);
        }
        ignore_paths.sort_unstable();
        ignore_paths.dedup();
        let mut manifest = Self {
            subject_name,
            // Known when the resources are listed.
            root_digest: Algorithm::Sha256.hash(b""),
            serialization,
            is_single_file: shape.is_single_file() && files.len() == 1,
            allow_symlinks,
            ignore_paths,
            unusable_ignore_paths: Vec::new(),
            files,
            ignored_annotations: None,
        };
        manifest.check_tree()?;
        manifest.root_digest = root_digest_of(
            resources(
                &manifest.files,
                manifest.is_single_file,
                Compat::Specification,
            )
            .iter()
            .map(|resource| &resource.digest),
        );
        Ok(manifest)
    }

    /// The manifest that a statement makes. The statement's word for it: see [`VerifiedManifest`].
    ///
    /// Only where the model is a [single file](ModelShape::SingleFile) may the one that is listed
    /// be called `.` instead of its name.
    fn from_statement(statement: Statement<'_>, shape: &ModelShape) -> Result<Self, ManifestError> {
        // Published bundles have entries that name nothing in the model: absolute paths, paths from
        // another directory, `../x`. They have no effect, so nothing more is left out for them.
        let mut ignore_paths = Vec::new();
        let mut unusable_ignore_paths = Vec::new();
        for path in statement.ignore_paths() {
            match FileName::new(path) {
                Ok(name) => ignore_paths.push(name),
                Err(_) => unusable_ignore_paths.push(Escaped::bounded(path)),
            }
        }
        ignore_paths.sort_unstable();
        ignore_paths.dedup();

        let serialization = statement.serialization();
        let subject_name = statement.subject_name().to_owned();
        let root_digest = statement.root_digest();
        let allow_symlinks = statement.allow_symlinks();
        let ignored_annotations = statement.ignored_annotations().cloned();
        let resources = statement.into_resources();
        let files = match serialization.shard_size {
            None => whole_files(resources, shape)?,
            Some(size) => sharded_files(&resources, serialization.hash, size, shape)?,
        };
        let manifest = Self {
            subject_name,
            root_digest,
            serialization,
            is_single_file: false,
            allow_symlinks,
            ignore_paths,
            unusable_ignore_paths,
            files,
            ignored_annotations,
        };
        manifest.check_tree()?;
        Ok(manifest)
    }

    /// The files, sorted by name in Unicode code point order; at least one.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// The file with this name.
    pub fn file(&self, name: &str) -> Option<&ManifestFile> {
        self.position(name).map(|index| self.at(index))
    }

    /// The hash of every file or shard.
    pub fn hash(&self) -> Algorithm {
        self.serialization.hash
    }

    /// How files became digests.
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// SHA-256 over the digests of all resources, in the order in which the bundle lists them: one
    /// value that stands for the whole model, and that other documents name it by.
    pub fn root_digest(&self) -> Digest {
        self.root_digest
    }

    /// The signer's name for the model. Informational, never empty, and as hostile as its signer:
    /// show it through [`Escaped`].
    pub fn subject_name(&self) -> &str {
        &self.subject_name
    }

    /// Whether the targets of symbolic links were hashed under the links' names.
    pub fn allow_symlinks(&self) -> bool {
        self.allow_symlinks
    }

    /// What the signer says was left out, sorted. May lack the defaults: older bundles don't record
    /// anything.
    pub fn ignore_paths(&self) -> &[FileName] {
        &self.ignore_paths
    }

    /// Recorded entries that aren't paths in a model (absolute, `..`), escaped. They have no
    /// effect.
    pub fn unusable_ignore_paths(&self) -> &[Escaped] {
        &self.unusable_ignore_paths
    }

    /// Annotations that aren't of their form, and so say nothing; `None` if all are. What they were
    /// about is proved by its listed digest.
    pub fn ignored_annotations(&self) -> Option<&IgnoredAnnotations> {
        self.ignored_annotations.as_ref()
    }

    /// Signs the manifest and gives the bytes of the signature file.
    ///
    /// # Errors
    /// [`SignError`] if the key fails or the file would be too large for a verifier.
    pub fn sign<'a>(
        &self,
        signing: impl Into<Signing<'a>>,
        compat: Compat,
    ) -> Result<Vec<u8>, SignError> {
        let draft = Draft {
            subject_name: &self.subject_name,
            serialization: self.serialization,
            allow_symlinks: self.allow_symlinks,
            ignore_paths: self.ignore_paths.iter().map(FileName::as_str).collect(),
            resources: resources(&self.files, self.is_single_file, compat),
        };
        sign::sign(&draft, signing.into(), compat)
    }
}
