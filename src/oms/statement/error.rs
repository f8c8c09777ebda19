//! What is wrong with a payload.

use super::wire::{
    MAX_IGNORE_PATHS, MAX_RESOURCES, PREDICATE_TYPE_V0, PREDICATE_TYPE_V1, STATEMENT_TYPE,
};
use crate::digest::{Algorithm, DigestError};
use crate::name::Escaped;

/// A payload that isn't an OMS statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not JSON, or not of this form. Escaped.
    #[error("the signed payload is not an OMS statement: {0}")]
    Json(Escaped),
    /// Another `_type`.
    #[error("the statement's _type is \"{0}\", not \"{STATEMENT_TYPE}\"")]
    Type(Escaped),
    /// Another `predicateType`.
    #[error("the statement's predicateType is \"{0}\", not \"{PREDICATE_TYPE_V1}<minor>\"")]
    PredicateType(Escaped),
    /// The `predicateType` of releases before 1.0, signed as later ones do.
    #[error("the statement is in the format of model signing 0.2 and not signed as 0.2 did")]
    Legacy,
    /// Another `predicateType`, signed as releases before 1.0 did.
    #[error(
        "the statement is signed as model signing 0.2 did, so its predicateType \
         must be \"{PREDICATE_TYPE_V0}\", not \"{0}\""
    )]
    NotLegacy(Escaped),
    /// Not exactly one subject.
    #[error("the statement has {found} subjects, exactly one is allowed")]
    Subjects {
        /// Subjects found.
        found: usize,
    },
    /// The subject has no name.
    #[error("the statement's subject has an empty name")]
    SubjectName,
    /// The subject has no `digest.sha256`.
    #[error("the statement's subject has no sha256 digest")]
    NoRootDigest,
    /// The subject's digest isn't one.
    #[error("the statement's subject has a malformed root digest: {0}")]
    MalformedRootDigest(#[source] DigestError),
    /// The subject's digest isn't that of the resources.
    #[error("the root digest is stated as {stated}, but the listed resources give {computed}")]
    RootDigest {
        /// What the subject says, in hexadecimal digits.
        stated: String,
        /// What the resources give, in hexadecimal digits.
        computed: String,
    },
    /// A member that must be there isn't.
    #[error("the statement has no {0}")]
    Missing(&'static str),
    /// Neither `files` nor `shards`.
    #[error("unknown serialization method \"{0}\" (known: files, shards)")]
    Method(Escaped),
    /// `hash_type` isn't a known hash.
    #[error("the statement's hash_type: {0}")]
    HashType(#[source] DigestError),
    /// Shards of unknown size.
    #[error("the serialization method is shards and there is no shard_size")]
    NoShardSize,
    /// Not a positive whole number.
    #[error("the statement's shard_size is {0}, not a positive whole number")]
    ShardSize(Escaped),
    /// Nothing was signed.
    #[error("the statement lists no resources")]
    NoResources,
    /// More than [`MAX_RESOURCES`].
    #[error("the statement lists {found} resources, at most {MAX_RESOURCES} are allowed")]
    Resources {
        /// Resources found.
        found: usize,
    },
    /// More than [`MAX_IGNORE_PATHS`].
    #[error("the statement has {found} ignore_paths, at most {MAX_IGNORE_PATHS} are allowed")]
    IgnorePaths {
        /// Entries found.
        found: usize,
    },
    /// A resource breaks a rule.
    #[error("resource \"{name}\": {rule}")]
    Resource {
        /// The resource, escaped and bounded.
        name: Escaped,
        /// The rule.
        rule: ResourceRule,
    },
}

/// The rules for a resource by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceRule {
    /// Not of the registry.
    #[error("unknown hash algorithm \"{found}\" (known: sha256, blake2b, blake3)")]
    UnknownAlgorithm {
        /// The algorithm as written.
        found: Escaped,
    },
    /// A known algorithm that contradicts `hash_type` or `shard_size`.
    #[error("its algorithm \"{found}\" contradicts the statement's hash_type {hash} or shard_size")]
    OtherAlgorithm {
        /// The algorithm as written.
        found: Escaped,
        /// The statement's.
        hash: Algorithm,
    },
    /// A legacy subject that was hashed in a way that has no verifier any more.
    #[error("its actual_hash_algorithm is \"{found}\", not file-sha256")]
    LegacyAlgorithm {
        /// The algorithm as written.
        found: Escaped,
    },
    /// A legacy subject without `digest.sha256`.
    #[error("it has no sha256 digest")]
    NoDigest,
    /// A malformed digest.
    #[error(transparent)]
    Digest(DigestError),
    /// Annotations of which two readers could make different things: a member that is known comes
    /// twice, or a name is no text. Escaped.
    #[error("its annotations are malformed: {0}")]
    Annotations(Escaped),
    /// A BLAKE3 digest, and another one in the annotations.
    #[error("its digest is of blake3, and its annotation blake3 is another one")]
    TwoBlake3,
}
