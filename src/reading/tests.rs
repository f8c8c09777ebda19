//! The verified read path as a whole, against sources that lie, change and fail.

mod push;

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::table::shipped;
use super::testing::{Memory, random, sign, sign_as, sign_files};
use super::whole::hash::{Annotate, HashPlan};
use super::whole::verify;
use super::*;
use crate::digest::Algorithm;
use crate::manifest::{
    Annotations, FileIndex, ManifestFile, Serialization, SignedContent, VerifiedManifest,
    WholeDigest,
};
use crate::name::FileName;

fn reader(
    manifest: &Arc<VerifiedManifest>,
    source: &Arc<Memory>,
    store: Option<&Path>,
) -> Arc<Reader> {
    let store = store.map(|path| Arc::new(TableStore::open(path).unwrap()));
    let options = ReaderOptions::default();
    let source = Arc::clone(source) as Arc<dyn Source>;
    Reader::new(Arc::clone(manifest), source, store, options)
}

/// The one model file of these tests.
const NAME: &str = "model.bin";
const MIB: usize = 1 << 20;

fn model(bytes: &[u8]) -> Arc<Memory> {
    let source = Memory::default();
    source.put(NAME, bytes);
    Arc::new(source)
}

fn read_all(file: &OpenFile) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    loop {
        let bytes = file.read(all.len() as u64, 100_000)?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(bytes.as_slice());
    }
}

/// Every way of signing, with a shard size on each side of what is read directly.
fn methods() -> impl Iterator<Item = (Algorithm, Option<u64>)> {
    Algorithm::ALL.into_iter().flat_map(|algorithm| {
        [None, Some(100_000), Some(table::MAX_DIRECT_SHARD + 1)]
            .into_iter()
            .map(move |shard_size| (algorithm, shard_size))
    })
}

#[test]
fn gives_the_signed_bytes_however_they_were_signed() {
    for (algorithm, shard_size) in methods() {
        for len in [1, 4096, 64 * 1024, 64 * 1024 + 1, MIB, MIB + 1, 5 * MIB + 7] {
            let bytes = random(len, 1);
            let source = model(&bytes);
            let manifest = sign(&source, algorithm, shard_size, false);
            let file = reader(&manifest, &source, None)
                .open(FileIndex::new(0))
                .unwrap();
            assert_eq!(file.len(), len as u64);
            assert!(
                read_all(&file).unwrap() == bytes,
                "{algorithm} {shard_size:?} {len}"
            );
        }
    }
}

/// Signed sizes and BLAKE3 digests: what is opened is proved by the signature, or by a table.
#[test]
fn an_annotated_file_is_lazy_where_its_table_is_and_hashed_once_where_it_is_not() {
    for algorithm in Algorithm::ALL {
        let plan = HashPlan::annotated(Serialization::files(algorithm));
        for len in [0, 1, 64 * 1024, 64 * 1024 + 1, MIB, MIB + 1, 5 * MIB + 7] {
            for ship in [false, true] {
                let bytes = random(len, 1);
                let source = model(&bytes);
                let manifest = sign_as(&source, plan, ship);
                let reader = reader(&manifest, &source, None);
                source.take_reads();
                assert_eq!(
                    reader.proved_len(FileIndex::new(0)).unwrap().bytes(),
                    len as u64
                );
                assert_eq!(source.take_reads(), 0);
                let file = reader.open(FileIndex::new(0)).unwrap();
                assert!(
                    read_all(&file).unwrap() == bytes,
                    "{algorithm} {len} {ship}"
                );
                let needs_table = len > 64 * 1024;
                assert_eq!(
                    reader.stats().full_passes,
                    u64::from(needs_table && !ship),
                    "{algorithm} {len} {ship}"
                );
            }
        }
    }
}

/// Another signer of the same content signs another length, and ships a table that merges: inner
/// nodes take the place of chunks. Whoever reads that model first, the host learns nothing of it
/// for the signature that says no length.
#[test]
fn a_length_that_one_signer_claims_is_not_proved_for_another() {
    const CHUNK: usize = 65_536;
    let bytes = random(3 * CHUNK + 3_000, 30);
    let honest = model(&bytes);
    let plain = Serialization::files(Algorithm::Blake3);
    let honest_manifest = sign_as(&honest, HashPlan::plain(plain), false);
    let digest = Algorithm::Blake3.hash(&bytes);
    let claimed = 2 * CHUNK + 5_000;
    let signed_by_another = |size: u64| {
        let annotations = Annotations {
            size: Some(size),
            blake3: None,
        };
        let file = ManifestFile {
            name: FileName::new(NAME).unwrap(),
            content: SignedContent::Whole(WholeDigest::new(digest, annotations)),
        };
        sign_files(plain, vec![file])
    };
    let other = signed_by_another(claimed as u64);

    let value = |chunk: usize| {
        let start = chunk * CHUNK;
        let end = bytes.len().min(start + CHUNK);
        table::subtree::chaining_value(start as u64, &bytes[start..end])
    };
    let mode = blake3::hazmat::Mode::Hash;
    let last = blake3::hazmat::merge_subtrees_non_root(&value(2), &value(3), mode);
    let identity = other.files()[0].content.identity();
    let mut forged = b"MFSTABLE\x01\0\0\0\x10\0\0\0".to_vec();
    forged.extend_from_slice(&(claimed as u64).to_le_bytes());
    forged.extend_from_slice(&identity);
    forged.extend_from_slice(digest.as_bytes());
    forged.resize(128, 0);
    for value in [value(0), value(1), last] {
        forged.extend_from_slice(&value);
    }
    let toy = model(&bytes);
    toy.put(
        &format!("{}/{}.table", shipped::DIRECTORY, hex::encode(identity)),
        &forged,
    );

    let store = tempfile::tempdir().unwrap();
    let open = |manifest, source| reader(manifest, source, Some(store.path()));
    let toy_reader = open(&other, &toy);
    let file = toy_reader.open(FileIndex::new(0)).unwrap();
    // What is delivered of it is right, and the end, which isn't, is an error.
    assert_eq!(file.read(0, 10).unwrap().as_slice(), &bytes[..10]);
    assert!(file.read(2 * CHUNK as u64, 10).is_err());
    for _ in 0..2 {
        let reader = open(&honest_manifest, &honest);
        let file = reader.open(FileIndex::new(0)).unwrap();
        assert_eq!(file.len(), bytes.len() as u64);
        assert!(read_all(&file).unwrap() == bytes);
    }
    // The other way round: what was proved stays proved.
    let again = open(&other, &toy).open(FileIndex::new(0));
    assert!(again.is_err() || again.unwrap().read(2 * CHUNK as u64, 10).is_err());
    let file = open(&honest_manifest, &honest).open(FileIndex::new(0));
    assert_eq!(file.unwrap().len(), bytes.len() as u64);

    // A signed size above what is there, and nothing at all.
    for size in [0, 1 << 62] {
        let wrong = signed_by_another(size);
        for ship in [&toy, &honest] {
            let reader = reader(&wrong, ship, None);
            assert!(reader.open(FileIndex::new(0)).is_err(), "{size}");
        }
    }
}

#[test]
fn an_empty_file_is_empty() {
    for algorithm in Algorithm::ALL {
        let source = model(b"");
        let manifest = sign(&source, algorithm, None, false);
        let file = reader(&manifest, &source, None)
            .open(FileIndex::new(0))
            .unwrap();
        assert!(file.is_empty());
        assert!(file.read(0, 4096).unwrap().is_empty());
        source.edit(NAME, |bytes| bytes.push(0));
        assert!(
            reader(&manifest, &source, None)
                .open(FileIndex::new(0))
                .is_err()
        );
    }
}

#[test]
fn a_shipped_table_makes_blake3_lazy_and_an_edited_one_changes_nothing() {
    let bytes = random(20 * MIB, 2);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let table = source
        .files
        .lock()
        .unwrap()
        .keys()
        .find(|name| name.starts_with(shipped::DIRECTORY))
        .cloned()
        .unwrap();

    source.take_reads();
    let first = reader(&manifest, &source, None);
    let file = first.open(FileIndex::new(0)).unwrap();
    assert_eq!(
        file.read(7 * MIB as u64, 10).unwrap().as_slice(),
        &bytes[7 * MIB..7 * MIB + 10]
    );
    assert!(source.take_reads() < 2 * MIB as u64);
    assert_eq!(first.stats().full_passes, 0);

    // Magic, chunk size, length, root, values, and one byte too many.
    let len = source.file(&table).len().unwrap();
    for position in [0, 12, 16, 60, 128, len - 1, len] {
        let original = source.file(&table).bytes.lock().unwrap().clone();
        source.edit(&table, |bytes| {
            match bytes.get_mut(usize::try_from(position).unwrap()) {
                Some(byte) => *byte ^= 1,
                None => bytes.push(0),
            }
        });
        let again = reader(&manifest, &source, None);
        let file = again.open(FileIndex::new(0)).unwrap();
        assert!(read_all(&file).unwrap() == bytes, "edited at {position}");
        source.edit(&table, |bytes| *bytes = original);
    }
}

#[test]
fn a_table_shipped_with_a_sha256_model_is_not_believed() {
    // The attacker owns the model: content and table fit each other, the signature doesn't.
    let genuine = random(3 * MIB, 3);
    let source = model(&genuine);
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let forged = random(3 * MIB, 4);
    let other = model(&forged);
    let other_manifest = sign(&other, Algorithm::Blake3, None, true);
    let identity = |manifest: &VerifiedManifest| manifest.files()[0].content.identity();
    let path = |identity| format!("{}/{}.table", shipped::DIRECTORY, hex::encode(identity));
    let mut table = other
        .file(&path(identity(&other_manifest)))
        .bytes
        .lock()
        .unwrap()
        .clone();
    table[24..56].copy_from_slice(&identity(&manifest));
    source.put(&path(identity(&manifest)), &table);
    source.edit(NAME, |bytes| *bytes = forged);
    assert!(matches!(
        reader(&manifest, &source, None).open(FileIndex::new(0)),
        Err(ReadError::Violation(_))
    ));
}

/// Everything in a store, by path.
fn entries(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                entries.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    entries
}

/// Who owns a toy, under a key that is trusted for toys, must not get to say anything about another
/// model. Whatever the table says that is shipped with the toy, the store then holds what a proof
/// of the toy put there, or nothing.
#[test]
fn no_edit_of_a_shipped_table_changes_what_the_store_holds() {
    let bytes = random(MIB + 70_000, 20);
    let toy = model(&bytes);
    let toy_manifest = sign(&toy, Algorithm::Blake3, None, true);
    let identity = |manifest: &VerifiedManifest| manifest.files()[0].content.identity();
    let name = |identity| format!("{}/{}.table", shipped::DIRECTORY, hex::encode(identity));
    let toy_table = name(identity(&toy_manifest));
    let table = toy.file(&toy_table).bytes.lock().unwrap().clone();

    // The production models hold the toy's bytes, as the adversary wants them served.
    let genuine = random(MIB + 70_000, 21);
    let production: Vec<_> = [
        (genuine.clone(), Algorithm::Sha256, None),
        (genuine.clone(), Algorithm::Blake2b, None),
        (genuine.clone(), Algorithm::Blake3, None),
        (genuine, Algorithm::Sha256, Some(5 * MIB as u64)),
        (random(16, 22), Algorithm::Sha256, None),
    ]
    .into_iter()
    .map(|(genuine, algorithm, shard_size)| {
        let source = model(&genuine);
        let manifest = sign(&source, algorithm, shard_size, false);
        source.put(NAME, &bytes);
        (source, manifest)
    })
    .collect();

    let store = tempfile::tempdir().unwrap();
    let store = store.path();
    reader(&toy_manifest, &toy, Some(store))
        .open(FileIndex::new(0))
        .unwrap();
    let proved = entries(store);
    let key = proved[&store.join("host.key")].clone();

    let mut edits: Vec<Vec<u8>> = (0..table.len())
        .map(|position| {
            let mut edited = table.clone();
            edited[position] ^= 1;
            edited
        })
        .collect();
    let mut with = |at: usize, value: &[u8]| {
        let mut edited = table.clone();
        edited[at..at + value.len()].copy_from_slice(value);
        edits.push(edited);
    };
    for log2 in 0..=255_u8 {
        with(12, &[log2]);
    }
    for len in (0..40)
        .map(|chunks| chunks * 32_768 + 1)
        .chain([0, u64::MAX])
    {
        with(16, &len.to_le_bytes());
    }
    for (_, manifest) in &production {
        with(24, &identity(manifest));
        let signed = &manifest.files()[0].content;
        if let crate::manifest::SignedContent::Whole(whole) = signed {
            with(56, &whole.digest().as_bytes()[..32]);
        }
    }
    for edited in &edits {
        std::fs::remove_dir_all(store).unwrap();
        std::fs::create_dir(store).unwrap();
        std::fs::write(store.join("host.key"), &key).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(store.join("host.key"), private).unwrap();
        toy.put(&toy_table, edited);
        let file = reader(&toy_manifest, &toy, Some(store))
            .open(FileIndex::new(0))
            .unwrap();
        assert!(read_all(&file).unwrap() == bytes);
        for (source, manifest) in &production {
            source.put(&name(identity(manifest)), edited);
            let opened = reader(manifest, source, Some(store)).open(FileIndex::new(0));
            let read = opened.and_then(|file| file.read(0, 16));
            assert!(matches!(read, Err(ReadError::Violation(_))), "{read:?}");
        }
        assert!(entries(store) == proved, "the store was changed");
    }
}

/// A file is proved by what was signed about it, so two files of one signer can't pass for one
/// another either.
#[test]
fn files_that_change_places_are_not_believed() {
    for (algorithm, shard_size) in methods() {
        let source = Arc::new(Memory::default());
        let (one, other) = (random(2 * MIB, 23), random(2 * MIB, 24));
        source.put("a", &one);
        source.put("b", &other);
        let manifest = sign(&source, algorithm, shard_size, true);
        let store = tempfile::tempdir().unwrap();
        let first = reader(&manifest, &source, Some(store.path()));
        first.open(FileIndex::new(0)).unwrap();
        first.open(FileIndex::new(1)).unwrap();
        source.put("a", &other);
        source.put("b", &one);
        let again = reader(&manifest, &source, Some(store.path()));
        for index in 0..2 {
            let read = again
                .open(FileIndex::new(index))
                .and_then(|file| file.read(0, 100));
            assert!(matches!(read, Err(ReadError::Violation(_))));
        }
    }
}

#[test]
fn a_model_is_hashed_once_per_store() {
    for (algorithm, shard_size) in methods() {
        let bytes = random(6 * MIB, 5);
        let source = model(&bytes);
        let manifest = sign(&source, algorithm, shard_size, false);
        let store = tempfile::tempdir().unwrap();
        reader(&manifest, &source, Some(store.path()))
            .open(FileIndex::new(0))
            .unwrap();
        source.take_reads();
        let second = reader(&manifest, &source, Some(store.path()));
        let file = second.open(FileIndex::new(0)).unwrap();
        assert_eq!(source.take_reads(), 0, "{algorithm} {shard_size:?}");
        assert_eq!(second.stats().full_passes, 0);
        assert!(read_all(&file).unwrap() == bytes);
    }
}

#[test]
fn what_verifying_a_model_proved_is_not_proved_again() {
    let bytes = random(6 * MIB, 6);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let dir = tempfile::tempdir().unwrap();
    let store = TableStore::open(dir.path()).unwrap();
    let differences = verify::verify_content(&manifest, &*source, Some(&store), &());
    assert!(differences.is_empty(), "{differences:?}");
    let reader = reader(&manifest, &source, Some(dir.path()));
    reader.open(FileIndex::new(0)).unwrap();
    assert_eq!(reader.stats().full_passes, 0);
}

#[test]
fn verifying_again_makes_no_table_and_replaces_a_damaged_one() {
    let source = model(&random(3 * MIB, 6));
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let dir = tempfile::tempdir().unwrap();
    let store = TableStore::open(dir.path()).unwrap();
    let identity = manifest.files()[0].content.identity();
    let name = hex::encode(identity);
    let path = dir.path().join(format!("v2/{}/{name}.table", &name[..2]));
    let check = || verify::verify_content(&manifest, &*source, Some(&store), &());
    let written = || std::fs::metadata(&path).unwrap().ino();
    assert!(check().is_empty());
    let first = written();
    assert!(check().is_empty());
    assert_eq!(written(), first);
    // What is signed is compared with the table at hand as without.
    source.edit(NAME, |bytes| bytes[MIB] ^= 1);
    assert_eq!(check().len(), 1);
    source.edit(NAME, |bytes| bytes[MIB] ^= 1);
    let mut table = std::fs::read(&path).unwrap();
    let last = table.len() - 1;
    table[last] ^= 1;
    std::fs::write(&path, table).unwrap();
    assert!(check().is_empty());
    assert_ne!(written(), first);
    let reader = reader(&manifest, &source, Some(dir.path()));
    reader.open(FileIndex::new(0)).unwrap();
    assert_eq!(reader.stats().full_passes, 0);
}

#[test]
fn a_bad_chunk_fails_alone_and_heals() {
    for (algorithm, shard_size) in methods() {
        let bytes = random(6 * MIB, 7);
        let source = model(&bytes);
        let manifest = sign(&source, algorithm, shard_size, false);
        let reader = reader(&manifest, &source, None);
        let file = reader.open(FileIndex::new(0)).unwrap();
        let bad = 2 * MIB + 5;
        source.edit(NAME, |bytes| bytes[bad] ^= 0x10);
        let error = file.read(bad as u64, 1).unwrap_err();
        let ReadError::Violation(violation) = error else {
            panic!("{error}");
        };
        assert!(violation.range.contains(&(bad as u64)));
        assert!(matches!(violation.kind, ViolationKind::Digest { .. }));
        assert!(file.read(0, 6 * MIB).is_err());
        for offset in [0, 6 * MIB - 1] {
            assert_eq!(
                file.read(offset as u64, 1).unwrap().as_slice(),
                &bytes[offset..=offset]
            );
        }
        assert!(reader.stats().violations > 0);
        source.edit(NAME, |bytes| bytes[bad] ^= 0x10);
        assert!(read_all(&file).unwrap() == bytes);
    }
}

#[test]
fn a_replaced_file_is_found_again_by_its_name() {
    let bytes = random(3 * MIB, 8);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, false);
    let file = reader(&manifest, &source, None)
        .open(FileIndex::new(0))
        .unwrap();
    source.edit(NAME, |bytes| bytes.fill(0));
    assert!(file.read(0, 10).is_err());
    source.put(NAME, &bytes);
    assert!(read_all(&file).unwrap() == bytes);
    // What fails to be read, as a stale handle of a network file system does, is looked up too.
    source.file(NAME).failing.store(true, Ordering::SeqCst);
    assert!(matches!(
        file.read(0, 10),
        Err(ReadError::Source { .. }) | Ok(_)
    ));
    source.put(NAME, &bytes);
    assert!(read_all(&file).unwrap() == bytes);
    source.remove(NAME);
    assert_eq!(file.read(0, 10).unwrap().as_slice(), &bytes[..10]);
}

#[test]
fn the_proved_length_is_served_whatever_the_source_says() {
    for (algorithm, shard_size) in methods() {
        let bytes = random(6 * MIB, 9);
        let source = model(&bytes);
        let manifest = sign(&source, algorithm, shard_size, false);
        let store = tempfile::tempdir().unwrap();
        reader(&manifest, &source, Some(store.path()))
            .open(FileIndex::new(0))
            .unwrap();
        for change in [
            (|bytes| bytes.truncate(5 * MIB + 3)) as fn(&mut Vec<u8>),
            |bytes| bytes.clear(),
        ] {
            source.edit(NAME, change);
            let file = reader(&manifest, &source, Some(store.path()))
                .open(FileIndex::new(0))
                .unwrap();
            assert_eq!(file.len(), 6 * MIB as u64);
            let error = file.read(6 * MIB as u64 - 1, 1).unwrap_err();
            let ReadError::Violation(violation) = error else {
                panic!("{error}");
            };
            assert!(matches!(violation.kind, ViolationKind::Truncated { .. }));
            source.edit(NAME, |now| now.clone_from(&bytes));
        }
        source.edit(NAME, |bytes| bytes.extend_from_slice(b"more"));
        let file = reader(&manifest, &source, Some(store.path()))
            .open(FileIndex::new(0))
            .unwrap();
        assert_eq!(file.len(), 6 * MIB as u64);
        assert!(read_all(&file).unwrap() == bytes);
        assert!(file.read(6 * MIB as u64, 100).unwrap().is_empty());
    }
}

#[test]
fn many_requests_for_a_chunk_verify_it_once() {
    let bytes = random(8 * MIB, 10);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let reader = reader(&manifest, &source, None);
    let file = reader.open(FileIndex::new(0)).unwrap();
    source.take_reads();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (file, bytes) = (&file, &bytes);
            scope.spawn(move || {
                for step in 0..64_usize {
                    let offset = (step * 131_072 + thread * 4096) % (8 * MIB - 4096);
                    let read = file.read(offset as u64, 4096).unwrap();
                    assert!(read.as_slice() == &bytes[offset..offset + 4096]);
                }
            });
        }
    });
    // The last chunk was read to open the file.
    assert!(source.take_reads() <= 8 * MIB as u64);
}

#[test]
fn other_files_are_read_while_one_is_being_proved() {
    let source = Arc::new(Memory::default());
    source.put("large", &random(40 * MIB, 11));
    source.put("small", &random(1000, 12));
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let reader = reader(&manifest, &source, None);
    let (sender, receiver) = std::sync::mpsc::channel();
    reader.open_then(FileIndex::new(0), move |opened| {
        sender.send(opened.is_ok()).unwrap();
    });
    let small = reader.open(FileIndex::new(1)).unwrap();
    assert_eq!(small.read(0, 1000).unwrap().len(), 1000);
    assert!(receiver.recv().unwrap());
}

#[test]
fn a_stopped_reader_reads_nothing_and_keeps_nobody_waiting() {
    let source = model(&random(8 * MIB, 13));
    let manifest = sign(&source, Algorithm::Sha256, None, false);
    let reader = reader(&manifest, &source, None);
    let file = reader.open(FileIndex::new(0)).unwrap();
    reader.stop();
    assert!(matches!(file.read(0, 1), Err(ReadError::Stopped { .. })));
    assert!(file.read_now(0, 1).is_none());
}

#[test]
fn what_is_in_memory_is_read_at_once_and_what_fails_is_left_to_a_read() {
    let bytes = random(3 * MIB, 14);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let reader = reader(&manifest, &source, None);
    let file = reader.open(FileIndex::new(0)).unwrap();
    let read = file.read_now(100, MIB).unwrap();
    assert_eq!(read.as_slice(), &bytes[100..100 + MIB]);
    source.edit(NAME, |bytes| bytes[2 * MIB] ^= 1);
    assert!(file.read_now(2 * MIB as u64 - 10, 20).is_none());
    assert_eq!(reader.violations().count(), 0);
    assert!(file.read(2 * MIB as u64 - 10, 20).is_err());
    assert_eq!(reader.violations().count(), 1);
    source.file(NAME).slow.store(true, Ordering::SeqCst);
    assert!(file.read_now(MIB as u64 + 600_000, 20).is_none());
}

/// One read, as the file system does it.
fn read_once(file: &Arc<OpenFile>, at: usize, len: usize) -> Result<VerifiedBytes, ReadError> {
    match file.read_now(at as u64, len) {
        Some(read) => Ok(read),
        None => file.read(at as u64, len),
    }
}

/// Reads all in order, as the file system does; where it first failed.
fn stream(file: &Arc<OpenFile>, bytes: &[u8], step: usize) -> Option<usize> {
    (0..bytes.len()).step_by(step).find(|&start| {
        let read = read_once(file, start, step);
        let end = (start + step).min(bytes.len());
        !read.is_ok_and(|read| read.as_slice() == &bytes[start..end])
    })
}

#[test]
fn a_stream_is_verified_ahead() {
    let bytes = random(40 * MIB, 15);
    for step in [128 << 10, MIB, 300_000] {
        let source = model(&bytes);
        let manifest = sign(&source, Algorithm::Blake3, None, true);
        let reader = reader(&manifest, &source, None);
        source.file(NAME).slow.store(true, Ordering::SeqCst);
        let file = reader.open(FileIndex::new(0)).unwrap();
        assert_eq!(stream(&file, &bytes, step), None);
        let stats = reader.stats();
        assert_eq!(stats.delivered_bytes, bytes.len() as u64);
        // Each chunk is read once, and the last once more to prove the length.
        assert!(
            stats.source_bytes <= bytes.len() as u64 + MIB as u64,
            "{step}: {stats:?}"
        );
    }
}

#[test]
fn what_fails_ahead_of_a_stream_is_reported_when_it_is_asked_for() {
    let bytes = random(40 * MIB, 16);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let reader = reader(&manifest, &source, None);
    source.file(NAME).slow.store(true, Ordering::SeqCst);
    let file = reader.open(FileIndex::new(0)).unwrap();
    source.edit(NAME, |bytes| bytes[30 * MIB] ^= 1);
    assert_eq!(stream(&file, &bytes[..29 * MIB], MIB), None);
    assert_eq!(reader.violations().count(), 0);
    assert_eq!(stream(&file, &bytes, MIB), Some(30 * MIB));
    assert_eq!(reader.violations().count(), 1);
}

/// A change to a model that an adversary may make.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize),
    Truncate(usize),
    Extend(Vec<u8>),
    Swap(Range<usize>, usize),
    Zero(Range<usize>),
    Restore,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<usize>().prop_map(Change::Flip),
        1 => any::<usize>().prop_map(Change::Truncate),
        1 => prop::collection::vec(any::<u8>(), 1..100).prop_map(Change::Extend),
        2 => (any::<usize>(), 1..70_000_usize, any::<usize>())
            .prop_map(|(start, len, to)| Change::Swap(start..start.wrapping_add(len), to)),
        1 => (any::<usize>(), 1..70_000_usize)
            .prop_map(|(start, len)| Change::Zero(start..start.wrapping_add(len))),
        2 => Just(Change::Restore),
    ]
}

fn apply(change: &Change, original: &[u8], bytes: &mut Vec<u8>) {
    let len = bytes.len();
    let clip = |range: &Range<usize>| {
        let start = range.start % len;
        start..(start + range.len()).min(len)
    };
    match change {
        Change::Restore => bytes.clone_from(&original.to_vec()),
        Change::Extend(more) => bytes.extend_from_slice(more),
        _ if len == 0 => {}
        Change::Flip(at) => bytes[at % len] ^= 0x40,
        Change::Truncate(to) => bytes.truncate(to % len),
        Change::Zero(range) => bytes[clip(range)].fill(0),
        Change::Swap(range, to) => {
            let range = clip(range);
            let moved = bytes[range.clone()].to_vec();
            let to = to % (len - moved.len() + 1);
            bytes.copy_within(to..to + moved.len(), range.start);
            bytes[to..to + moved.len()].copy_from_slice(&moved);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is done to the model between reads, a read gives the bytes that were signed or an
    /// error; and while the model is as it was signed, it gives the bytes.
    #[test]
    fn never_a_wrong_byte(
        len in 1_usize..3_000_000,
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        shard_size in prop::option::of(20_000_u64..5_000_000),
        ship in any::<bool>(),
        stored in any::<bool>(),
        at_once in any::<bool>(),
        annotate in prop::sample::select(&[Annotate::Nothing, Annotate::Files][..]),
        steps in prop::collection::vec((change(), any::<usize>(), 1_usize..400_000), 1..12),
    ) {
        let bytes = random(len, 99);
        let source = model(&bytes);
        let hash = algorithm;
        let shard_size = shard_size.and_then(std::num::NonZeroU64::new);
        let serialization = Serialization { hash, shard_size };
        let manifest = sign_as(&source, HashPlan { serialization, annotate }, ship);
        let store = tempfile::tempdir().unwrap();
        let path = stored.then_some(store.path());
        let reader = reader(&manifest, &source, path);
        let mut file = None;
        for (change, offset, count) in steps {
            source.edit(NAME, |now| apply(&change, &bytes, now));
            let intact = *source.file(NAME).bytes.lock().unwrap() == bytes;
            if file.is_none() {
                file = reader.open(FileIndex::new(0)).ok();
                prop_assert!(file.is_some() || !intact);
            }
            let Some(file) = &file else { continue };
            prop_assert_eq!(file.len(), len as u64);
            let offset = offset % (len + 10);
            let expected = &bytes[offset.min(len)..(offset + count).min(len)];
            if at_once && let Some(read) = file.read_now(offset as u64, count) {
                prop_assert!(read.as_slice() == expected);
                continue;
            }
            match file.read(offset as u64, count) {
                Ok(read) => prop_assert!(read.as_slice() == expected),
                Err(_) => prop_assert!(!intact),
            }
        }
    }
}

/// Has the bytes before `end` in memory, and gives the others once it is let go.
struct Partly {
    bytes: Vec<u8>,
    end: usize,
    asked: std::sync::mpsc::SyncSender<()>,
    let_go: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Partly {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> usize {
        let start = usize::try_from(offset).unwrap().min(self.bytes.len());
        let read = (self.bytes.len() - start).min(buffer.len());
        buffer[..read].copy_from_slice(&self.bytes[start..start + read]);
        read
    }
}

impl SourceFile for Partly {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64, _: Caching) -> std::io::Result<usize> {
        let end = usize::try_from(offset).unwrap() + buffer.len();
        if end > self.end && end < self.bytes.len() {
            let _ = self.asked.try_send(());
            let _ = self.let_go.lock().unwrap().recv();
        }
        Ok(self.fill(buffer, offset))
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let end = usize::try_from(offset).unwrap() + buffer.len();
        end <= self.end && self.fill(buffer, offset) == buffer.len()
    }
}

struct OnePartly(Arc<Partly>, Arc<Memory>);

impl Source for OnePartly {
    fn open(&self, name: &crate::name::FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
        if name.as_str() == NAME {
            Ok(Arc::clone(&self.0) as Arc<dyn SourceFile>)
        } else {
            self.1.open(name)
        }
    }
}

#[test]
fn what_is_verified_ahead_is_there_before_the_rest_is_waited_for() {
    let bytes = random(16 * MIB, 31);
    let memory = model(&bytes);
    let manifest = sign(&memory, Algorithm::Blake3, None, true);
    let (asked, is_asked) = std::sync::mpsc::sync_channel(1);
    let (let_go, is_let_go) = std::sync::mpsc::sync_channel::<()>(0);
    let partly = Arc::new(Partly {
        bytes: bytes.clone(),
        end: 4 * MIB + (256 << 10),
        asked,
        let_go: std::sync::Mutex::new(is_let_go),
    });
    let source = Arc::new(OnePartly(partly, memory)) as Arc<dyn Source>;
    let reader = Reader::new(manifest, source, None, ReaderOptions::default());
    let file = reader.open(FileIndex::new(0)).unwrap();
    assert_eq!(stream(&file, &bytes[..3 * MIB], 128 << 10), None);
    is_asked
        .recv_timeout(std::time::Duration::from_secs(5))
        .expect("nothing was read ahead");
    // It was in memory, and has been verified.
    let now = file.read_now(4 * MIB as u64, 128 << 10);
    drop(let_go);
    assert!(now.is_some(), "it waits for what comes after it");
}
