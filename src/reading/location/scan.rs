//! What lies in a model: of that, what a signature has to account for, and what is to be signed.

use std::path::PathBuf;

use super::error::LocationError;
use super::model::{ModelLocation, lexical_name};
use super::signature::{SIGNATURE_NAME, SignaturePlace};
use crate::manifest::{DEFAULT_IGNORE_PATHS, Manifest};
use crate::name::{Escaped, FileName};
use crate::reading::source::{ABSENT, LocalDirectory, Scan};
use crate::reading::table::shipped;

impl ModelLocation {
    /// The names of paths given by a user, absolute or relative to the model.
    ///
    /// # Errors
    /// [`LocationError::Ignored`] for one outside of the model.
    pub fn ignored(&self, paths: &[PathBuf]) -> Result<Vec<FileName>, LocationError> {
        paths
            .iter()
            .map(|path| {
                let name = if path.is_absolute() {
                    self.name_of(path)
                } else {
                    lexical_name(path)
                };
                name.ok_or_else(|| LocationError::Ignored(Escaped::bounded_path(path)))
            })
            .collect()
    }

    /// Everything there that a signature made with `manifest` has to account for: all but what it
    /// ignores, what the user ignores, and the signature.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn scan_signed(
        &self,
        directory: &LocalDirectory,
        manifest: &Manifest,
        ignored: &[FileName],
    ) -> Result<Scan, LocationError> {
        let mut scan = self.scan(directory, Some(manifest), |name| {
            manifest.is_ignored(name) && !manifest.lists_within(name)
                || ignored.iter().any(|ignored| name.is_within(ignored))
        })?;
        // The signature is left out, whatever is signed under its name.
        if let Some(name) = &self.signature_name
            && let Some(index) = manifest.position(name.as_str())
            && let Some(len) = scan.signed.get_mut(index.get())
        {
            *len = ABSENT;
        }
        Ok(scan)
    }

    /// Everything there that is to be signed: all but what every signer leaves out, our own tables,
    /// what the user ignores, and the signature.
    ///
    /// # Errors
    /// [`LocationError::Model`].
    pub fn scan_to_sign(
        &self,
        directory: &LocalDirectory,
        ignored: &[FileName],
    ) -> Result<Scan, LocationError> {
        self.scan(directory, None, |name| is_left_out(name, ignored))
    }

    /// Whether the signature file has a name in the model that isn't usual for one, and that would
    /// be signed if it weren't for that: what is there is content.
    pub fn signature_is_content(&self, ignored: &[FileName]) -> bool {
        let (Some(name), SignaturePlace::Given(_)) = (&self.signature_name, &self.signature) else {
            return false;
        };
        if let Some(single) = &self.single {
            return *name == single.name;
        }
        let above = std::iter::successors(Some(name.as_str()), |path| {
            path.rsplit_once('/').map(|(parent, _)| parent)
        });
        let left_out = above
            .filter_map(|path| FileName::new(path).ok())
            .any(|path| is_left_out(&path, ignored));
        name.as_str() != SIGNATURE_NAME && !left_out
    }

    fn scan(
        &self,
        directory: &LocalDirectory,
        manifest: Option<&Manifest>,
        skip: impl Fn(&FileName) -> bool + Sync,
    ) -> Result<Scan, LocationError> {
        let skip = |name: &FileName| Some(name) == self.signature_name.as_ref() || skip(name);
        let scan = match (&self.single, manifest) {
            (Some(single), _) => directory.scan_one(&single.name),
            (None, Some(manifest)) => directory.scan_for(manifest, skip),
            (None, None) => directory.scan(skip),
        };
        scan.map_err(|error| self.failed(error))
    }
}

/// What is signed of no model: what every signer leaves out, our own tables, and what the user
/// ignores.
fn is_left_out(name: &FileName, ignored: &[FileName]) -> bool {
    DEFAULT_IGNORE_PATHS.contains(&name.as_str())
        || name.as_str() == shipped::DIRECTORY
        || ignored.iter().any(|ignored| name.is_within(ignored))
}
