//! The data file against a plain concatenation.

use std::sync::Arc;
use std::sync::mpsc::channel;

use proptest::collection::vec;
use proptest::prelude::*;

use super::extents::NoExtents;
use super::*;
use crate::digest::Algorithm;
use crate::fs::testing::shown;
use crate::fs::{FsError, errno};
use crate::reading::testing::random;

const BLOCK: usize = 4096;

/// Files laid out as the data file has them, without any regard to memory.
fn naive(files: &[(String, Vec<u8>)], signature: &[u8]) -> Vec<u8> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    let mut out = Vec::new();
    for bytes in files.iter().map(|(_, bytes)| &bytes[..]).chain([signature]) {
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out
}

fn read(file: &Arc<DataFile>, offset: usize, len: usize) -> Result<Vec<u8>, FsError> {
    let read = match file.read(offset as u64, len) {
        DataRead::Done(read) => read,
        DataRead::Waits(waits) => {
            let (sender, receiver) = channel();
            waits.wait(move |read| sender.send(read).unwrap());
            receiver.recv().unwrap()
        }
    };
    read.map(|bytes| {
        let whole = bytes.whole().into_owned();
        assert_eq!(whole.len(), bytes.len());
        assert_eq!(bytes.is_empty(), whole.is_empty());
        whole
    })
}

fn named(sizes: &[usize]) -> Vec<(String, Vec<u8>)> {
    let named = |(index, &len)| (format!("f{index:04}"), random(len, index as u64));
    sizes.iter().enumerate().map(named).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_is_that_of_a_plain_concatenation(
        sizes in vec(prop_oneof![
            Just(0), Just(1), Just(4095), Just(4096), Just(4097), 0..300_000_usize,
        ], 1..8),
        ranges in vec((0..2_000_000_usize, 0..300_000_usize), 20),
        slow in any::<bool>(),
    ) {
        let files = named(&sizes);
        let (source, fs) = shown(&files, Algorithm::Blake3, None);
        for (name, _) in &files {
            let slow_file = &source.file(name).slow;
            slow_file.store(slow, std::sync::atomic::Ordering::SeqCst);
        }
        let wanted = naive(&files, fs.reader().manifest().bundle());
        let file = DataFile::new(fs).unwrap();
        prop_assert_eq!(file.extents().bytes(), wanted.len() as u64);
        for (offset, len) in ranges {
            let (offset, len) = (offset % (wanted.len() + 1), len);
            match wanted.get(offset..offset + len) {
                Some(wanted) => prop_assert!(read(&file, offset, len).unwrap() == wanted),
                None => prop_assert!(read(&file, offset, len).is_err()),
            }
        }
    }
}

#[test]
fn each_file_is_where_its_extent_says_and_offsets_lead_back() {
    let files = named(&[0, 5000, 0, 4096, 0]);
    let (_, fs) = shown(&files, Algorithm::Sha256, None);
    let signature = fs.reader().manifest().bundle().len() as u64;
    let extents = Extents::new(fs.reader(), signature).unwrap();
    let part = |index| Part::File(crate::manifest::FileIndex::new(index));
    let starts: Vec<_> = (0..5).map(|index| extents.start(part(index))).collect();
    assert_eq!(starts, [0, 0, 2, 2, 3]);
    assert_eq!(extents.start(Part::Signature), 3);
    assert_eq!(extents.at(0), Some((part(1), 0)));
    assert_eq!(extents.at(8191), Some((part(1), 8191)));
    assert_eq!(extents.at(8192), Some((part(3), 0)));
    assert_eq!(extents.at(3 * 4096 + 1), Some((Part::Signature, 1)));
    assert_eq!(extents.at(extents.bytes()), None);
}

#[test]
fn a_chunk_that_fails_fails_what_has_a_byte_of_it_and_nothing_else() {
    let files = named(&[200_000, 70_000]);
    // Chunks of 64 KiB, which are the shards.
    let (source, fs) = shown(&files, Algorithm::Sha256, Some(1 << 16));
    let wanted = naive(&files, fs.reader().manifest().bundle());
    source.edit("f0000", |bytes| bytes[70_000] ^= 1);
    let file = DataFile::new(Arc::clone(&fs)).unwrap();
    let bad = (1 << 16)..(2 << 16);
    for at in (0..wanted.len() - BLOCK).step_by(BLOCK) {
        for len in [BLOCK, 2 * BLOCK, 40 * BLOCK] {
            let Some(wanted) = wanted.get(at..at + len) else {
                continue;
            };
            let found = read(&file, at, len);
            if at < bad.end && at + len > bad.start {
                let error = found.expect_err("a bad chunk");
                assert_eq!(errno(&error), rustix::io::Errno::IO);
            } else {
                assert!(found.expect("good chunks") == wanted, "{len} bytes at {at}");
            }
        }
    }
    assert!(
        fs.status(crate::fs::Audience::Owner)
            .owner
            .unwrap()
            .stats
            .violations
            > 0
    );
}

#[test]
fn a_file_that_became_shorter_is_an_error_and_never_a_short_answer() {
    let files = named(&[100_000]);
    let (source, fs) = shown(&files, Algorithm::Blake3, None);
    source.edit("f0000", |bytes| bytes.truncate(99_999));
    let file = DataFile::new(fs).unwrap();
    assert!(read(&file, 96 * 1024, BLOCK).is_err());
    assert_eq!(read(&file, 0, BLOCK).unwrap().len(), BLOCK);
}

#[test]
fn what_no_block_number_can_tell_is_refused() {
    let extents = |lengths: &[u64]| Extents::of_lengths(lengths.iter().copied().map(Ok), 1);
    let most = 1 << 43;
    assert!(extents(&[most, most - (3 << 12)]).is_ok());
    assert_eq!(extents(&[most, most - (2 << 12)]), Err(NoExtents::TooLarge));
    assert_eq!(extents(&[most + 1]), Err(NoExtents::TooLarge));
    assert_eq!(extents(&[most, most, most]), Err(NoExtents::TooLarge));
}
