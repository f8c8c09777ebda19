//! Statements to be signed.

use super::resource::{Resource, root_digest_of};
use super::serialization::Serialization;
use super::wire::{
    PREDICATE_TYPE, STATEMENT_TYPE, WireAnnotations, WireDigests, WirePredicate, WireResource,
    WireSerialization, WireStatement, WireSubject,
};

/// A statement to be signed. Its maker keeps the rules; see [`Statement`](super::Statement).
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) subject_name: &'a str,
    pub(crate) serialization: Serialization,
    pub(crate) allow_symlinks: bool,
    pub(crate) ignore_paths: Vec<&'a str>,
    /// In the order in which they will be listed.
    pub(crate) resources: Vec<Resource<'a>>,
}

impl Draft<'_> {
    /// The payload: the statement as compact JSON. `algorithm` is what the resources' algorithm is
    /// called.
    pub(in crate::oms) fn to_json(&self, algorithm: &str) -> Vec<u8> {
        let root = root_digest_of(self.resources.iter().map(|resource| &resource.digest));
        let wire = WireStatement {
            statement_type: STATEMENT_TYPE,
            subject: [WireSubject {
                name: self.subject_name,
                digest: WireDigests {
                    sha256: root.to_hex(),
                },
            }],
            predicate_type: PREDICATE_TYPE,
            predicate: WirePredicate {
                serialization: WireSerialization {
                    method: self.serialization.method(),
                    hash_type: self.serialization.hash.name(),
                    shard_size: self.serialization.shard_size,
                    allow_symlinks: self.allow_symlinks,
                    ignore_paths: &self.ignore_paths,
                },
                resources: self
                    .resources
                    .iter()
                    .map(|resource| WireResource {
                        name: &resource.name,
                        algorithm,
                        digest: resource.digest.to_hex(),
                        annotations: resource.annotations.as_ref().map(|it| WireAnnotations {
                            size: it.size,
                            blake3: it.blake3.map(hex::encode),
                        }),
                    })
                    .collect(),
            },
        };
        serde_json::to_vec(&wire).expect("strings, numbers and arrays always serialise")
    }
}
