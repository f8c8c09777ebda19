//! What tests of verified reading share: a source in memory, and a signer.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::chunk::buffer::BufferPool;
use super::chunk::verify_length;
use super::table::{Candidate, shipped};
use super::whole::hash::{HashPlan, hash_model};
use super::{Caching, ChunkTable, Source, SourceError, SourceFile, VerifiedBytes};
use crate::digest::Algorithm;
use crate::manifest::{
    Description, Manifest, ManifestFile, ModelShape, Serialization, SignedContent, VerifiedManifest,
};
use crate::name::FileName;
use crate::oms::key::PrivateKey;
use crate::oms::sign::Compat;
use crate::oms::trust::Trust;

/// Files in memory that tests change under the reader.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) files: Mutex<HashMap<String, Arc<MemoryFile>>>,
    reads: Arc<AtomicU64>,
}

pub(crate) struct MemoryFile {
    pub(crate) bytes: Mutex<Vec<u8>>,
    reads: Arc<AtomicU64>,
    pub(crate) failing: AtomicBool,
    /// Whether each read has to be waited for.
    pub(crate) slow: AtomicBool,
}

impl Memory {
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let file = MemoryFile {
            bytes: Mutex::new(bytes.to_vec()),
            reads: Arc::clone(&self.reads),
            failing: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        };
        self.files
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(file));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.files.lock().unwrap().remove(name);
    }

    pub(crate) fn file(&self, name: &str) -> Arc<MemoryFile> {
        Arc::clone(&self.files.lock().unwrap()[name])
    }

    /// Changes a file in place.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.file(name).bytes.lock().unwrap());
    }

    /// Bytes read from any file since the last call.
    pub(crate) fn take_reads(&self) -> u64 {
        self.reads.swap(0, Ordering::SeqCst)
    }
}

impl Source for Memory {
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
        match self.files.lock().unwrap().get(name.as_str()) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn SourceFile>),
            None => Err(SourceError::Missing),
        }
    }
}

impl SourceFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, _: Caching) -> io::Result<usize> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("as if the disk were broken"));
        }
        let bytes = self.bytes.lock().unwrap();
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let read = (bytes.len() - start).min(buffer.len());
        buffer[..read].copy_from_slice(&bytes[start..start + read]);
        self.reads.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let len = buffer.len();
        !self.slow.load(Ordering::SeqCst)
            && self
                .read_at(buffer, offset, Caching::Drop)
                .is_ok_and(|read| read == len)
    }
}

/// Bytes that differ with `seed` and are the same in every run.
pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Bytes that were verified: at most 1 MiB.
pub(crate) fn verified(pool: &Arc<BufferPool>, bytes: &[u8]) -> VerifiedBytes {
    let content = SignedContent::Whole(Algorithm::Sha256.hash(bytes).into());
    let candidate = Candidate::whole(&content, bytes.len() as u64).unwrap();
    let mut buffer = pool.take(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    verify_length(candidate, buffer).unwrap().1
}

/// Signs everything in `source`. Tables are shipped with it if asked for.
pub(crate) fn sign(
    source: &Memory,
    algorithm: Algorithm,
    shard_size: Option<u64>,
    ship: bool,
) -> Arc<VerifiedManifest> {
    let shard_size = shard_size.and_then(NonZeroU64::new);
    let serialization = Serialization {
        hash: algorithm,
        shard_size,
    };
    sign_as(source, HashPlan::plain(serialization), ship)
}

/// The same in any way.
pub(crate) fn sign_as(source: &Memory, plan: HashPlan, ship: bool) -> Arc<VerifiedManifest> {
    let mut names: Vec<FileName> = source
        .files
        .lock()
        .unwrap()
        .keys()
        .map(|name| FileName::new(name).unwrap())
        .collect();
    names.sort();
    let tables = Mutex::new(Vec::new());
    let keep = |table: &ChunkTable| {
        tables.lock().unwrap().push(table.clone());
        Ok(())
    };
    let hashed = hash_model(source, &names, plan, &keep, &()).unwrap();
    let serialization = plan.serialization;
    if ship {
        let dir = tempfile::tempdir().unwrap();
        for table in tables.into_inner().unwrap() {
            let root = crate::files::Directory::open(dir.path()).unwrap();
            shipped::save(&root, &table).unwrap();
        }
        if let Ok(entries) = std::fs::read_dir(dir.path().join(shipped::DIRECTORY)) {
            for entry in entries {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let bytes = std::fs::read(entry.path()).unwrap();
                source.put(&format!("{}/{name}", shipped::DIRECTORY), &bytes);
            }
        }
    }
    sign_files(serialization, hashed.files)
}

/// Signs whatever is said about files.
pub(crate) fn sign_files(
    serialization: Serialization,
    files: Vec<ManifestFile>,
) -> Arc<VerifiedManifest> {
    let description = Description {
        subject_name: "test".to_owned(),
        shape: ModelShape::Directory,
        serialization,
        allow_symlinks: false,
        ignore_paths: vec![FileName::new(shipped::DIRECTORY).unwrap()],
    };
    let manifest = Manifest::new(description, files).unwrap();
    let pem = include_bytes!("../../tests/data/keys/p256-pkcs8.pem");
    let key = PrivateKey::from_pem(pem, None).unwrap();
    let bundle = manifest.sign(&key, Compat::Specification).unwrap();
    let trust = Trust::Key(key.public_key().clone());
    Arc::new(VerifiedManifest::verify(bundle, &trust, &ModelShape::Directory).unwrap())
}
