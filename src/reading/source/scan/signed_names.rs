//! Which of the signed files lie beneath a directory.

use crate::manifest::ManifestFile;

/// The signed names beneath one directory.
pub(super) struct SignedNames<'a> {
    files: &'a [ManifestFile],
    /// Index of the first.
    first: usize,
    /// Bytes that all of them begin with.
    prefix: usize,
}

impl<'a> SignedNames<'a> {
    pub(super) fn new(files: &'a [ManifestFile], directory: &str) -> Self {
        let (first, prefix) = if directory.is_empty() {
            (0, 0)
        } else {
            let prefix = format!("{directory}/");
            let first = files.partition_point(|file| file.name.as_str() < prefix.as_str());
            (first, prefix.len())
        };
        let rest = &files[first..];
        let beneath = |file: &ManifestFile| {
            prefix == 0
                || file
                    .name
                    .as_str()
                    .strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        Self {
            files: &rest[..rest.partition_point(beneath)],
            first,
            prefix,
        }
    }

    /// The file that has this name in the directory.
    pub(super) fn find(&self, entry: &[u8]) -> Option<usize> {
        let prefix = self.prefix;
        self.files
            .binary_search_by(|file| file.name.as_str().as_bytes()[prefix..].cmp(entry))
            .ok()
            .map(|at| self.first + at)
    }
}
