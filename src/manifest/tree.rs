//! The names of a manifest together: the rules that make them a tree, and what lies in it.

use super::error::ManifestError;
use super::{DEFAULT_IGNORE_PATHS, Manifest};
use crate::name::{Escaped, FileName};

impl Manifest {
    /// The rules about names together. The files are sorted by name.
    pub(super) fn check_tree(&self) -> Result<(), ManifestError> {
        // Every name that begins with another one follows it, with only such names between. So the
        // names that the current one begins with are a stack.
        let mut prefixes: Vec<&str> = Vec::new();
        for file in &self.files {
            let name = file.name.as_str();
            while prefixes
                .last()
                .is_some_and(|prefix| !name.starts_with(prefix))
            {
                prefixes.pop();
            }
            for prefix in &prefixes {
                match name.as_bytes().get(prefix.len()) {
                    None => {
                        return Err(ManifestError::Duplicate {
                            name: Escaped::bounded(name),
                        });
                    }
                    Some(b'/') => {
                        return Err(ManifestError::FileAndDirectory {
                            file: Escaped::bounded(prefix),
                            within: Escaped::bounded(name),
                        });
                    }
                    Some(_) => {}
                }
            }
            prefixes.push(name);
        }
        // Both listed and left out: verifiers would disagree about it.
        match self
            .files
            .iter()
            .find(|file| self.is_recorded_ignored(file.name.as_str()))
        {
            Some(file) => Err(ManifestError::ListedAndIgnored {
                name: Escaped::bounded(file.name.as_str()),
            }),
            None => Ok(()),
        }
    }

    /// Whether a file that is found in the model and is *not* part of the manifest is no reason to
    /// complain: the signer left it out, or every signer does. False for what is listed, and for
    /// what only lies in the same directory.
    pub fn is_ignored(&self, path: &FileName) -> bool {
        let by_default = || {
            path.components()
                .next()
                .is_some_and(|first| DEFAULT_IGNORE_PATHS.contains(&first))
        };
        (self.is_recorded_ignored(path.as_str()) || by_default())
            && self.file(path.as_str()).is_none()
    }

    /// Whether any file is listed beneath `directory`.
    pub fn lists_within(&self, directory: &FileName) -> bool {
        let prefix = format!("{}/", directory.as_str());
        let first = self
            .files
            .partition_point(|file| file.name.as_str() < prefix.as_str());
        self.files
            .get(first)
            .is_some_and(|file| file.name.as_str().starts_with(&prefix))
    }

    /// Whether a path is one of `ignore_paths` or beneath one.
    fn is_recorded_ignored(&self, path: &str) -> bool {
        if self.ignore_paths.is_empty() {
            return false;
        }
        let recorded = |path: &str| {
            self.ignore_paths
                .binary_search_by(|ignored| ignored.as_str().cmp(path))
                .is_ok()
        };
        recorded(path)
            || path
                .match_indices('/')
                .any(|(end, _)| recorded(&path[..end]))
    }
}
