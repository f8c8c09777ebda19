//! What single steps of the read path cost.
//!
//! ```sh
//! cargo bench --bench micro
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use model_fs::chunk::SubtreeSize;
use model_fs::digest::Algorithm;
use model_fs::manifest::{
    Description, FileIndex, Manifest, ManifestFile, ModelShape, Serialization, SignedContent,
    VerifiedManifest,
};
use model_fs::name::FileName;
use model_fs::oms::sign::Compat;
use model_fs::oms::trust::Trust;
use model_fs::reading::table::subtree;
use model_fs::reading::whole::hash::{HashPlan, hash_model};
use model_fs::reading::{
    Caching, OpenFile, Reader, ReaderOptions, Retain, Source, SourceError, SourceFile,
};
use test_support::keys;

fn main() {
    divan::main();
}

const MIB: usize = 1 << 20;

fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

/// One chunk of a table, by chunk size.
#[divan::bench(args = [64 << 10, 256 << 10, 1 << 20])]
fn chunk_blake3(bencher: Bencher<'_, '_>, len: usize) {
    let bytes = noise(len);
    bencher
        .counter(BytesCount::new(len))
        .bench(|| subtree::chaining_value(0, black_box(&bytes)));
}

/// One shard that is a chunk as it is.
#[divan::bench]
fn chunk_sha256(bencher: Bencher<'_, '_>) {
    let bytes = noise(MIB);
    bencher
        .counter(BytesCount::new(MIB))
        .bench(|| Algorithm::Sha256.hash(black_box(&bytes)));
}

/// Authenticating the table of 700 GB.
#[divan::bench(sample_count = 5)]
fn merge_2_670_000_values(bencher: Bencher<'_, '_>) {
    let values = noise(2_670_000 * subtree::VALUE_LEN);
    bencher.bench(|| subtree::merge(black_box(&values)));
}

/// Verifying and parsing a signature over a million files.
#[divan::bench(sample_count = 3)]
fn manifest_1_000_000_resources(bencher: Bencher<'_, '_>) {
    let digest = Algorithm::Sha256.hash(b"a file");
    let files = (0..1_000_000)
        .map(|index| ManifestFile {
            name: FileName::new(&format!("{:03}/{index}", index / 1000)).expect("a plain name"),
            content: SignedContent::Whole(digest.into()),
        })
        .collect();
    let (bundle, trust) = sign(files);
    bencher
        .with_inputs(|| bundle.clone())
        .bench_values(|bundle| {
            VerifiedManifest::verify(bundle, &trust, &ModelShape::Directory)
                .expect("what was signed")
        });
}

/// A random 4 KiB from a chunk that is in the cache.
#[divan::bench]
fn cache_hit(bencher: Bencher<'_, '_>) {
    let file = open(Retain::All, 64 * MIB);
    let mut offset = 0;
    bencher.bench_local(|| {
        offset = (offset + 4096 * 31) % (16 * MIB as u64);
        file.read(offset, 4096)
    });
}

/// A random 4 KiB whose chunk is read, verified and put into a cache that is full.
#[divan::bench]
fn cache_miss(bencher: Bencher<'_, '_>) {
    let file = open(Retain::All, MIB);
    let mut offset = 0;
    bencher.bench_local(|| {
        offset = (offset + (256 << 10)) % (16 * MIB as u64);
        file.read(offset, 4096)
    });
}

/// A kernel's request of 1 MiB, verified on the thread that took it in.
#[divan::bench]
fn read_1_mib(bencher: Bencher<'_, '_>) {
    let file = open(Retain::Partial, 64 * MIB);
    let mut offset = 0;
    bencher.counter(BytesCount::new(MIB)).bench_local(|| {
        offset = (offset + MIB as u64) % (16 * MIB as u64);
        file.read_now(offset, MIB)
    });
}

/// Files in memory.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, Arc<MemoryFile>>>);

struct MemoryFile(Vec<u8>);

impl Source for Memory {
    fn open(&self, name: &FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
        let files = self.0.lock().expect("no panic");
        let file = files.get(name.as_str()).ok_or(SourceError::Missing)?;
        Ok(Arc::clone(file) as Arc<dyn SourceFile>)
    }
}

impl SourceFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, _: Caching) -> io::Result<usize> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let read = buffer.len().min(self.0.len() - start);
        buffer[..read].copy_from_slice(&self.0[start..start + read]);
        Ok(read)
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let len = buffer.len();
        self.read_at(buffer, offset, Caching::Drop)
            .is_ok_and(|read| read == len)
    }
}

/// A signature over `files`, and who to trust for it.
fn sign(files: Vec<ManifestFile>) -> (Vec<u8>, Trust) {
    let description = Description {
        subject_name: "bench".to_owned(),
        shape: ModelShape::Directory,
        serialization: files[0].content.serialization(),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
    };
    let manifest = Manifest::new(description, files).expect("a manifest");
    let key = keys::private("p256-sec1.pem");
    let bundle = manifest
        .sign(&key, Compat::Specification)
        .expect("a signature");
    (bundle, Trust::Key(key.public_key().clone()))
}

/// A file of 16 MiB, signed with BLAKE3, open.
fn open(retain: Retain, cache_bytes: usize) -> Arc<OpenFile> {
    let name = FileName::new("weights.bin").expect("a plain name");
    let source = Arc::new(Memory::default());
    let file = Arc::new(MemoryFile(noise(16 * MIB)));
    source
        .0
        .lock()
        .expect("no panic")
        .insert(name.to_string(), file);
    let plan = HashPlan::plain(Serialization::files(Algorithm::Blake3));
    let hashed = hash_model(&*source, &[name], plan, &|_| Ok(()), &()).expect("hashed");
    let (bundle, trust) = sign(hashed.files);
    let manifest = Arc::new(
        VerifiedManifest::verify(bundle, &trust, &ModelShape::Directory).expect("what was signed"),
    );
    let options = ReaderOptions {
        cache_bytes,
        retain,
        ..ReaderOptions::default()
    };
    let reader = Reader::new(manifest, source, None, options);
    reader.open(FileIndex::new(0)).expect("opened")
}

const _: () = assert!(SubtreeSize::DEFAULT.bytes() == 64 << 10);
