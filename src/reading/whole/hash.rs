//! Hashing a model that is to be signed.
//!
//! Guarantees: digests and chunk tables come from one read of each file. Doesn't: sign; see
//! [`Manifest::sign`](crate::manifest::Manifest::sign).

use std::io;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use crate::digest::{Algorithm, Digest};
use crate::manifest::{
    Annotations, ManifestFile, Serialization, ShardDigests, SignedContent, WholeDigest,
};
use crate::name::FileName;
use crate::reading::source::{Source, SourceError};
use crate::reading::table::full_pass::{self, Hashed, Observer, Plan};
use crate::reading::table::{ChunkTable, MAX_WHOLE, proof};

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

/// What to say about files beside their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotate {
    /// Nothing.
    Nothing,
    /// Sizes, and BLAKE3 digests beside those of another hash: a file can then be read lazily on
    /// any host. Nothing of shards, whose ranges are in their names.
    Files,
}

/// How to hash a model that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct HashPlan {
    /// By which hash, and in which pieces.
    pub serialization: Serialization,
    /// What to say besides.
    pub annotate: Annotate,
}

impl HashPlan {
    /// Digests and nothing besides.
    pub const fn plain(serialization: Serialization) -> Self {
        Self {
            serialization,
            annotate: Annotate::Nothing,
        }
    }

    /// Digests, and what lets a whole file be read lazily on any host.
    pub const fn annotated(serialization: Serialization) -> Self {
        Self {
            serialization,
            annotate: Annotate::Files,
        }
    }
}

/// In larger models, files that are verified in one piece anyway get no BLAKE3 digest: the
/// signature has to stay below what a verifier reads
/// ([`MAX_BUNDLE`](crate::oms::bundle::MAX_BUNDLE)).
pub const MANY_FILES: usize = 250_000;

/// Hashes files, side by side and each on all cores. `keep` is given the chunk table of each file
/// as soon as it is there, from several threads.
///
/// # Errors
/// The first file that fails.
pub fn hash_model(
    source: &dyn Source,
    names: &[FileName],
    plan: HashPlan,
    keep: &(dyn Fn(&ChunkTable) -> io::Result<()> + Sync),
    observer: &dyn Observer,
) -> Result<HashedModel, HashError> {
    let hashed = names
        .into_par_iter()
        .with_max_len(1)
        .map(|name| hash_file(source, name, plan, names.len() > MANY_FILES, keep, observer))
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
    plan: HashPlan,
    are_many: bool,
    keep: &(dyn Fn(&ChunkTable) -> io::Result<()> + Sync),
    observer: &dyn Observer,
) -> Result<Option<SignedContent>, HashError> {
    let failed = |error| HashError::Source {
        file: name.clone(),
        error,
    };
    let file = source.open(name).map_err(failed)?;
    let HashPlan {
        serialization,
        annotate,
    } = plan;
    let unreadable = |error| failed(SourceError::Io(Arc::new(error)));
    let annotates = annotate == Annotate::Files && serialization.shard_size.is_none();
    let is_small = || Ok(file.len()? <= MAX_WHOLE);
    let pass = Plan {
        blake3: annotates
            && serialization.hash != Algorithm::Blake3
            && !(are_many && is_small().map_err(unreadable)?),
        ..proof::plan(serialization)
    };
    let mut hashed = full_pass::hash_file(&*file, &pass, observer).map_err(unreadable)?;
    let Some(content) = signed_content(&hashed, annotates) else {
        return Ok(None);
    };
    if let Some(table) = ChunkTable::of_pass(&content, &mut hashed) {
        keep(&table).map_err(|error| HashError::Table {
            file: name.clone(),
            error,
        })?;
    }
    Ok(Some(content))
}

/// `None` for what shards can't express.
fn signed_content(hashed: &Hashed, annotates: bool) -> Option<SignedContent> {
    let Serialization { hash, shard_size } = hashed.serialization();
    match shard_size {
        None => {
            let digest = *hashed.digests().first()?;
            let annotations = if annotates {
                Annotations {
                    size: Some(hashed.len()),
                    blake3: hashed.blake3().copied(),
                }
            } else {
                Annotations::default()
            };
            Some(SignedContent::Whole(WholeDigest::new(digest, annotations)))
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::testing::Memory;

    fn annotations(file: &ManifestFile) -> Annotations {
        match &file.content {
            SignedContent::Whole(whole) => whole.annotations(),
            SignedContent::Shards(_) => Annotations::default(),
        }
    }

    fn hashed(source: &Memory, names: &[FileName], plan: HashPlan) -> Vec<ManifestFile> {
        let keep = |_: &ChunkTable| Ok(());
        hash_model(source, names, plan, &keep, &()).unwrap().files
    }

    fn name(name: &str) -> FileName {
        FileName::new(name).unwrap()
    }

    #[test]
    fn each_hash_is_annotated_with_what_it_does_not_say_itself() {
        let source = Memory::default();
        source.put("file", b"weights");
        let names = [name("file")];
        let blake3 = Some(*blake3::hash(b"weights").as_bytes());
        for (hash, blake3) in [
            (Algorithm::Sha256, blake3),
            (Algorithm::Blake2b, blake3),
            (Algorithm::Blake3, None),
        ] {
            let serialization = Serialization::files(hash);
            let [file] = &hashed(&source, &names, HashPlan::annotated(serialization))[..] else {
                panic!("one file");
            };
            let size = Some(7);
            assert_eq!(annotations(file), Annotations { size, blake3 }, "{hash}");
            let plain = hashed(&source, &names, HashPlan::plain(serialization));
            assert_eq!(annotations(&plain[0]), Annotations::default());
        }
    }

    #[test]
    fn of_very_many_files_only_large_ones_have_a_second_digest() {
        let source = Memory::default();
        let large = vec![1; usize::try_from(MAX_WHOLE).unwrap() + 1];
        source.put("large", &large);
        source.put("small", &large[1..]);
        let plan = HashPlan::annotated(Serialization::files(Algorithm::Sha256));
        let mut names = vec![name("small"); MANY_FILES];
        let few = hashed(&source, &names[..2], plan);
        assert!(few.iter().all(|file| annotations(file).blake3.is_some()));
        // The same few bytes, many times.
        source.put("small", b"x");
        names.push(name("large"));
        let many = hashed(&source, &names, plan);
        assert!(many.iter().all(|file| annotations(file).size.is_some()));
        let of_large = many.iter().map(|file| annotations(file).blake3.is_some());
        assert_eq!(of_large.filter(|has| *has).count(), 1);
    }
}
