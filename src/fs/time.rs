//! The times that a mount shows.
//!
//! Times aren't signed, but programs draw conclusions from them: Python runs the bytecode that it
//! has cached of a module of the same time (in whole seconds) and size, rsync passes such a file
//! over, and a directory that seems unchanged isn't listed again. So times are made of what was
//! signed.
//!
//! Guarantees: the same signed content has the same time, in every mount on every host; other
//! content has another one, in whole seconds too, but for one in a thousand million; none is before
//! 1980, the earliest that ZIP and FAT can hold, or after 2024. Doesn't: say what is newer. A
//! program that compares times for their order, as make does, learns nothing from these.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::manifest::{FileIndex, Manifest, SignedContent};

/// The earliest time, in seconds since 1970: 1980-01-02, which is 1980 in every time zone.
const FIRST: u64 = 315_619_200;

/// One second after the latest, likewise: 2024-01-01. In the past of every clock that is right, and
/// fit for 32 bits. The wider the span, the rarer are two contents of the same time.
const END: u64 = 1_704_067_200;

const NANOSECONDS: u64 = 1_000_000_000;

/// The context for times of directories. Another encoding needs another context.
const MODEL_CONTEXT: &str = "model-fs 2026-11-30 time of a directory v1";

/// The context for times of signature files.
const SIGNATURE_CONTEXT: &str = "model-fs 2026-11-30 time of a signature file v1";

/// The times of one model.
#[derive(Debug)]
pub(super) struct Times {
    /// Of all directories.
    directories: Stamp,
    /// Of files that are signed in shards, by index in the manifest, once they are known; their
    /// identity is a hash over what may be megabytes. Empty where files are signed as a whole.
    sharded: Box<[OnceStamp]>,
    signature: OnceLock<Stamp>,
}

/// Nanoseconds since [`FIRST`].
#[derive(Debug, Clone, Copy)]
struct Stamp(u64);

impl Stamp {
    /// The time that goes with a hash.
    fn of(hash: [u8; 32]) -> Self {
        let [first, ..] = hash.as_chunks::<8>().0 else {
            return Self(0);
        };
        Self(u64::from_le_bytes(*first) % ((END - FIRST) * NANOSECONDS))
    }

    fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST) + Duration::from_nanos(self.0)
    }
}

/// A stamp and one, in half the memory of a [`OnceLock`]; zero before the first request for it.
#[derive(Debug, Default)]
struct OnceStamp(AtomicU64);

impl OnceStamp {
    /// The stamp, which `make` always makes the same.
    fn get_or_init(&self, make: impl FnOnce() -> Stamp) -> Stamp {
        if let Some(known) = self.0.load(Ordering::Relaxed).checked_sub(1) {
            return Stamp(known);
        }
        let stamp = make();
        self.0.store(stamp.0 + 1, Ordering::Relaxed);
        stamp
    }
}

impl Times {
    /// Hashes all names and digests once: some 100 MB where there are a million.
    pub(super) fn new(manifest: &Manifest) -> Self {
        let mut pieces = Pieces::new(MODEL_CONTEXT);
        pieces.add(manifest.hash().name().as_bytes());
        for file in manifest.files() {
            let name = file.name.as_str().as_bytes();
            pieces.add(&(name.len() as u64).to_le_bytes());
            pieces.add(name);
            // All listed digests of a model are of one algorithm, and as long.
            match &file.content {
                SignedContent::Whole(whole) => {
                    let annotated = whole.annotated_blake3();
                    pieces.add(&[if annotated.is_some() { 2 } else { 0 }]);
                    pieces.add(whole.digest().as_bytes());
                    if let Some(blake3) = annotated {
                        pieces.add(blake3);
                    }
                }
                SignedContent::Shards(shards) => {
                    pieces.add(&[1]);
                    pieces.add(&shards.shard_size().get().to_le_bytes());
                    pieces.add(&shards.len().to_le_bytes());
                    for digest in shards.iter() {
                        pieces.add(digest.as_bytes());
                    }
                }
            }
        }
        let sharded = match manifest.serialization().shard_size {
            None => 0,
            Some(_) => manifest.files().len(),
        };
        Self {
            directories: Stamp::of(pieces.hash()),
            sharded: (0..sharded).map(|_| OnceStamp::default()).collect(),
            signature: OnceLock::new(),
        }
    }

    /// Of a directory, whichever it is: it changes with any name and any content of the model.
    pub(super) fn of_directory(&self) -> SystemTime {
        self.directories.time()
    }

    /// Of file `index` of the manifest, about which `content` was signed.
    pub(super) fn of_file(&self, index: FileIndex, content: &SignedContent) -> SystemTime {
        let make = || Stamp::of(content.identity());
        let stamp = match self.sharded.get(index.get()) {
            Some(known) => known.get_or_init(make),
            None => make(),
        };
        stamp.time()
    }

    /// Of the signature file.
    pub(super) fn of_signature(&self, bytes: &[u8]) -> SystemTime {
        let hash = || Stamp::of(blake3::derive_key(SIGNATURE_CONTEXT, bytes));
        self.signature.get_or_init(hash).time()
    }
}

/// Many small pieces to hash, which is slow one by one.
struct Pieces {
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

impl Pieces {
    /// Bytes to hash at once.
    const ROOM: usize = 1 << 16;

    fn new(context: &str) -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key(context),
            waiting: Vec::with_capacity(Self::ROOM),
        }
    }

    fn add(&mut self, piece: &[u8]) {
        if self.waiting.len() + piece.len() > Self::ROOM {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
        self.waiting.extend_from_slice(piece);
    }

    fn hash(mut self) -> [u8; 32] {
        self.hasher.update(&self.waiting);
        self.hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::reading::testing::{Memory, sign};

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    }

    /// The times of the directories and of each file.
    fn times(files: &[(&str, &[u8])], shard_size: Option<u64>) -> (SystemTime, Vec<SystemTime>) {
        let source = Memory::default();
        for (name, bytes) in files {
            source.put(name, bytes);
        }
        let manifest = sign(&source, Algorithm::Sha256, shard_size, false);
        let times = Times::new(&manifest);
        let files: Vec<_> = manifest.indexed().collect();
        let all = || {
            let files = files.iter();
            let times = files.map(|(index, file)| times.of_file(*index, &file.content));
            times.collect::<Vec<_>>()
        };
        assert_eq!(all(), all(), "asked again");
        (times.of_directory(), all())
    }

    #[test]
    fn times_follow_from_what_was_signed_and_from_nothing_else() {
        for shard_size in [None, Some(3)] {
            let (root, files) = times(&[("a", b"version 1"), ("b", b"other")], shard_size);
            let again = times(&[("a", b"version 1"), ("b", b"other")], shard_size);
            assert_eq!((root, files.clone()), again);
            let (changed, other) = times(&[("a", b"version 2"), ("b", b"other")], shard_size);
            assert_ne!(
                seconds(other[0]),
                seconds(files[0]),
                "Python compares seconds"
            );
            assert_eq!(other[1], files[1], "what is the same keeps its time");
            assert_ne!(seconds(changed), seconds(root), "{shard_size:?}");
            // A name is signed, too, and lists of files are kept by the time of their directory.
            let (renamed, same) = times(&[("a", b"version 1"), ("c", b"other")], shard_size);
            assert_ne!(seconds(renamed), seconds(root));
            assert_eq!(same, files);
        }
        let whole = times(&[("a", b"version 1")], None);
        let sharded = times(&[("a", b"version 1")], Some(3));
        assert_ne!(whole, sharded);
    }

    #[test]
    fn names_and_digests_cant_be_shifted_into_one_another() {
        let (one, _) = times(&[("ab", b"x"), ("c", b"x")], None);
        let (other, _) = times(&[("a", b"x"), ("bc", b"x")], None);
        assert_ne!(one, other);
    }

    #[test]
    fn no_time_is_before_1980_or_in_the_future() {
        for edge in [[0; 32], [0xff; 32]]
            .into_iter()
            .chain((0_u64..1000).map(|seed| blake3::hash(&seed.to_le_bytes()).into()))
        {
            let time = Stamp::of(edge).time();
            assert!((FIRST..END).contains(&seconds(time)), "{time:?}");
            assert!(time < SystemTime::now());
        }
        assert_eq!(seconds(Stamp::of([0; 32]).time()), FIRST);
    }

    #[test]
    fn times_are_spread_so_that_seconds_rarely_meet() {
        let mut all: Vec<u64> = (0_u64..30_000)
            .map(|seed| seconds(Stamp::of(blake3::hash(&seed.to_le_bytes()).into()).time()))
            .collect();
        all.sort_unstable();
        all.dedup();
        // Of 30,000 in 1.4 · 10⁹, a third of a pair meets.
        assert!(all.len() > 29_990, "{}", all.len());
    }

    #[test]
    fn a_signature_file_has_the_time_of_its_bytes() {
        let source = Memory::default();
        source.put("a", b"a");
        let manifest = sign(&source, Algorithm::Sha256, None, false);
        let times = || Times::new(&manifest);
        assert_eq!(times().of_signature(b"one"), times().of_signature(b"one"));
        assert_ne!(times().of_signature(b"one"), times().of_signature(b"two"));
    }
}
