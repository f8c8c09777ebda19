//! Positions of files in a manifest.

use super::{Manifest, ManifestFile};

/// The position of a file in its manifest, from zero. A type of its own, so that it can't be taken
/// for a position of a chunk, an inode number, or an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(usize);

impl FileIndex {
    /// The file at this position.
    pub const fn new(position: usize) -> Self {
        Self(position)
    }

    /// The position.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The same as a number, for keys.
    pub const fn number(self) -> u64 {
        self.0 as u64
    }
}

impl Manifest {
    /// The file at a position that this manifest has.
    ///
    /// # Panics
    /// If it is a position of another manifest, and this one has fewer files.
    pub fn at(&self, index: FileIndex) -> &ManifestFile {
        &self.files()[index.0]
    }

    /// The position of the file with this name.
    pub fn position(&self, name: &str) -> Option<FileIndex> {
        let files = self.files();
        let found = files.binary_search_by(|file| file.name.as_str().cmp(name));
        found.ok().map(FileIndex)
    }

    /// All files with their positions, in order.
    pub fn indexed(&self) -> impl ExactSizeIterator<Item = (FileIndex, &ManifestFile)> {
        let files = self.files().iter().enumerate();
        files.map(|(index, file)| (FileIndex(index), file))
    }
}
