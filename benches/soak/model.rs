//! A model to read, and its signed bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model_fs::digest::Algorithm;
use model_fs::manifest::Serialization;
use model_fs::name::FileName;
use model_fs::reading::whole::hash::{HashPlan, hash_model};
use model_fs::reading::{Links, LocalDirectory};
use test_support::bench::mount::Host;
use test_support::storm::Golden;

/// A signed model.
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) files: Vec<Golden>,
}

impl Model {
    /// Files of these sizes in bytes, signed on `host` without chunk tables beside them.
    pub(crate) fn new(
        host: &Host,
        path: &Path,
        hash: Algorithm,
        sizes: &[usize],
    ) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let model = Self::there(path, sizes);
        let mut names = Vec::new();
        for Golden { name, bytes } in &model.files {
            fs::write(path.join(name), bytes)?;
            names.push(FileName::new(name).map_err(io::Error::other)?);
        }
        let source = LocalDirectory::open(path, Links::Refuse)?;
        let plan = HashPlan::plain(Serialization {
            hash,
            shard_size: None,
        });
        let hashed =
            hash_model(&source, &names, plan, &|_| Ok(()), &()).map_err(io::Error::other)?;
        host.sign(path, hashed.files)?;
        Ok(model)
    }

    /// The same, where it was made before.
    pub(crate) fn there(path: &Path, sizes: &[usize]) -> Self {
        let file = |(index, &size): (usize, &usize)| {
            let name = format!("weights-{index}.bin");
            let mut bytes = vec![0; size];
            blake3::Hasher::new()
                .update(name.as_bytes())
                .finalize_xof()
                .fill(&mut bytes);
            Golden { name, bytes }
        };
        Self {
            path: path.to_owned(),
            files: sizes.iter().enumerate().map(file).collect(),
        }
    }

    /// All files as they are read beneath `place`. An error names the first that differs.
    pub(crate) fn must_be_at(&self, place: &Path) -> io::Result<()> {
        for file in &self.files {
            if fs::read(place.join(&file.name))? != file.bytes {
                return Err(io::Error::other(format!("{}: wrong bytes", file.name)));
            }
        }
        Ok(())
    }
}

/// Numbers that look random (xorshift64, Marsaglia 2003) and differ with the seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * seed + 1))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
