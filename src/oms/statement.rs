//! What a signer states: an in-toto Statement v1 with the OMS predicate (OMS v1.0, 5).
//!
//! Guarantees: a [`Statement`] obeys every rule that concerns the statement as a whole and each
//! resource by itself: types, exactly one subject, a root digest that is the SHA-256 over the
//! resources' digests in listed order, a known method and hash, digests of that hash.
//!
//! Doesn't: check a signature, or look into names. Names, duplicates and shard ranges are rules
//! about resources together, and [`crate::manifest`] checks them.
//!
//! The format of release 0.2 (`predicateType` [`PREDICATE_TYPE_V0`]) lists files as subjects and
//! says nothing else. [`Statement::parse_legacy`] reads it and nothing but it, [`Statement::parse`]
//! anything but it: which one is right depends on how the payload was signed. It is never written.
//!
//! Accepted, because published bundles have it: resources in any order, a `shard_size` written as
//! `100.0`, the algorithm of a shard written as `sha256-sharded-100`, an unused `shard_size` or
//! `null` with the method `files`, no `allow_symlinks` (taken as false), unknown members anywhere.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::{Few, strict};
use crate::digest::{Algorithm, Digest, DigestError};
use crate::name::Escaped;

/// The `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The `predicateType` that is written. Every `v1.<minor>` is read: minor versions only add
/// members.
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// What every accepted `predicateType` begins with.
const PREDICATE_TYPE_V1: &str = "https://model_signing/signature/v1.";

/// The `predicateType` of releases before 1.0.
pub const PREDICATE_TYPE_V0: &str = "https://model_signing/Digests/v0.1";

/// The subject's name of statements that have none. The Python reference takes the same.
pub const LEGACY_SUBJECT_NAME: &str = "compat-undefined-not-present";

/// Most resources in one statement. Each takes over 100 bytes of a payload, so no more fit into a
/// bundle of [`super::bundle::MAX_BUNDLE`] bytes, unless they are none. Later ones are counted and
/// not kept.
pub const MAX_RESOURCES: usize = 1_000_000;

/// Most entries of `ignore_paths`.
pub const MAX_IGNORE_PATHS: usize = 100_000;

/// Largest whole number that a JSON number with a fraction can state exactly: 2⁵³.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// How a model was cut into resources (OMS v1.0, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serialization {
    /// One resource for a file.
    Files,
    /// One resource for every `size` bytes of a file, and one for what is left.
    Shards {
        /// Bytes in every shard of a file but its last.
        size: NonZeroU64,
    },
}

impl Serialization {
    /// The name of the method in the predicate.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Shards { .. } => "shards",
        }
    }
}

/// Text of a payload, or made for one. A million resources have some each, so it takes as little as
/// a reference: the rare copy is behind two.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// As the payload has it.
    Borrowed(&'a str),
    /// Without the escapes that the payload has, or made here.
    Owned(Box<String>),
}

const _: () = assert!(size_of::<Text<'_>>() == size_of::<&str>());

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Owned(Box::new(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(text.to_owned().into())
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A resource as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The name: a path, or with shards `<path>:<start>:<end>`. Not validated.
    pub name: Text<'a>,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// A statement that obeys the rules; see the [module](self).
#[derive(Debug)]
pub struct Statement<'a> {
    subject_name: Cow<'a, str>,
    root_digest: Digest,
    serialization: Serialization,
    hash: Algorithm,
    allow_symlinks: bool,
    ignore_paths: Vec<String>,
    resources: Vec<Resource<'a>>,
}

impl<'a> Statement<'a> {
    /// Validates the payload of an envelope.
    ///
    /// Whether the payload may be believed is not known here: outside of an unverified look, only
    /// the payload of a [`super::verify::VerifiedStatement`] belongs here.
    ///
    /// # Errors
    /// A [`StatementError`] that says which rule is broken, and by which resource.
    pub fn parse(payload: &'a [u8]) -> Result<Self, StatementError> {
        let raw: RawStatement<'a> = strict::json(payload).map_err(StatementError::Json)?;

        if raw.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type(Escaped::bounded(&raw.statement_type)));
        }
        check_predicate_type(&raw.predicate_type)?;

        let [subject] = <[RawSubject<'a>; 1]>::try_from(raw.subject.items)
            .map_err(|_| StatementError::Subjects { found: 0 })?;
        if raw.subject.count != 1 {
            return Err(StatementError::Subjects {
                found: raw.subject.count,
            });
        }
        if subject.name.is_empty() {
            return Err(StatementError::SubjectName);
        }
        let root_digest = subject.digest.sha256.ok_or(StatementError::NoRootDigest)?;
        let root_digest = Digest::from_hex(Algorithm::Sha256, &root_digest)
            .map_err(StatementError::MalformedRootDigest)?;

        let predicate = raw.predicate.ok_or(StatementError::Missing("predicate"))?;
        let serialization = predicate
            .serialization
            .ok_or(StatementError::Missing("predicate.serialization"))?;
        let resources = predicate
            .resources
            .ok_or(StatementError::Missing("predicate.resources"))?;

        let hash =
            Algorithm::from_name(&serialization.hash_type).map_err(StatementError::HashType)?;
        let method = match &*serialization.method {
            "files" => Serialization::Files,
            "shards" => Serialization::Shards {
                size: shard_size(serialization.shard_size.as_ref())?,
            },
            other => return Err(StatementError::Method(Escaped::bounded(other))),
        };

        if resources.count > MAX_RESOURCES {
            return Err(StatementError::Resources {
                found: resources.count,
            });
        }
        let ignore_paths = serialization.ignore_paths.unwrap_or_default();
        if ignore_paths.count > MAX_IGNORE_PATHS {
            return Err(StatementError::IgnorePaths {
                found: ignore_paths.count,
            });
        }
        let resources = check_resources(resources.items, method, hash)?;
        let computed = root_digest_of(resources.iter().map(|resource| &resource.digest));
        if computed != root_digest {
            return Err(StatementError::RootDigest {
                stated: root_digest.to_hex(),
                computed: computed.to_hex(),
            });
        }

        Ok(Self {
            subject_name: subject.name,
            root_digest,
            serialization: method,
            hash,
            allow_symlinks: serialization.allow_symlinks.unwrap_or(false),
            ignore_paths: ignore_paths.items,
            resources,
        })
    }

    /// Validates a payload in the format of release 0.2: each subject is a file and the SHA-256 of
    /// its content. The root digest is computed, and the name is [`LEGACY_SUBJECT_NAME`].
    ///
    /// # Errors
    /// A [`StatementError`] that says which rule is broken, and by which subject.
    pub fn parse_legacy(payload: &'a [u8]) -> Result<Self, StatementError> {
        let raw: RawLegacyStatement<'a> = strict::json(payload).map_err(StatementError::Json)?;
        if raw.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type(Escaped::bounded(&raw.statement_type)));
        }
        if raw.predicate_type != PREDICATE_TYPE_V0 {
            return Err(StatementError::NotLegacy(Escaped::bounded(
                &raw.predicate_type,
            )));
        }
        if raw.subject.count > MAX_RESOURCES {
            return Err(StatementError::Resources {
                found: raw.subject.count,
            });
        }
        if raw.subject.items.is_empty() {
            return Err(StatementError::NoResources);
        }
        let resources = raw
            .subject
            .items
            .into_iter()
            .map(legacy_resource)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            subject_name: Cow::Borrowed(LEGACY_SUBJECT_NAME),
            root_digest: root_digest_of(resources.iter().map(|resource| &resource.digest)),
            serialization: Serialization::Files,
            hash: Algorithm::Sha256,
            allow_symlinks: false,
            ignore_paths: Vec::new(),
            resources,
        })
    }

    /// Validates a payload in either format.
    ///
    /// # Errors
    /// As the other two have them.
    pub(crate) fn parse_any(payload: &'a [u8]) -> Result<Self, StatementError> {
        match Self::parse(payload) {
            Err(StatementError::Legacy) => Self::parse_legacy(payload),
            other => other,
        }
    }

    /// The signer's name for the model. Informational and hostile; never empty.
    pub fn subject_name(&self) -> &str {
        &self.subject_name
    }

    /// The digest over all digests, in listed order.
    pub fn root_digest(&self) -> Digest {
        self.root_digest
    }

    /// How the model was cut into resources.
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// The hash of every resource.
    pub fn hash(&self) -> Algorithm {
        self.hash
    }

    /// Whether the signer hashed the targets of symbolic links under the links' names.
    pub fn allow_symlinks(&self) -> bool {
        self.allow_symlinks
    }

    /// What the signer left out, as written.
    pub fn ignore_paths(&self) -> &[String] {
        &self.ignore_paths
    }

    /// The resources in listed order; at least one.
    pub fn resources(&self) -> &[Resource<'a>] {
        &self.resources
    }

    /// Takes the resources out.
    pub fn into_resources(self) -> Vec<Resource<'a>> {
        self.resources
    }
}

fn check_predicate_type(found: &str) -> Result<(), StatementError> {
    if found == PREDICATE_TYPE_V0 {
        return Err(StatementError::Legacy);
    }
    match found.strip_prefix(PREDICATE_TYPE_V1) {
        Some(minor) if is_decimal(minor) => Ok(()),
        _ => Err(StatementError::PredicateType(Escaped::bounded(found))),
    }
}

/// Whether `text` is a decimal number in its one spelling: digits without a leading zero.
pub(crate) fn is_decimal(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn shard_size(stated: Option<&serde_json::Number>) -> Result<NonZeroU64, StatementError> {
    let stated = stated.ok_or(StatementError::NoShardSize)?;
    let invalid = || StatementError::ShardSize(Escaped::bounded(&stated.to_string()));
    let size = match (stated.as_u64(), stated.as_f64()) {
        (Some(size), _) => size,
        // Python writes whole numbers with a fraction: its protocol buffer knows only doubles.
        (None, Some(size)) if size.fract() == 0.0 && (1.0..=MAX_EXACT_FLOAT).contains(&size) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
            {
                size as u64
            }
        }
        _ => return Err(invalid()),
    };
    NonZeroU64::new(size).ok_or_else(invalid)
}

/// The algorithm name of a shard as both reference implementations write it.
pub(super) fn sharded_name(hash: Algorithm, size: NonZeroU64) -> String {
    format!("{hash}-sharded-{size}")
}

fn check_resources(
    raw: Vec<RawResource<'_>>,
    method: Serialization,
    hash: Algorithm,
) -> Result<Vec<Resource<'_>>, StatementError> {
    if raw.is_empty() {
        return Err(StatementError::NoResources);
    }
    let sharded = match method {
        Serialization::Files => None,
        Serialization::Shards { size } => Some(sharded_name(hash, size)),
    };
    let mut resources = Vec::with_capacity(raw.len());
    for resource in raw {
        let known = *resource.algorithm == *hash.name()
            || sharded
                .as_deref()
                .is_some_and(|name| *resource.algorithm == *name);
        let digest = if known {
            Digest::from_hex(hash, &resource.digest).map_err(ResourceRule::Digest)
        } else {
            Err(unexpected_algorithm(&resource.algorithm, hash))
        };
        match digest {
            Ok(digest) => resources.push(Resource {
                name: resource.name,
                digest,
            }),
            Err(rule) => {
                return Err(StatementError::Resource {
                    name: Escaped::bounded(&resource.name),
                    rule,
                });
            }
        }
    }
    Ok(resources)
}

#[cold]
fn unexpected_algorithm(found: &str, hash: Algorithm) -> ResourceRule {
    let base = found
        .split_once("-sharded-")
        .map_or(found, |(base, _)| base);
    match Algorithm::from_name(base) {
        Err(DigestError::UnknownAlgorithm(_)) => ResourceRule::UnknownAlgorithm {
            found: Escaped::bounded(found),
        },
        _ => ResourceRule::OtherAlgorithm {
            found: Escaped::bounded(found),
            hash,
        },
    }
}

fn legacy_resource(subject: RawLegacySubject<'_>) -> Result<Resource<'_>, StatementError> {
    // The member is called `sha256` whatever was hashed; the annotation tells.
    let hashed = subject
        .annotations
        .and_then(|annotations| annotations.actual_hash_algorithm);
    let digest = match (hashed.as_deref(), subject.digest.sha256) {
        (None | Some("file-sha256" | "sha256"), Some(digest)) => {
            Digest::from_hex(Algorithm::Sha256, &digest).map_err(ResourceRule::Digest)
        }
        (None | Some("file-sha256" | "sha256"), None) => Err(ResourceRule::NoDigest),
        (Some(other), _) => Err(ResourceRule::LegacyAlgorithm {
            found: Escaped::bounded(other),
        }),
    };
    match digest {
        Ok(digest) => Ok(Resource {
            name: subject.name,
            digest,
        }),
        Err(rule) => Err(StatementError::Resource {
            name: Escaped::bounded(&subject.name),
            rule,
        }),
    }
}

/// SHA-256 over the raw digests one after the other (OMS v1.0, 6.5.1).
pub fn root_digest_of<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut hasher = Algorithm::Sha256.hasher();
    for digest in digests {
        hasher.update(digest.as_bytes());
    }
    hasher.finish()
}

/// A statement to be signed. Whoever fills it in keeps the rules; see [`Statement`].
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) subject_name: &'a str,
    pub(crate) serialization: Serialization,
    pub(crate) hash: Algorithm,
    pub(crate) allow_symlinks: bool,
    pub(crate) ignore_paths: Vec<&'a str>,
    /// In the order in which they will be listed.
    pub(crate) resources: Vec<Resource<'a>>,
}

impl Draft<'_> {
    /// The payload: the statement as compact JSON. `algorithm` is what the resources' algorithm is
    /// called.
    pub(super) fn to_json(&self, algorithm: &str) -> Vec<u8> {
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
                    hash_type: self.hash.name(),
                    shard_size: match self.serialization {
                        Serialization::Files => None,
                        Serialization::Shards { size } => Some(size),
                    },
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
                    })
                    .collect(),
            },
        };
        serde_json::to_vec(&wire).expect("strings, numbers and arrays always serialise")
    }
}

// What is read. Strings are borrowed from the payload where JSON lets them be: a manifest may have
// a million of each.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatement<'a> {
    #[serde(rename = "_type", borrow)]
    statement_type: Cow<'a, str>,
    #[serde(borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Few<RawSubject<'a>, 1>,
    #[serde(borrow)]
    predicate: Option<RawPredicate<'a>>,
}

#[derive(Debug, Deserialize)]
struct RawSubject<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    digest: RawDigests,
}

#[derive(Debug, Deserialize)]
struct RawDigests {
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLegacyStatement<'a> {
    #[serde(rename = "_type", borrow)]
    statement_type: Cow<'a, str>,
    #[serde(borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Few<RawLegacySubject<'a>, MAX_RESOURCES>,
}

#[derive(Deserialize)]
struct RawLegacySubject<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    digest: RawDigests,
    #[serde(borrow)]
    annotations: Option<RawAnnotations<'a>>,
}

#[derive(Deserialize)]
struct RawAnnotations<'a> {
    #[serde(borrow)]
    actual_hash_algorithm: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawPredicate<'a> {
    #[serde(borrow)]
    resources: Option<Few<RawResource<'a>, MAX_RESOURCES>>,
    #[serde(borrow)]
    serialization: Option<RawSerialization<'a>>,
}

#[derive(Deserialize)]
struct RawResource<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    digest: Text<'a>,
    #[serde(borrow)]
    algorithm: Text<'a>,
}

#[derive(Deserialize)]
struct RawSerialization<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    hash_type: Cow<'a, str>,
    shard_size: Option<serde_json::Number>,
    allow_symlinks: Option<bool>,
    ignore_paths: Option<Few<String, MAX_IGNORE_PATHS>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireStatement<'a> {
    #[serde(rename = "_type")]
    statement_type: &'static str,
    subject: [WireSubject<'a>; 1],
    predicate_type: &'static str,
    predicate: WirePredicate<'a>,
}

#[derive(Serialize)]
struct WireSubject<'a> {
    name: &'a str,
    digest: WireDigests,
}

#[derive(Serialize)]
struct WireDigests {
    sha256: String,
}

#[derive(Serialize)]
struct WirePredicate<'a> {
    serialization: WireSerialization<'a>,
    resources: Vec<WireResource<'a>>,
}

#[derive(Serialize)]
struct WireSerialization<'a> {
    method: &'static str,
    hash_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_size: Option<NonZeroU64>,
    allow_symlinks: bool,
    ignore_paths: &'a [&'a str],
}

#[derive(Serialize)]
struct WireResource<'a> {
    name: &'a str,
    algorithm: &'a str,
    digest: String,
}

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_sizes() {
        let size = |text: &str| shard_size(Some(&serde_json::from_str(text).unwrap()));
        for (text, value) in [
            ("1", 1),
            ("100.0", 100),
            ("1e9", 1_000_000_000),
            ("9007199254740992.0", 1 << 53),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text).unwrap().get(), value, "{text}");
        }
        for text in [
            "0",
            "0.0",
            "-1",
            "-100.0",
            "0.5",
            "100.5",
            "1e300",
            "18446744073709551616",
        ] {
            assert!(
                matches!(size(text), Err(StatementError::ShardSize(_))),
                "{text}"
            );
        }
        assert_eq!(shard_size(None), Err(StatementError::NoShardSize));
    }

    #[test]
    fn predicate_types() {
        for minor in ["0", "1", "17"] {
            assert!(check_predicate_type(&format!("{PREDICATE_TYPE_V1}{minor}")).is_ok());
        }
        for minor in ["", "01", "1a", "1.0", "-1", "1 ", "٣"] {
            assert!(matches!(
                check_predicate_type(&format!("{PREDICATE_TYPE_V1}{minor}")),
                Err(StatementError::PredicateType(_))
            ));
        }
        assert!(check_predicate_type("https://model_signing/signature/v2.0").is_err());
        assert_eq!(
            check_predicate_type(PREDICATE_TYPE_V0),
            Err(StatementError::Legacy)
        );
    }
}
