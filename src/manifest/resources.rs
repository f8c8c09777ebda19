//! The resources that a bundle lists, from the files of a manifest and back.
//!
//! Doesn't: put shards together, see the file `shards.rs`.

use super::content::{SignedContent, WholeDigest};
use super::error::ManifestError;
use super::file::ManifestFile;
use super::shape::{ModelShape, ONLY_FILE};
use crate::name::FileName;
use crate::oms::sign::Compat;
use crate::oms::statement::{Resource, Text};

/// The files that are listed as a whole, sorted by name.
pub(super) fn whole_files(
    mut resources: Vec<Resource<'_>>,
    shape: &ModelShape,
) -> Result<Vec<ManifestFile>, ManifestError> {
    if let (Some(own), [only]) = (shape.single_file(), &resources[..])
        && *only.name == *ONLY_FILE
    {
        return Ok(vec![ManifestFile {
            name: own.clone(),
            content: SignedContent::Whole(whole_digest(only)),
        }]);
    }
    resources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let names = FileName::all(resources.iter().map(|resource| &*resource.name))?
        .collect::<Vec<_>>()
        .into_iter();
    Ok(resources
        .into_iter()
        .zip(names)
        .map(|(resource, name)| ManifestFile {
            name,
            content: SignedContent::Whole(whole_digest(&resource)),
        })
        .collect())
}

fn whole_digest(resource: &Resource<'_>) -> WholeDigest {
    let annotations = resource.annotations.as_deref().copied();
    WholeDigest::new(resource.digest, annotations.unwrap_or_default())
}

/// The resources as they are listed in a bundle: sorted by name, in code point order (OMS v1.0,
/// 5.2.1). With shards that is not the order of their ranges.
pub(super) fn resources(
    files: &[ManifestFile],
    is_single_file: bool,
    compat: Compat,
) -> Vec<Resource<'_>> {
    let mut resources = Vec::with_capacity(files.len());
    for file in files {
        let name = match compat {
            Compat::Reference if is_single_file => ONLY_FILE,
            Compat::Reference | Compat::Specification => file.name.as_str(),
        };
        match &file.content {
            SignedContent::Whole(whole) => resources.push(Resource {
                name: Text::Borrowed(name),
                digest: *whole.digest(),
                annotations: whole.annotations().boxed(),
            }),
            SignedContent::Shards(shards) => {
                let mut start = 0_u64;
                for digest in shards.iter() {
                    let end = shards
                        .len()
                        .min(start.saturating_add(shards.shard_size().get()));
                    resources.push(Resource {
                        name: format!("{name}:{start}:{end}").into(),
                        digest,
                        annotations: None,
                    });
                    start = end;
                }
            }
        }
    }
    resources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    resources
}
