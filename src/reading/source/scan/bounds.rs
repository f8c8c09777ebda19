//! How much a scan takes in, and what it has taken in so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::manifest::ManifestFile;
use crate::oms::bundle::MAX_BUNDLE;
use crate::oms::statement::MAX_RESOURCES;

/// Deepest directory nesting that a scan follows. Deeper trees can't hold a signed name, since
/// names are at most [`crate::name::MAX_PATH`] bytes long.
pub(super) const MAX_DEPTH: usize = crate::name::MAX_PATH / 2;

/// Most links to directories that a scan follows. Links to files, as in the cache layout of
/// Hugging Face hubs, are not among them: those to directories multiply.
pub(super) const MAX_LINKED: u64 = 4096;

/// Files and directories that may be there without being signed.
const UNSIGNED_ENTRIES: u64 = 200_000;

/// Bytes of their names.
const UNSIGNED_BYTES: u64 = 64 << 20;

/// Components of links to come over for each entry that may be there, on average, and for all of
/// them together.
const STEPS_PER_ENTRY: u64 = 32;
const MORE_STEPS: u64 = 500_000;

/// How much a scan takes in.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Bounds {
    /// Files, directories, and whatever else a directory lists.
    pub(super) entries: u64,
    /// Bytes of names that are held.
    pub(super) bytes: u64,
    /// Components of links.
    pub(super) steps: u64,
}

impl Bounds {
    /// What a signature can hold, and as many directories.
    pub(in super::super) fn to_sign() -> Self {
        Self::new(2 * MAX_RESOURCES as u64, MAX_BUNDLE as u64)
    }

    /// What these files need, and an allowance for what isn't signed. They are sorted by name.
    pub(in super::super) fn of(files: &[ManifestFile]) -> Self {
        let bytes: u64 = files
            .iter()
            .map(|file| file.name.as_str().len() as u64)
            .sum();
        let names = files.iter().map(|file| file.name.as_str());
        let entries = files.len() as u64 + directories_of(names);
        Self::new(entries + UNSIGNED_ENTRIES, bytes + UNSIGNED_BYTES)
    }

    fn new(entries: u64, bytes: u64) -> Self {
        Self {
            entries,
            bytes,
            steps: entries / 2 * STEPS_PER_ENTRY + MORE_STEPS,
        }
    }
}

/// How many directories hold files with these names, which are sorted.
fn directories_of<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let mut before = "";
    let mut count = 0;
    for name in names {
        let pairs = name.bytes().zip(before.bytes());
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let rest = name.bytes().skip(shared);
        count += rest.filter(|&byte| byte == b'/').count() as u64;
        before = name;
    }
    count
}

/// What was taken in so far.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) entries: AtomicU64,
    /// Of names as listed, and of names that are kept.
    pub(super) listed_bytes: AtomicU64,
    pub(super) kept_bytes: AtomicU64,
    pub(super) linked: AtomicU64,
    pub(super) steps: AtomicU64,
}

/// Adds to what was taken. Whether that is too much now.
pub(super) fn take(taken: &AtomicU64, more: u64, most: u64) -> bool {
    taken
        .fetch_add(more, Ordering::Relaxed)
        .saturating_add(more)
        > most
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::scan;
    use super::*;
    use crate::name::FileName;
    use crate::reading::source::{Links, LocalDirectory, Scan};

    fn scanned(dir: &Path, bounds: &Bounds) -> io::Result<Scan> {
        let source = LocalDirectory::open(dir, Links::Follow)?;
        scan(&source.to_scan(), &[], bounds, &|_: &FileName| false)
    }

    #[test]
    fn a_scan_takes_in_what_fits_its_bounds_and_says_which_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        for file in ["d/1", "d/2", "d/3"] {
            std::fs::write(dir.path().join(file), b"").unwrap();
        }
        symlink("d/.././d/1", dir.path().join("l")).unwrap();
        // Listed: d, l, 1, 2, 3. Kept: l, d, d/1, d/2, d/3. Links: l, d, .., ., d, 1.
        let fits = Bounds {
            entries: 5,
            bytes: 11,
            steps: 6,
        };
        assert_eq!(scanned(dir.path(), &fits).unwrap().entries.len(), 4);
        for (bounds, reason) in [
            (Bounds { entries: 4, ..fits }, "more than 4 files and"),
            (Bounds { bytes: 10, ..fits }, "names of more than 10 bytes"),
            (Bounds { steps: 5, ..fits }, "over more than 5 names"),
        ] {
            let error = scanned(dir.path(), &bounds).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn directories_of_signed_files_are_counted_once() {
        for names in [
            &["a"][..],
            &["a/b", "a/c/d", "a/bc/d", "a.x", "a0/x", "a-b/x/y/z"],
            &["x/y/z/1", "x/y/z/2", "x/y/w/1", "x/1"],
        ] {
            let mut names = names.to_vec();
            names.sort_unstable();
            let above = |name: &&'static str| {
                let name = *name;
                name.match_indices('/').map(move |(at, _)| &name[..at])
            };
            let directories: BTreeSet<_> = names.iter().flat_map(above).collect();
            let count = directories_of(names.iter().copied());
            assert_eq!(count, directories.len() as u64, "{names:?}");
        }
    }
}
