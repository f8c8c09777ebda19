//! Statements of every kind, properly signed, and what becomes of them.

mod damage;
mod names;
mod shards;
mod signing;
mod statements;

use std::num::NonZeroU64;

use serde_json::{Value, json};

use super::*;
use crate::oms::key::PrivateKey;
use crate::oms::sign::sign_payload;
use crate::oms::trust::Trust;

fn key() -> PrivateKey {
    let pem = include_bytes!("../../../tests/data/keys/p256-sec1.pem");
    PrivateKey::from_pem(pem, None).unwrap()
}

fn trust() -> Trust {
    Trust::Key(key().public_key().clone())
}

/// What is made of a statement that a trusted signer signed.
fn signed(statement: &Value) -> Result<Manifest, VerifyManifestError> {
    signed_text(&statement.to_string())
}

fn signed_text(statement: &str) -> Result<Manifest, VerifyManifestError> {
    let bundle = sign_payload(statement.as_bytes().to_vec(), &key()).unwrap();
    let unverified = UnverifiedManifest::parse_without_verifying(bundle.as_slice())
        .map(|unverified| unverified.claimed_manifest().clone());
    let shape = ModelShape::SingleFile(FileName::new("model").unwrap());
    let single = VerifiedManifest::verify(bundle.clone(), &trust(), &shape);
    // The unverified look differs in nothing but the signature.
    assert_eq!(single.as_deref(), unverified.as_ref());
    let verified = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory);
    verified.map(|verified| Manifest::clone(&verified))
}

fn message(statement: &Value) -> String {
    signed(statement).unwrap_err().to_string()
}

/// A good statement of these resources, each with the digest of its own name.
fn statement(serialization: &Value, names: &[&str]) -> Value {
    let hash = serialization["hash_type"].as_str().unwrap();
    let algorithm = Algorithm::from_name(hash).unwrap();
    let digests: Vec<Digest> = names
        .iter()
        .map(|name| algorithm.hash(name.as_bytes()))
        .collect();
    let resources: Vec<Value> = names
        .iter()
        .zip(&digests)
        .map(|(name, digest)| json!({"name": name, "algorithm": hash, "digest": digest.to_hex()}))
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root_digest_of(&digests).to_hex()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization, "resources": resources},
    })
}

fn files(names: &[&str]) -> Value {
    statement(
        &json!({"method": "files", "hash_type": "sha256", "allow_symlinks": false}),
        names,
    )
}

fn shards(size: &Value, names: &[&str]) -> Value {
    statement(
        &json!({
            "method": "shards", "hash_type": "sha256", "allow_symlinks": false, "shard_size": size,
        }),
        names,
    )
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest
        .files()
        .iter()
        .map(|file| file.name.as_str())
        .collect()
}

/// `statement` with the value at a JSON pointer replaced.
fn with(mut statement: Value, pointer: &str, value: Value) -> Value {
    *statement.pointer_mut(pointer).unwrap() = value;
    statement
}

/// `statement` without a member.
fn without(mut statement: Value, pointer: &str, member: &str) -> Value {
    let object = statement
        .pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap();
    object.remove(member).unwrap();
    statement
}

fn description(serialization: Serialization) -> Description {
    Description {
        subject_name: "model".into(),
        shape: ModelShape::Directory,
        serialization,
        allow_symlinks: false,
        ignore_paths: vec![FileName::new("model.sig").unwrap()],
    }
}

fn whole(name: &str, hash: Algorithm) -> ManifestFile {
    ManifestFile {
        name: FileName::new(name).unwrap(),
        content: SignedContent::Whole(hash.hash(name.as_bytes()).into()),
    }
}

fn sharded(name: &str, hash: Algorithm, size: u64, len: u64) -> ManifestFile {
    let size = NonZeroU64::new(size).unwrap();
    let digests: Vec<u8> = (0..len.div_ceil(size.get()))
        .flat_map(|index| hash.hash(&index.to_le_bytes()).as_bytes().to_vec())
        .collect();
    ManifestFile {
        name: FileName::new(name).unwrap(),
        content: SignedContent::Shards(ShardDigests::new(hash, size, len, digests).unwrap()),
    }
}
