//! Statements to be signed: those that are signatures of models, and others about a model.

use serde::Serialize;

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

/// Another statement about a model than its signature.
pub(in crate::oms) struct OtherDraft<'a, P> {
    pub(in crate::oms) subject_name: &'a str,
    /// The root digest of the model, in hexadecimal digits.
    pub(in crate::oms) root_sha256: String,
    pub(in crate::oms) predicate_type: &'static str,
    pub(in crate::oms) predicate: &'a P,
}

impl<P: Serialize> OtherDraft<'_, P> {
    /// The payload: the statement as compact JSON.
    pub(in crate::oms) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&WireStatement {
            statement_type: STATEMENT_TYPE,
            subject: [WireSubject {
                name: self.subject_name,
                digest: WireDigests {
                    sha256: self.root_sha256.clone(),
                },
            }],
            predicate_type: self.predicate_type,
            predicate: self.predicate,
        })
    }
}
