//! The members of a statement in JSON, as they are read and as they are written, and how many of
//! them there may be.
//!
//! Guarantees: none that the types don't show; `rules` has those. What is read are strings that are
//! borrowed from the payload where JSON lets them be: a manifest may have a million of each.

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::resource::Text;
use crate::oms::wire::few::Few;

/// The `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The `predicateType` that is written. Every `v1.<minor>` is read: minor versions only add
/// members.
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// What every accepted `predicateType` begins with.
pub(super) const PREDICATE_TYPE_V1: &str = "https://model_signing/signature/v1.";

/// The `predicateType` of releases before 1.0.
pub const PREDICATE_TYPE_V0: &str = "https://model_signing/Digests/v0.1";

/// Most resources in one statement. Each takes over 100 bytes of a payload, so no more fit into a
/// bundle of [`crate::oms::bundle::MAX_BUNDLE`] bytes, unless they are none. Later ones are counted
/// and not kept.
pub const MAX_RESOURCES: usize = 1_000_000;

/// Most entries of `ignore_paths`.
pub const MAX_IGNORE_PATHS: usize = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawStatement<'a> {
    #[serde(rename = "_type", borrow)]
    pub(super) statement_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) subject: Few<RawSubject<'a>, 1>,
    #[serde(borrow)]
    pub(super) predicate: Option<RawPredicate<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSubject<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) digest: RawDigests,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawDigests {
    pub(super) sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawLegacyStatement<'a> {
    #[serde(rename = "_type", borrow)]
    pub(super) statement_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) subject: Few<RawLegacySubject<'a>, MAX_RESOURCES>,
}

#[derive(Deserialize)]
pub(super) struct RawLegacySubject<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    pub(super) digest: RawDigests,
    #[serde(borrow)]
    pub(super) annotations: Option<RawLegacyAnnotations<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RawLegacyAnnotations<'a> {
    #[serde(borrow)]
    pub(super) actual_hash_algorithm: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawPredicate<'a> {
    #[serde(borrow)]
    pub(super) resources: Option<Few<RawResource<'a>, MAX_RESOURCES>>,
    #[serde(borrow)]
    pub(super) serialization: Option<RawSerialization<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RawResource<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) digest: Text<'a>,
    #[serde(borrow)]
    pub(super) algorithm: Text<'a>,
    /// Any JSON: what isn't of the form that is known is ignored, so it can't be an error here.
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct RawAnnotations<'a> {
    #[serde(borrow)]
    pub(super) size: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) blake3: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct RawSerialization<'a> {
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) hash_type: Cow<'a, str>,
    pub(super) shard_size: Option<serde_json::Number>,
    pub(super) allow_symlinks: Option<bool>,
    pub(super) ignore_paths: Option<Few<String, MAX_IGNORE_PATHS>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireStatement<'a, P> {
    #[serde(rename = "_type")]
    pub(super) statement_type: &'static str,
    pub(super) subject: [WireSubject<'a>; 1],
    pub(super) predicate_type: &'static str,
    pub(super) predicate: P,
}

#[derive(Serialize)]
pub(super) struct WireSubject<'a> {
    pub(super) name: &'a str,
    pub(super) digest: WireDigests,
}

#[derive(Serialize)]
pub(super) struct WireDigests {
    pub(super) sha256: String,
}

#[derive(Serialize)]
pub(super) struct WirePredicate<'a> {
    pub(super) serialization: WireSerialization<'a>,
    pub(super) resources: Vec<WireResource<'a>>,
}

#[derive(Serialize)]
pub(super) struct WireSerialization<'a> {
    pub(super) method: &'static str,
    pub(super) hash_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shard_size: Option<NonZeroU64>,
    pub(super) allow_symlinks: bool,
    pub(super) ignore_paths: &'a [&'a str],
}

#[derive(Serialize)]
pub(super) struct WireResource<'a> {
    pub(super) name: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<WireAnnotations>,
}

#[derive(Serialize)]
pub(super) struct WireAnnotations {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blake3: Option<String>,
}
