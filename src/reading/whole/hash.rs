//! Hashing a model that is to be signed.
//!
//! Guarantees: digests and chunk tables come from one read of each file. Doesn't: sign; see
//! [`Manifest::sign`](crate::manifest::Manifest::sign).

use std::io;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use crate::digest::Digest;
use crate::manifest::{ManifestFile, Serialization, ShardDigests, SignedContent};
use crate::name::FileName;
use crate::reading::source::{Source, SourceError};
use crate::reading::table::full_pass::{self, Hashed, Observer};
use crate::reading::table::{ChunkTable, proof};

/// A model, hashed.
#[derive(Debug)]
pub struct HashedModel {
    /// What can be signed, in the order in which the names were given.
    pub files: Vec<ManifestFile>,
    /// Empty files, which shards can't sign (OMS v1.0, "Shard serialization").
    pub unsignable: Vec<FileName>,
}

/// A file that can't be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The source doesn't give it.
    #[error("\"{file}\": {error}")]
    Source {
        /// The file.
        file: FileName,
        /// Why.
        error: SourceError,
    },
    /// Its chunk table can't be kept.
    #[error("\"{file}\": its chunk table can't be written: {error}")]
    Table {
        /// The file.
        file: FileName,
        /// Why.
        error: io::Error,
    },
}

/// Hashes files, side by side and each on all cores. `keep` is given the chunk table of each file
/// as soon as it is there, from several threads.
///
/// # Errors
/// The first file that fails.
pub fn hash_model(
    source: &dyn Source,
    names: &[FileName],
    serialization: Serialization,
    keep: &(dyn Fn(&ChunkTable) -> io::Result<()> + Sync),
    observer: &dyn Observer,
) -> Result<HashedModel, HashError> {
    let hashed = names
        .into_par_iter()
        .with_max_len(1)
        .map(|name| hash_file(source, name, serialization, keep, observer))
        .collect::<Result<Vec<_>, _>>()?;
    let mut model = HashedModel {
        files: Vec::with_capacity(names.len()),
        unsignable: Vec::new(),
    };
    for (name, content) in names.iter().zip(hashed) {
        match content {
            Some(content) => model.files.push(ManifestFile {
                name: name.clone(),
                content,
            }),
            None => model.unsignable.push(name.clone()),
        }
    }
    Ok(model)
}

fn hash_file(
    source: &dyn Source,
    name: &FileName,
    serialization: Serialization,
    keep: &(dyn Fn(&ChunkTable) -> io::Result<()> + Sync),
    observer: &dyn Observer,
) -> Result<Option<SignedContent>, HashError> {
    let failed = |error| HashError::Source {
        file: name.clone(),
        error,
    };
    let file = source.open(name).map_err(failed)?;
    let pass = proof::plan(serialization);
    let hashed = full_pass::hash_file(&*file, &pass, observer)
        .map_err(|error| failed(SourceError::Io(Arc::new(error))))?;
    let Some(content) = signed_content(&hashed) else {
        return Ok(None);
    };
    if let Ok(table) = ChunkTable::of_pass(&content, hashed) {
        keep(&table).map_err(|error| HashError::Table {
            file: name.clone(),
            error,
        })?;
    }
    Ok(Some(content))
}

/// `None` for what shards can't express.
fn signed_content(hashed: &Hashed) -> Option<SignedContent> {
    let Serialization { hash, shard_size } = hashed.serialization();
    match shard_size {
        None => hashed
            .digests()
            .first()
            .map(|&digest| SignedContent::Whole(digest)),
        Some(size) => {
            let raw: Vec<u8> = hashed
                .digests()
                .iter()
                .flat_map(Digest::as_bytes)
                .copied()
                .collect();
            ShardDigests::new(hash, size, hashed.len(), raw).map(SignedContent::Shards)
        }
    }
}
