//! Models of any size, made without hashing all of it.
//!
//! Guarantees: what is signed is what is in the files. Sparse files are all zeros, and the chaining
//! value of a chunk depends on its bytes and its place alone: so files of one model share all
//! values but the last, and each place is hashed once. Models are kept for the next run.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use model_fs::chunk::SubtreeSize;
use model_fs::digest::{Algorithm, Digest};
use model_fs::manifest::{ManifestFile, ShardDigests, SignedContent};
use model_fs::name::FileName;
use model_fs::reading::table::{shipped, subtree};
use test_support::bench::mount::Host;

/// Bytes in a shard of a model that is signed in shards.
const SHARD: u64 = 1 << 20;

/// Files in a directory of a model of many.
const PER_DIRECTORY: u64 = 1000;

/// Where models are made.
pub(crate) struct Workshop {
    folder: PathBuf,
    pub(crate) host: Host,
    /// Chaining values of chunks of zeros, from the beginning of a file on.
    zeros: Vec<u8>,
}

/// A model, and a file of it to look at.
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) files: Vec<String>,
    pub(crate) file_len: u64,
}

impl Workshop {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            host: Host::new(folder)?,
            zeros: Vec::new(),
        })
    }

    /// Makes a model, unless it is there.
    fn make(
        &mut self,
        name: &str,
        make: impl FnOnce(&mut Self, &Path) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        let mark = self.folder.join(format!("{name}.made"));
        if !mark.exists() {
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::create_dir(&path)?;
            make(self, &path)?;
            File::create(mark)?;
        }
        Ok(path)
    }

    /// `count` sparse files with `len` bytes each (and a few more, so that no two are alike),
    /// signed with BLAKE3, their tables shipped with them.
    pub(crate) fn sparse(&mut self, count: u64, len: u64) -> io::Result<Model> {
        let name_of = |index: u64| format!("weights-{index:05}.bin");
        let chunk = SubtreeSize::DEFAULT.log2();
        let path = self.make(&format!("sparse-{count}-{len}-{chunk}"), |this, path| {
            let mut files = Vec::new();
            for index in 0..count {
                let len = len + index;
                let name = name_of(index);
                File::create(path.join(&name))?.set_len(len)?;
                let (root, values) = this.zeros(len);
                let content = whole(Algorithm::Blake3, &root)?;
                ship(path, &content, len, &root, &values)?;
                files.push(ManifestFile {
                    name: FileName::new(&name).map_err(io::Error::other)?,
                    content,
                });
            }
            this.host.sign(path, files)
        })?;
        Ok(Model {
            path,
            files: (0..count).map(name_of).collect(),
            file_len: len,
        })
    }

    /// The table of a file of `len` zeros: more than a chunk.
    fn zeros(&mut self, len: u64) -> ([u8; 32], Vec<u8>) {
        let chunk = SubtreeSize::DEFAULT.bytes();
        let whole_chunks = (len - 1) / chunk;
        let known = (self.zeros.len() / subtree::VALUE_LEN) as u64;
        if known < whole_chunks {
            let more = zero_values(chunk, known, whole_chunks);
            self.zeros.extend_from_slice(&more);
        }
        let start = whole_chunks * chunk;
        let last = usize::try_from(len - start).expect("less than a chunk");
        let values = usize::try_from(whole_chunks).expect("fits in memory") * subtree::VALUE_LEN;
        let mut values = self.zeros[..values].to_vec();
        values.extend_from_slice(&subtree::chaining_value(start, &vec![0; last]));
        let root = subtree::merge(&values).expect("more than one chunk");
        (root, values)
    }

    /// `count` files of one byte, signed with SHA-256.
    pub(crate) fn files(&mut self, count: u64) -> io::Result<Model> {
        let name_of =
            |index: u64| format!("layers/{:04}/tensor-{index:07}.bin", index / PER_DIRECTORY);
        let path = self.make(&format!("files-{count}"), |this, path| {
            let content = SignedContent::Whole(Algorithm::Sha256.hash(&[0]).into());
            let mut files = Vec::new();
            for index in 0..count {
                let name = name_of(index);
                let file = path.join(&name);
                if index % PER_DIRECTORY == 0 {
                    fs::create_dir_all(file.parent().expect("in a folder"))?;
                }
                File::create(file)?.set_len(1)?;
                files.push(ManifestFile {
                    name: FileName::new(&name).map_err(io::Error::other)?,
                    content: content.clone(),
                });
            }
            this.host.sign(path, files)
        })?;
        Ok(Model {
            path,
            files: vec![name_of(0), name_of(count - 1)],
            file_len: 1,
        })
    }

    /// One sparse file of `count` shards, signed with SHA-256.
    pub(crate) fn shards(&mut self, count: u64) -> io::Result<Model> {
        let name = "weights.bin";
        let len = count * SHARD;
        let path = self.make(&format!("shards-{count}"), |this, path| {
            File::create(path.join(name))?.set_len(len)?;
            let size = NonZeroU64::new(SHARD).expect("not zero");
            let zeros = vec![0; usize::try_from(SHARD).expect("fits in memory")];
            let digest = Algorithm::Sha256.hash(&zeros);
            let count = usize::try_from(count).expect("fits in memory");
            let digests = digest.as_bytes().repeat(count);
            let shards = ShardDigests::new(Algorithm::Sha256, size, len, digests)
                .ok_or(io::Error::other("digests that don't fit"))?;
            let files = vec![ManifestFile {
                name: FileName::new(name).map_err(io::Error::other)?,
                content: SignedContent::Shards(shards),
            }];
            this.host.sign(path, files)
        })?;
        Ok(Model {
            path,
            files: vec![name.to_owned()],
            file_len: len,
        })
    }

    /// A file of noise, signed with BLAKE3, its table shipped with it.
    pub(crate) fn noise(&mut self, len: u64) -> io::Result<Model> {
        let name = "weights.bin";
        let path = self.make(&format!("noise-{len}"), |this, path| {
            let file = File::create(path.join(name))?;
            let bytes = noise(usize::try_from(len).map_err(io::Error::other)?);
            (&file).write_all(&bytes)?;
            file.sync_all()?;
            let mut values = Vec::new();
            subtree::chaining_values(SubtreeSize::DEFAULT, 0, &bytes, &mut values);
            let root = subtree::merge(&values).ok_or(io::Error::other("a single chunk"))?;
            let content = whole(Algorithm::Blake3, &root)?;
            ship(path, &content, len, &root, &values)?;
            let files = vec![ManifestFile {
                name: FileName::new(name).map_err(io::Error::other)?,
                content,
            }];
            this.host.sign(path, files)
        })?;
        Ok(Model {
            path,
            files: vec![name.to_owned()],
            file_len: len,
        })
    }
}

/// Writes a chunk table beside the model, as docs/format.md has it. A table is proved against the
/// signature when it is used, so anyone may write one.
fn ship(
    model: &Path,
    content: &SignedContent,
    len: u64,
    root: &[u8; 32],
    values: &[u8],
) -> io::Result<()> {
    let mut table = b"MFSTABLE".to_vec();
    table.extend_from_slice(&1_u32.to_le_bytes());
    table.extend_from_slice(&[SubtreeSize::DEFAULT.log2(), 0, 0, 0]);
    table.extend_from_slice(&len.to_le_bytes());
    table.extend_from_slice(&content.identity());
    table.extend_from_slice(root);
    table.resize(128, 0);
    table.extend_from_slice(values);
    let folder = model.join(shipped::DIRECTORY);
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join(format!("{}.table", hex::encode(content.identity()))),
        table,
    )
}

fn whole(algorithm: Algorithm, digest: &[u8]) -> io::Result<SignedContent> {
    let digest = Digest::new(algorithm, digest).map_err(io::Error::other)?;
    Ok(SignedContent::Whole(digest.into()))
}

/// The chaining values of some chunks of zeros, on all cores.
fn zero_values(chunk: u64, from: u64, to: u64) -> Vec<u8> {
    /// Chunks that are hashed before the next are asked for.
    const AT_ONCE: usize = 256;
    let zeros = vec![0; usize::try_from(chunk).expect("fits in memory")];
    let count = usize::try_from(to - from).expect("fits in memory");
    let mut values = vec![0; count * subtree::VALUE_LEN];
    let parts = values.chunks_mut(AT_ONCE * subtree::VALUE_LEN);
    let zeros = &zeros;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut shares: Vec<Vec<(usize, &mut [u8])>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, part) in parts.enumerate() {
        shares[index % threads].push((index, part));
    }
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(move || {
                for (index, part) in share {
                    let first = from + (index * AT_ONCE) as u64;
                    for (at, value) in part.chunks_mut(subtree::VALUE_LEN).enumerate() {
                        let offset = (first + at as u64) * chunk;
                        value.copy_from_slice(&subtree::chaining_value(offset, zeros));
                    }
                }
            });
        }
    });
    values
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
