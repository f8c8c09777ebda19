//! The models that a signer is trusted for.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::digest::Digest;

/// Most entries of each list of `models`.
pub const MAX_LIMITS: usize = 1000;

/// The models that a signer is trusted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    pub(super) names: Option<Vec<String>>,
    pub(super) paths: Option<Vec<Pattern>>,
    pub(super) payload_digests: Option<Vec<Digest>>,
    pub(super) root_digests: Option<Vec<Digest>>,
}

/// What limits are compared with.
#[derive(Debug, Clone, Copy)]
pub struct ModelContext<'a> {
    /// Where the model lies: absolute, links resolved. Any other path matches no pattern.
    pub path: &'a Path,
    /// What the signer calls it.
    pub name: &'a str,
    /// SHA-256 of the payload that was signed.
    pub payload_digest: &'a Digest,
    /// Its root digest.
    pub root_digest: &'a Digest,
}

impl Limits {
    /// Whether they allow a model.
    pub fn allow(&self, model: &ModelContext<'_>) -> bool {
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let path = model.path.to_str().filter(|path| {
            path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."))
        });
        self.names
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == model.name))
            && self.paths.as_ref().is_none_or(|patterns| {
                path.is_some_and(|path| {
                    patterns
                        .iter()
                        .any(|pattern| pattern.matches_with(path, OPTIONS))
                })
            })
            && one_of(self.payload_digests.as_deref(), model.payload_digest)
            && one_of(self.root_digests.as_deref(), model.root_digest)
    }

    /// The names that the signer may give a model, if they are limited.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The patterns of paths, if they are limited.
    pub fn paths(&self) -> Option<impl Iterator<Item = &str>> {
        self.paths
            .as_ref()
            .map(|patterns| patterns.iter().map(Pattern::as_str))
    }

    /// The digests of the payload, if they are limited.
    pub fn payload_digests(&self) -> Option<&[Digest]> {
        self.payload_digests.as_deref()
    }

    /// The root digests, if they are limited. They cover contents, and neither names nor anything
    /// else that was signed.
    pub fn root_digests(&self) -> Option<&[Digest]> {
        self.root_digests.as_deref()
    }

    /// Whether they allow every model.
    pub fn is_unlimited(&self) -> bool {
        let Self {
            names,
            paths,
            payload_digests,
            root_digests,
        } = self;
        names.is_none() && paths.is_none() && payload_digests.is_none() && root_digests.is_none()
    }
}

fn one_of(digests: Option<&[Digest]>, digest: &Digest) -> bool {
    digests.is_none_or(|digests| digests.contains(digest))
}
