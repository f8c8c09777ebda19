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
mod store;
#[cfg(test)]
mod tests;
mod unverified;
mod verified;

use std::num::NonZeroU64;

pub use self::content::{ShardDigests, SignedContent};
pub use self::store::VerifyWithStoreError;
pub use self::unverified::UnverifiedManifest;
pub use self::verified::VerifiedManifest;
use crate::digest::{Algorithm, Digest};
use crate::name::{Escaped, FileName, NameError};
use crate::oms::bundle::BundleError;
use crate::oms::sign::{self, Compat, SignError, Signing};
pub use crate::oms::statement::Serialization;
use crate::oms::statement::{
    Draft, Resource, Statement, StatementError, Text, is_decimal, root_digest_of,
};
use crate::oms::verify::VerifyError;

/// What every signer leaves out, at the root of a model only (OMS v1.0, 6.2 and 6.2.1).
pub const DEFAULT_IGNORE_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// What Python's `model_signing` calls the file of a model that is one file, where OMS v1.0 wants
/// its own name (6.1.2). It is no [`FileName`], and is a name for nothing else.
const ONLY_FILE: &str = ".";

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its path in the model.
    pub name: FileName,
    /// What was signed about its content.
    pub content: SignedContent,
}

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
}

/// What a new manifest says beside its files.
#[derive(Debug, Clone)]
pub struct Description {
    /// The name of the model; informational, not empty.
    pub subject_name: String,
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
            is_single_file: false,
            allow_symlinks,
            ignore_paths,
            unusable_ignore_paths: Vec::new(),
            files,
        };
        manifest.check_tree()?;
        manifest.root_digest = root_digest_of(
            manifest
                .resources(Compat::Specification)
                .iter()
                .map(|resource| &resource.digest),
        );
        Ok(manifest)
    }

    /// The same, of a model that is its one file and no directory: what the file is called in a
    /// bundle depends on [`Compat`] then. Nothing changes where there are several files.
    #[must_use]
    pub fn of_single_file(mut self) -> Self {
        self.is_single_file = self.files.len() == 1;
        self
    }

    /// The manifest that a statement makes. The statement's word for it: see [`VerifiedManifest`].
    ///
    /// `single_file` is the name of a model that is a file and no directory. Only then may the one
    /// file that is listed be called [`ONLY_FILE`] instead.
    fn from_statement(
        statement: Statement<'_>,
        single_file: Option<&FileName>,
    ) -> Result<Self, ManifestError> {
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
        let resources = statement.into_resources();
        let files = match serialization.shard_size {
            None => whole_files(resources, single_file)?,
            Some(size) => sharded_files(&resources, serialization.hash, size, single_file)?,
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
        };
        manifest.check_tree()?;
        Ok(manifest)
    }

    /// The rules about names together. The files are sorted by name.
    fn check_tree(&self) -> Result<(), ManifestError> {
        // Every name that begins with another one follows it, with only such names between. So the
        // names that the current one begins with are a stack.
        let mut prefixes: Vec<&str> = Vec::new();
        for file in &self.files {
            let name = file.name.as_str();
            while prefixes
                .last()
                .is_some_and(|prefix| !name.starts_with(prefix))
            {
                prefixes.pop();
            }
            for prefix in &prefixes {
                match name.as_bytes().get(prefix.len()) {
                    None => {
                        return Err(ManifestError::Duplicate {
                            name: Escaped::bounded(name),
                        });
                    }
                    Some(b'/') => {
                        return Err(ManifestError::FileAndDirectory {
                            file: Escaped::bounded(prefix),
                            within: Escaped::bounded(name),
                        });
                    }
                    Some(_) => {}
                }
            }
            prefixes.push(name);
        }
        // Both listed and left out: verifiers would disagree about it.
        match self
            .files
            .iter()
            .find(|file| self.is_recorded_ignored(file.name.as_str()))
        {
            Some(file) => Err(ManifestError::ListedAndIgnored {
                name: Escaped::bounded(file.name.as_str()),
            }),
            None => Ok(()),
        }
    }

    /// The files, sorted by name in Unicode code point order; at least one.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// The file with this name.
    pub fn file(&self, name: &str) -> Option<&ManifestFile> {
        self.files
            .binary_search_by(|file| file.name.as_str().cmp(name))
            .ok()
            .map(|index| &self.files[index])
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

    /// Whether a file that is found in the model and is *not* part of the manifest is no reason to
    /// complain: the signer left it out, or every signer does. False for what is listed, and for
    /// what only lies in the same directory.
    pub fn is_ignored(&self, path: &FileName) -> bool {
        let by_default = || {
            path.components()
                .next()
                .is_some_and(|first| DEFAULT_IGNORE_PATHS.contains(&first))
        };
        (self.is_recorded_ignored(path.as_str()) || by_default())
            && self.file(path.as_str()).is_none()
    }

    /// Whether any file is listed beneath `directory`.
    pub fn lists_within(&self, directory: &FileName) -> bool {
        let prefix = format!("{}/", directory.as_str());
        let first = self
            .files
            .partition_point(|file| file.name.as_str() < prefix.as_str());
        self.files
            .get(first)
            .is_some_and(|file| file.name.as_str().starts_with(&prefix))
    }

    /// Whether a path is one of `ignore_paths` or beneath one.
    fn is_recorded_ignored(&self, path: &str) -> bool {
        if self.ignore_paths.is_empty() {
            return false;
        }
        let recorded = |path: &str| {
            self.ignore_paths
                .binary_search_by(|ignored| ignored.as_str().cmp(path))
                .is_ok()
        };
        recorded(path)
            || path
                .match_indices('/')
                .any(|(end, _)| recorded(&path[..end]))
    }

    /// The resources as they are listed in a bundle: sorted by name, in code point order (OMS v1.0,
    /// 5.2.1). With shards that is not the order of their ranges.
    fn resources(&self, compat: Compat) -> Vec<Resource<'_>> {
        let mut resources = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let name = match compat {
                Compat::Reference if self.is_single_file => ONLY_FILE,
                Compat::Reference | Compat::Specification => file.name.as_str(),
            };
            match &file.content {
                SignedContent::Whole(digest) => resources.push(Resource {
                    name: Text::Borrowed(name),
                    digest: *digest,
                }),
                SignedContent::Shards(shards) => {
                    let mut start = 0_u64;
                    for digest in shards.iter() {
                        let end = shards
                            .len()
                            .min(start.saturating_add(shards.shard_size().get()));
                        resources.push(Resource {
                            name: format!("{name}:{start}:{end}").into(),
                            digest,
                        });
                        start = end;
                    }
                }
            }
        }
        resources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        resources
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
            resources: self.resources(compat),
        };
        sign::sign(&draft, signing.into(), compat)
    }
}

/// The name of a listed file: its path, or `single_file` where that may be called [`ONLY_FILE`].
fn file_name(path: &str, single_file: Option<&FileName>) -> Result<FileName, NameError> {
    match single_file {
        Some(name) if path == ONLY_FILE => Ok(name.clone()),
        _ => FileName::new(path),
    }
}

fn whole_files(
    mut resources: Vec<Resource<'_>>,
    single_file: Option<&FileName>,
) -> Result<Vec<ManifestFile>, ManifestError> {
    if let (Some(own), [only]) = (single_file, &resources[..])
        && *only.name == *ONLY_FILE
    {
        return Ok(vec![ManifestFile {
            name: own.clone(),
            content: SignedContent::Whole(only.digest),
        }]);
    }
    resources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let names = FileName::all(resources.iter().map(|resource| &*resource.name))?
        .collect::<Vec<_>>()
        .into_iter();
    Ok(resources
        .into_iter()
        .zip(names)
        .map(|(resource, name)| ManifestFile {
            name,
            content: SignedContent::Whole(resource.digest),
        })
        .collect())
}

/// A resource that is a shard.
struct Shard<'a> {
    path: &'a str,
    start: u64,
    end: u64,
    digest: &'a Digest,
}

impl<'a> Shard<'a> {
    /// `<path>:<start>:<end>`. Paths may have colons, so the *last* two fields count; numbers have
    /// one spelling, without sign or leading zero, so that no range has two names.
    fn parse(resource: &'a Resource<'a>) -> Result<Self, ShardRule> {
        let number = |text: &str| {
            if is_decimal(text) {
                text.parse().map_err(|_| ShardRule::Number)
            } else {
                Err(ShardRule::Number)
            }
        };
        let (rest, end) = resource.name.rsplit_once(':').ok_or(ShardRule::Form)?;
        let (path, start) = rest.rsplit_once(':').ok_or(ShardRule::Form)?;
        Ok(Self {
            path,
            start: number(start)?,
            end: number(end)?,
            digest: &resource.digest,
        })
    }
}

fn sharded_files(
    resources: &[Resource<'_>],
    hash: Algorithm,
    size: NonZeroU64,
    single_file: Option<&FileName>,
) -> Result<Vec<ManifestFile>, ManifestError> {
    let mut shards = resources
        .iter()
        .map(|resource| {
            Shard::parse(resource).map_err(|rule| ManifestError::Shard {
                name: Escaped::bounded(&resource.name),
                rule,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    shards.sort_unstable_by(|a, b| (a.path, a.start, a.end).cmp(&(b.path, b.start, b.end)));
    let is_one_file = shards.iter().all(|shard| shard.path == ONLY_FILE);
    let single_file = single_file.filter(|_| is_one_file);
    shards
        .chunk_by(|a, b| a.path == b.path)
        .map(|shards| sharded_file(shards, hash, size, single_file))
        .collect()
}

/// The file that some shards make: all those of one path, sorted by range.
fn sharded_file(
    shards: &[Shard<'_>],
    hash: Algorithm,
    size: NonZeroU64,
    single_file: Option<&FileName>,
) -> Result<ManifestFile, ManifestError> {
    let mut len = 0;
    let mut digests = Vec::with_capacity(shards.len() * hash.len());
    for (index, shard) in shards.iter().enumerate() {
        let rule = if shard.start >= shard.end {
            Some(ShardRule::EmptyRange)
        } else if shard.start > len {
            Some(ShardRule::Gap { expected: len })
        } else if shard.start < len && index > 0 && shards[index - 1].start == shard.start {
            Some(if shards[index - 1].end == shard.end {
                ShardRule::Duplicate
            } else {
                ShardRule::Overlap { expected: len }
            })
        } else if shard.start < len {
            Some(ShardRule::Overlap { expected: len })
        } else {
            let bytes = shard.end - shard.start;
            let last = index + 1 == shards.len();
            (bytes > size.get() || (bytes < size.get() && !last))
                .then_some(ShardRule::Size { size })
        };
        if let Some(rule) = rule {
            return Err(ManifestError::Shard {
                name: Escaped::bounded(&format!("{}:{}:{}", shard.path, shard.start, shard.end)),
                rule,
            });
        }
        len = shard.end;
        digests.extend_from_slice(shard.digest.as_bytes());
    }
    let name = file_name(shards[0].path, single_file)?;
    let content = ShardDigests::new(hash, size, len, digests).ok_or_else(|| {
        // The ranges above are contiguous and of the right sizes, so this can't be.
        ManifestError::Misfit {
            name: Escaped::bounded(name.as_str()),
        }
    })?;
    Ok(ManifestFile {
        name,
        content: SignedContent::Shards(content),
    })
}

/// Why a signature file gives no verified manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyManifestError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// What was signed, as a statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// What was signed, as a list of files.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<BundleError> for VerifyManifestError {
    fn from(error: BundleError) -> Self {
        Self::Signature(error.into())
    }
}

/// A list of resources that isn't a model. Names are escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// No files.
    #[error("the model has no files to sign")]
    Empty,
    /// A model without a name.
    #[error("the model has an empty name")]
    NoSubjectName,
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name occurs twice.
    #[error("\"{name}\" is listed more than once")]
    Duplicate {
        /// The name.
        name: Escaped,
    },
    /// A file lies in a file.
    #[error("\"{file}\" is listed as a file and is a directory of \"{within}\"")]
    FileAndDirectory {
        /// The file.
        file: Escaped,
        /// The file beneath it.
        within: Escaped,
    },
    /// A name is also one of the ignored paths, or beneath one.
    #[error("\"{name}\" is listed and also among the ignored paths")]
    ListedAndIgnored {
        /// The name.
        name: Escaped,
    },
    /// A shard breaks a rule.
    #[error("shard \"{name}\": {rule}")]
    Shard {
        /// The resource.
        name: Escaped,
        /// The rule.
        rule: ShardRule,
    },
    /// A file's digests are of another hash or another cut than the manifest's.
    #[error("the digests of \"{name}\" do not fit the manifest's hash and serialization")]
    Misfit {
        /// The name.
        name: Escaped,
    },
}

/// The rules for shards (OMS v1.0, 6.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShardRule {
    /// Not `<path>:<start>:<end>`.
    #[error("its name is not of the form <path>:<start>:<end>")]
    Form,
    /// A start or end that isn't a number in its one spelling.
    #[error("its range is not written as two decimal numbers below 2^64 without leading zeros")]
    Number,
    /// No bytes.
    #[error("its range has no bytes")]
    EmptyRange,
    /// The same range twice.
    #[error("it is listed more than once")]
    Duplicate,
    /// Begins before the end of the one before it.
    #[error("its range overlaps the shard before it, which ends at {expected}")]
    Overlap {
        /// Where it must begin.
        expected: u64,
    },
    /// Begins after the end of the one before it.
    #[error("its range leaves a gap: it must begin at {expected}")]
    Gap {
        /// Where it must begin.
        expected: u64,
    },
    /// Another size than that of the statement.
    #[error("its range is not {size} bytes, and only the last shard of a file may be shorter")]
    Size {
        /// The shard size.
        size: NonZeroU64,
    },
}
