//! Payloads that obey the rules.

use std::borrow::Cow;
use std::num::NonZeroU64;

use super::annotations::{self, IgnoredAnnotations};
use super::error::{ResourceRule, StatementError};
use super::resource::{Resource, root_digest_of};
use super::serialization::Serialization;
use super::wire::{
    MAX_IGNORE_PATHS, MAX_RESOURCES, PREDICATE_TYPE_V0, PREDICATE_TYPE_V1, RawLegacyStatement,
    RawLegacySubject, RawResource, RawStatement, RawSubject, STATEMENT_TYPE,
};
use crate::digest::{Algorithm, Digest, DigestError};
use crate::name::Escaped;
use crate::oms::wire::strict;

/// The subject's name of statements that have none. The Python reference takes the same.
pub const LEGACY_SUBJECT_NAME: &str = "compat-undefined-not-present";

/// Largest whole number that a JSON number with a fraction can state exactly: 2⁵³.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A statement that obeys the rules; see the [module](super).
#[derive(Debug)]
pub struct Statement<'a> {
    subject_name: Cow<'a, str>,
    root_digest: Digest,
    serialization: Serialization,
    allow_symlinks: bool,
    ignore_paths: Vec<String>,
    resources: Vec<Resource<'a>>,
    ignored_annotations: Option<IgnoredAnnotations>,
}

impl<'a> Statement<'a> {
    /// Validates the payload of an envelope.
    ///
    /// Whether the payload may be believed is not known here: outside of an unverified look, only
    /// the payload of a [`crate::oms::verify::VerifiedStatement`] belongs here.
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
        let cut = match &*serialization.method {
            "files" => Serialization::files(hash),
            "shards" => {
                let size = shard_size(serialization.shard_size.as_ref())?;
                Serialization::shards(hash, size)
            }
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
        let mut ignored_annotations = None;
        let resources = check_resources(resources.items, cut, &mut ignored_annotations)?;
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
            serialization: cut,
            allow_symlinks: serialization.allow_symlinks.unwrap_or(false),
            ignore_paths: ignore_paths.items,
            resources,
            ignored_annotations,
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
            serialization: Serialization::files(Algorithm::Sha256),
            allow_symlinks: false,
            ignore_paths: Vec::new(),
            resources,
            ignored_annotations: None,
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

    /// How the model's files became digests.
    pub fn serialization(&self) -> Serialization {
        self.serialization
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

    /// Annotations that aren't of their form, and so say nothing; `None` if all are.
    pub fn ignored_annotations(&self) -> Option<&IgnoredAnnotations> {
        self.ignored_annotations.as_ref()
    }

    /// Takes the resources out.
    pub(crate) fn into_resources(self) -> Vec<Resource<'a>> {
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

fn check_resources<'a>(
    raw: Vec<RawResource<'a>>,
    serialization: Serialization,
    ignored: &mut Option<IgnoredAnnotations>,
) -> Result<Vec<Resource<'a>>, StatementError> {
    if raw.is_empty() {
        return Err(StatementError::NoResources);
    }
    let hash = serialization.hash;
    let sharded = serialization.sharded_name();
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
        let annotated = digest.and_then(|digest| {
            let stated = match resource.annotations {
                // A shard's range is signed in its name already.
                Some(stated) if sharded.is_none() => annotations::read(stated, digest)?,
                _ => annotations::Read::default(),
            };
            Ok((digest, stated))
        });
        match annotated {
            Ok((digest, stated)) => {
                if stated.is_ignored {
                    IgnoredAnnotations::note(ignored, &resource.name);
                }
                resources.push(Resource {
                    name: resource.name,
                    digest,
                    annotations: stated.annotations.boxed(),
                });
            }
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
            annotations: None,
        }),
        Err(rule) => Err(StatementError::Resource {
            name: Escaped::bounded(&subject.name),
            rule,
        }),
    }
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
