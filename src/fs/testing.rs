//! What tests of the file system share: one whose lengths are all proved.

use std::sync::Arc;

use super::{FileSystem, FsOptions};
use crate::digest::Algorithm;
use crate::name::FileName;
use crate::reading::testing::{Memory, sign};
use crate::reading::{Found, Reader, ReaderOptions, Scan, Source};

/// A file system of files in memory, signed in one way.
pub(crate) fn shown(
    files: &[(String, Vec<u8>)],
    algorithm: Algorithm,
    shard_size: Option<u64>,
) -> (Arc<Memory>, Arc<FileSystem>) {
    let source = Arc::new(Memory::default());
    for (name, bytes) in files {
        source.put(name, bytes);
    }
    let manifest = sign(&source, algorithm, shard_size, false);
    let mut scan = Scan::default();
    for (name, bytes) in files {
        let len = bytes.len() as u64;
        let name = FileName::new(name).unwrap();
        scan.entries.insert(name, Found::File { len });
    }
    let dynamic = Arc::clone(&source) as Arc<dyn Source>;
    let reader = Reader::new(manifest, dynamic, None, ReaderOptions::default());
    for (index, _) in reader.manifest().indexed() {
        reader.open(index).unwrap();
    }
    let options = FsOptions {
        workers: 2,
        lockdown: false,
        on_violation: None,
        signature: FileName::new("model.sig").ok(),
        earlier_processes: 0,
    };
    let fs = FileSystem::new(reader, &scan, options).unwrap();
    (source, Arc::new(fs))
}
