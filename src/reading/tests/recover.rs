//! Chunks that fail and are had after all: by a second read, or from a second place.

use super::*;
use crate::name::Escaped;

const CHUNK: usize = 64 * 1024;

/// A reader of `source` that may ask `places`.
fn with_places(
    manifest: &Arc<VerifiedManifest>,
    source: &Arc<Memory>,
    places: &[&Arc<Memory>],
) -> Arc<Reader> {
    let places = places.iter().zip(1..);
    let places = places.map(|(place, number)| RepairPlace {
        name: Escaped::new(&format!("place {number}")),
        source: Arc::clone(place) as Arc<dyn Source>,
    });
    let source = Arc::clone(source) as Arc<dyn Source>;
    let (manifest, options) = (Arc::clone(manifest), ReaderOptions::default());
    Reader::with_places(manifest, source, places.collect(), None, options)
}

fn copy(source: &Memory) -> Arc<Memory> {
    let copy = Memory::default();
    for (name, file) in &*source.files.lock().unwrap() {
        copy.put(name, &file.bytes.lock().unwrap());
    }
    Arc::new(copy)
}

/// What was met: transfer errors, repaired chunks, violations, errors of the source.
fn met(reader: &Reader) -> [u64; 4] {
    let stats = reader.stats();
    [
        stats.transfer_errors,
        stats.repaired_chunks,
        stats.violations,
        stats.source_errors,
    ]
}

#[test]
fn a_passing_error_is_told_as_one_and_a_lasting_one_as_a_violation() {
    let bytes = random(4 * CHUNK, 1);
    for slow in [false, true] {
        let source = model(&bytes);
        let manifest = sign(&source, Algorithm::Blake3, None, true);
        let reader = with_places(&manifest, &source, &[]);
        let file = reader.open(FileIndex::new(0)).unwrap();
        source
            .file(NAME)
            .slow
            .store(slow, std::sync::atomic::Ordering::SeqCst);
        // Once what is in memory is wrong, or what was read, and right a moment later.
        source.file(NAME).lies.store(1, Ordering::SeqCst);
        let now = file.read_now(0, 100);
        let found = now.map_or_else(|| file.read(0, 100), Ok).unwrap();
        assert_eq!(found.as_slice(), &bytes[..100]);
        assert_eq!(met(&reader), [1, 0, 0, 0], "slow: {slow}");
        let told = reader.recoveries().recent().pop().unwrap().to_string();
        assert!(told.contains("\"model.bin\" bytes 0 to 65536: transfer error"));
        // One more read is made, and not two.
        source.file(NAME).lies.store(2, Ordering::SeqCst);
        source.take_reads();
        assert!(file.read(CHUNK as u64, 100).is_err());
        assert_eq!(source.take_reads(), 2 * CHUNK as u64);
        assert_eq!(met(&reader), [1, 0, 1, 0], "slow: {slow}");
    }
}

#[test]
fn another_file_under_the_name_is_no_transfer_error() {
    let bytes = random(4 * CHUNK, 1);
    let source = model(&bytes);
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let reader = with_places(&manifest, &source, &[]);
    let file = reader.open(FileIndex::new(0)).unwrap();
    source.edit(NAME, |bytes| bytes[0] ^= 1);
    source.put(NAME, &bytes);
    assert_eq!(file.read(0, 10).unwrap().as_slice(), &bytes[..10]);
    assert_eq!(met(&reader), [0, 0, 0, 0]);
}

#[test]
fn a_source_that_cannot_be_read_is_not_read_past_memory() {
    let source = model(&random(4 * CHUNK, 1));
    let manifest = sign(&source, Algorithm::Blake3, None, true);
    let reader = with_places(&manifest, &source, &[]);
    let file = reader.open(FileIndex::new(0)).unwrap();
    source.file(NAME).failing.store(true, Ordering::SeqCst);
    assert!(matches!(file.read(0, 10), Err(ReadError::Source { .. })));
    assert_eq!(met(&reader), [0, 0, 0, 1]);
}

type Damage = (&'static str, fn(&Memory), u64);

/// Damages of a model: each with how many of its four chunks are bad then.
fn damages() -> [Damage; 5] {
    [
        ("changed", |it| it.edit(NAME, |bytes| bytes[CHUNK] ^= 1), 1),
        (
            "the last changed",
            |it| {
                it.edit(NAME, |bytes| *bytes.last_mut().unwrap() ^= 1);
            },
            1,
        ),
        (
            "cut",
            |it| it.edit(NAME, |bytes| bytes.truncate(CHUNK + 5)),
            3,
        ),
        ("missing", |it| it.remove(NAME), 4),
        (
            "unreadable",
            |it| it.file(NAME).failing.store(true, Ordering::SeqCst),
            4,
        ),
    ]
}

#[test]
fn what_the_source_has_wrong_or_not_at_all_is_had_from_a_second_place() {
    for (algorithm, shard_size) in methods() {
        for ship in [false, true] {
            for (what, damage, bad) in damages() {
                for damaged_first in [false, true] {
                    let case = format!("{algorithm} {shard_size:?} {ship} {what} {damaged_first}");
                    let bytes = random(4 * CHUNK - 7, 1);
                    let source = model(&bytes);
                    let manifest = sign(&source, algorithm, shard_size, ship);
                    let liar = copy(&source);
                    liar.edit(NAME, |bytes| bytes.fill(7));
                    let place = copy(&source);
                    let reader = with_places(&manifest, &source, &[&liar, &place]);
                    let index = FileIndex::new(0);
                    if damaged_first {
                        damage(&source);
                    }
                    let file = reader.open(index).unwrap_or_else(|e| panic!("{case}: {e}"));
                    assert_eq!(file.len(), bytes.len() as u64, "{case}");
                    if !damaged_first {
                        damage(&source);
                    }
                    assert!(read_all(&file).unwrap() == bytes, "{case}");
                    let [transfer, repaired, violations, errors] = met(&reader);
                    assert_eq!([transfer, violations, errors], [0, 0, 0], "{case}");
                    // Elsewhere chunks are others. What is open isn't missing.
                    if algorithm == Algorithm::Blake3 && shard_size.is_none() {
                        // What was proved by a read is still in memory.
                        let kept = u64::from(!damaged_first && ship && what != "changed");
                        let is_there = !damaged_first && what == "missing";
                        let expected = if is_there { 0 } else { bad - kept };
                        assert_eq!(repaired, expected, "{case}");
                    } else {
                        assert!(repaired >= 1 || !damaged_first, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn places_that_lie_change_nothing() {
    let bytes = random(4 * CHUNK, 1);
    let wrong = |offset: usize| move |bytes: &mut Vec<u8>| bytes[offset] ^= 1;
    for ship in [false, true] {
        let source = model(&bytes);
        let manifest = sign(&source, Algorithm::Blake3, None, ship);
        let (liar, short, empty) = (copy(&source), copy(&source), Arc::<Memory>::default());
        liar.edit(NAME, wrong(CHUNK + 1));
        short.edit(NAME, |bytes| bytes.truncate(10));
        source.edit(NAME, wrong(CHUNK + 2));
        let reader = with_places(&manifest, &source, &[&liar, &short, &empty]);
        let Ok(file) = reader.open(FileIndex::new(0)) else {
            // No pass finds what was signed.
            assert!(!ship);
            assert_eq!(met(&reader), [0, 0, 1, 0]);
            continue;
        };
        let error = file.read(CHUNK as u64, 10).unwrap_err();
        assert!(
            error.to_string().contains("isn't what was signed"),
            "{error}"
        );
        assert_eq!(met(&reader), [0, 0, 1, 0]);
        assert_eq!(file.read(0, 10).unwrap().as_slice(), &bytes[..10]);
        source.edit(NAME, wrong(CHUNK + 2));
        assert!(read_all(&file).unwrap() == bytes);
    }
}
