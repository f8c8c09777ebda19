//! Inode numbers of files whose length is only claimed.
//!
//! Guarantees: of each inode number, one length was told and never another. A file whose length
//! can't be proved yet is shown under a number of its own for each length that its source claims;
//! once the length is proved, the file is the inode that has that length, which is the one in the
//! [tree](super::Tree) unless the last claim was true. Any other number is stale for ever: the
//! kernel, which may still have a false length for it, can't open it. Doesn't: ask for claims.
//!
//! The number is made of the file's place in the manifest and the length, so that another process
//! which takes a mount over knows what the kernel was told ; only for more files or larger
//! ones than there are bits for it is the next free one.
//!
//! Users who mustn't be told a claim are shown a hidden inode: empty, and stale once the length is
//! proved.
//!
//! So it doesn't matter when the kernel applies the answers that it is given, and in which order:
//! what it was told of an inode that is read never has to be corrected.

use std::collections::HashMap;
use std::sync::RwLock;

use super::inode::Inode;
use crate::manifest::FileIndex;
use crate::reading::ProvedLength;
use crate::sync::{read, write};

/// The first number that no tree has: manifests have far fewer files.
const FIRST: u64 = 1 << 48;

/// The bit of numbers that are made of a file and a length.
const MADE: u64 = 1 << 62;

/// Bits of such a number that are the length in bytes; those above, up to [`MADE`], are the file.
const LEN_BITS: u32 = 42;

/// The first number of those that tell no claim, up to [`MADE`]. Fewer claims than would lead here
/// are ever made.
const HIDDEN: u64 = 1 << 52;

/// A file under the length that its source claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) ino: Inode,
    /// Bytes.
    pub(super) len: u64,
}

impl Claimed {
    /// Whether its number was told with another length than the one that is proved by now.
    pub(super) fn is_disproved_by(self, len: ProvedLength) -> bool {
        what_makes(self.ino).is_some() && self.len != len.bytes()
    }
}

/// The numbers that were given out for claims, at most one for each file.
#[derive(Debug, Default)]
pub(super) struct ClaimedInodes(RwLock<Given>);

#[derive(Debug, Default)]
struct Given {
    count: u64,
    by_file: HashMap<FileIndex, Claimed>,
    files: HashMap<Inode, FileIndex>,
}

impl ClaimedInodes {
    /// The inode of file `index` while its source claims `len` bytes; `None` if the length is known
    /// by now, which `proved` tells. The number for any other claim becomes stale.
    pub(super) fn claim(
        &self,
        index: FileIndex,
        len: u64,
        proved: impl FnOnce() -> Option<ProvedLength>,
    ) -> Option<Inode> {
        let mut given = write(&self.0);
        // Asked under the lock: from the first answer of `inode` on, the number is what it is.
        if proved().is_some() {
            return None;
        }
        match given.by_file.get(&index) {
            Some(claimed) if claimed.len == len => return Some(claimed.ino),
            _ => given.withdraw(index),
        }
        let ino = made_of(index, len).unwrap_or_else(|| given.next());
        given.insert(index, Claimed { ino, len });
        Some(ino)
    }

    /// The inode of file `index`, whose length is proved: the one that was claimed to have it, or
    /// `in_tree`.
    pub(super) fn inode(&self, index: FileIndex, len: ProvedLength, in_tree: Inode) -> Inode {
        match self.claimed(index) {
            None => in_tree,
            Some(claimed) if claimed.len == len.bytes() => claimed.ino,
            Some(_) => {
                let mut given = write(&self.0);
                match given.by_file.get(&index) {
                    Some(claimed) if claimed.len == len.bytes() => return claimed.ino,
                    _ => given.withdraw(index),
                }
                in_tree
            }
        }
    }

    /// The inode under which file `index` is shown without any claim, until its length is proved.
    pub(super) fn hidden(index: FileIndex) -> Inode {
        Inode::new(HIDDEN + index.number())
    }

    /// What file `index` is claimed to be, if it is shown so.
    pub(super) fn claimed(&self, index: FileIndex) -> Option<Claimed> {
        let given = read(&self.0);
        given.by_file.get(&index).copied()
    }

    /// The file that has this number, and the length that goes with it; `None` if none has, or it
    /// is claimed to have another by now. The number may have been given out by an earlier process.
    pub(super) fn file(&self, ino: Inode) -> Option<(FileIndex, Claimed)> {
        if (HIDDEN..MADE).contains(&ino.number()) {
            let index = usize::try_from(ino.number() - HIDDEN).ok()?;
            return Some((FileIndex::new(index), Claimed { ino, len: 0 }));
        }
        if !Self::is_one(ino) {
            return None;
        }
        let given = read(&self.0);
        if let Some(made) = what_makes(ino) {
            let other = given.by_file.get(&made.0);
            return other.is_none_or(|other| other.ino == ino).then_some(made);
        }
        let index = *given.files.get(&ino)?;
        Some((index, *given.by_file.get(&index)?))
    }

    /// Whether `ino` is a number that file `index` has with this length and no other, whoever gave
    /// it out.
    pub(super) fn is_made_of(ino: Inode, index: FileIndex, len: ProvedLength) -> bool {
        made_of(index, len.bytes()) == Some(ino)
    }

    /// Whether a number could have been given out, and so may be stale.
    pub(super) fn is_one(ino: Inode) -> bool {
        ino.number() >= FIRST
    }
}

impl Given {
    /// A number that no claim ever had.
    fn next(&mut self) -> Inode {
        let ino = Inode::new(FIRST + self.count);
        self.count += 1;
        ino
    }

    fn insert(&mut self, index: FileIndex, claimed: Claimed) {
        self.files.insert(claimed.ino, index);
        self.by_file.insert(index, claimed);
    }

    fn withdraw(&mut self, index: FileIndex) {
        if let Some(claimed) = self.by_file.remove(&index) {
            self.files.remove(&claimed.ino);
        }
    }
}

/// The number that stands for file `index` with a length of `len` bytes, if there are bits for it.
fn made_of(index: FileIndex, len: u64) -> Option<Inode> {
    let index = index.number();
    let fits = index < MADE >> LEN_BITS && len < 1 << LEN_BITS;
    fits.then(|| Inode::new(MADE | index << LEN_BITS | len))
}

/// The file and the length of which [`made_of`] makes `ino`.
fn what_makes(ino: Inode) -> Option<(FileIndex, Claimed)> {
    let both = ino.number().checked_sub(MADE)?;
    let index = FileIndex::new(usize::try_from(both >> LEN_BITS).ok()?);
    let len = both & ((1 << LEN_BITS) - 1);
    (made_of(index, len)? == ino).then_some((index, Claimed { ino, len }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::manifest::{ShardDigests, SignedContent};

    fn proved(len: u64) -> ProvedLength {
        let size = std::num::NonZeroU64::new(len).unwrap();
        let shards = ShardDigests::new(Algorithm::Sha256, size, len, vec![0; 32]).unwrap();
        ProvedLength::of_signed(&SignedContent::Shards(shards)).unwrap()
    }

    #[test]
    fn each_claim_has_a_number_of_its_own() {
        let inodes = ClaimedInodes::default();
        let claim = |index, len| inodes.claim(FileIndex::new(index), len, || None).unwrap();
        let first = claim(3, 100);
        assert_eq!(claim(3, 100), first);
        assert_ne!(claim(4, 100), first);
        let second = claim(3, 200);
        assert_ne!(second, first);
        assert_eq!(inodes.file(first), None, "stale");
        assert_eq!(claim(3, 100), first, "the same length, so the same number");
        assert_eq!(inodes.file(second), None);
        assert_eq!(inodes.file(Inode::new(7)), None);
    }

    #[test]
    fn what_no_bits_are_left_for_has_a_number_of_its_own() {
        let inodes = ClaimedInodes::default();
        let claim = |index, len| inodes.claim(FileIndex::new(index), len, || None).unwrap();
        let (files, bytes) = (1 << 20, 1 << 42);
        let given = [
            claim(files - 1, bytes - 1),
            claim(files - 2, bytes),
            claim(files, 0),
            claim(files + 1, bytes - 1),
            claim(0, u64::MAX),
        ];
        let distinct: std::collections::HashSet<_> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
        for ino in given {
            let (index, claimed) = inodes.file(ino).unwrap();
            assert_eq!(claimed.ino, ino);
            assert_eq!(inodes.claimed(index), Some(claimed));
            assert!(ClaimedInodes::is_one(ino));
        }
        assert_eq!(what_makes(given[1]), None);
        assert_eq!(what_makes(Inode::new(u64::MAX)), None);
    }

    #[test]
    fn numbers_of_an_earlier_process_are_known() {
        let earlier = ClaimedInodes::default();
        let index = FileIndex::new(3);
        let (first, second) = (
            earlier.claim(index, 100, || None).unwrap(),
            earlier.claim(index, 200, || None).unwrap(),
        );
        let later = ClaimedInodes::default();
        assert_eq!(later.file(first).unwrap().1.len, 100);
        assert_eq!(later.file(second).unwrap().1.len, 200);
        assert_eq!(later.claim(index, 200, || None), Some(second));
        assert_eq!(later.file(first), None, "one at a time");
        assert!(ClaimedInodes::is_made_of(second, index, proved(200)));
        assert!(!ClaimedInodes::is_made_of(second, index, proved(100)));
        assert!(!ClaimedInodes::is_made_of(
            second,
            FileIndex::new(4),
            proved(200)
        ));
        assert!(!ClaimedInodes::is_made_of(
            Inode::new(7),
            index,
            proved(200)
        ));
    }

    #[test]
    fn a_hidden_file_is_empty_whatever_is_claimed() {
        let inodes = ClaimedInodes::default();
        let hidden = ClaimedInodes::hidden(FileIndex::new(3));
        inodes.claim(FileIndex::new(3), 100, || None).unwrap();
        assert_eq!(
            inodes.file(hidden),
            Some((
                FileIndex::new(3),
                Claimed {
                    ino: hidden,
                    len: 0
                }
            ))
        );
        assert_ne!(
            inodes.inode(FileIndex::new(3), proved(100), Inode::new(10)),
            hidden
        );
        assert!(ClaimedInodes::is_one(hidden));
    }

    #[test]
    fn a_proved_length_is_that_of_one_inode() {
        let inodes = ClaimedInodes::default();
        let claim = |index, len| inodes.claim(FileIndex::new(index), len, || None).unwrap();
        let (honest, lying) = (claim(0, 100), claim(1, 200));
        let in_tree = |index: usize| Inode::new(10 + index as u64);
        let inode = |index, len| inodes.inode(FileIndex::new(index), proved(len), in_tree(index));
        for _ in 0..2 {
            assert_eq!(inode(0, 100), honest);
            assert_eq!(inode(1, 100), in_tree(1));
            assert_eq!(inode(2, 100), in_tree(2));
        }
        assert!(inodes.file(honest).is_some());
        assert_eq!(inodes.file(lying).unwrap().1.len, 200, "its number says so");
        // No claim counts once the length is known.
        assert_eq!(
            inodes.claim(FileIndex::new(1), 100, || Some(proved(100))),
            None
        );
        assert_eq!(inode(1, 100), in_tree(1));
    }
}
