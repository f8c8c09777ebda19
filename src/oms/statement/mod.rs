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

mod annotations;
mod draft;
mod error;
mod resource;
mod rules;
mod serialization;
mod wire;

pub use self::annotations::IgnoredAnnotations;
pub(crate) use self::draft::Draft;
pub(in crate::oms) use self::draft::OtherDraft;
pub use self::error::{ResourceRule, StatementError};
pub use self::resource::{Annotations, Resource, Text, root_digest_of};
pub(crate) use self::rules::is_decimal;
pub use self::rules::{LEGACY_SUBJECT_NAME, Statement};
pub use self::serialization::Serialization;
pub use self::wire::{
    MAX_IGNORE_PATHS, MAX_RESOURCES, PREDICATE_TYPE, PREDICATE_TYPE_V0, STATEMENT_TYPE,
};
