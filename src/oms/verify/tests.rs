//! Signatures of release 0.2, and mixes of old and new, which must be refused.

use serde_json::{Value, json};

use super::*;
use crate::manifest::{
    Manifest, ModelShape, UnverifiedManifest, VerifiedManifest, VerifyManifestError,
};
use crate::oms::dsse::PAYLOAD_TYPE;
use crate::oms::key::PrivateKey;
use crate::oms::statement::PREDICATE_TYPE;

/// On P-256, where the old hash is that of today.
fn key() -> PrivateKey {
    let pem = include_bytes!("../../../tests/data/keys/p256-sec1.pem");
    PrivateKey::from_pem(pem, None).unwrap()
}

/// What 0.2 signed, for payloads without a byte that Python escapes but the newline.
fn legacy_message(payload: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(payload.to_vec()).unwrap();
    format!(
        "DSSEV1 {} {PAYLOAD_TYPE} {} b'{}'",
        PAYLOAD_TYPE.len(),
        payload.len(),
        text.replace('\n', "\\n")
    )
    .into_bytes()
}

fn bundle_of(payload: &[u8], signature: Vec<u8>) -> Vec<u8> {
    let envelope = Envelope::new(payload.to_vec(), signature);
    Bundle::new(Material::Key { hint: None }, envelope).to_json()
}

fn verified(bundle: Vec<u8>) -> Result<Manifest, VerifyManifestError> {
    let trust = Trust::Key(key().public_key().clone());
    VerifiedManifest::verify(bundle, &trust, &ModelShape::Directory)
        .map(|verified| Manifest::clone(&verified))
}

fn legacy(payload: &[u8]) -> Result<Manifest, VerifyManifestError> {
    let signature = key().sign(&[&legacy_message(payload)]).unwrap();
    verified(bundle_of(payload, signature))
}

fn regular(payload: &[u8]) -> Result<Manifest, VerifyManifestError> {
    let envelope = Envelope::new(payload.to_vec(), Vec::new());
    let signature = key().sign(&envelope.pae().parts()).unwrap();
    verified(bundle_of(payload, signature))
}

fn subject(name: &str) -> Value {
    let digest = crate::digest::Algorithm::Sha256
        .hash(name.as_bytes())
        .to_hex();
    json!({
        "name": name,
        "digest": {"sha256": digest},
        "annotations": {"actual_hash_algorithm": "file-sha256"},
    })
}

fn old_statement(subjects: &[Value]) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://model_signing/Digests/v0.1",
        "predicate": {"unused": "Unused, just passed due to API requirements"},
    })
}

fn pretty(statement: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(statement).unwrap()
}

#[test]
fn old_statements_signed_as_of_old() {
    let payload = pretty(&old_statement(&[subject("b"), subject("a/c")]));
    let manifest = legacy(&payload).unwrap();
    let names: Vec<_> = manifest.files().iter().map(|file| &file.name).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0].as_str(), "a/c");
    assert!(manifest.ignore_paths().is_empty());
    let bundle = bundle_of(&payload, vec![1]);
    let unverified = UnverifiedManifest::parse_without_verifying(bundle.as_slice()).unwrap();
    assert_eq!(unverified.claimed_manifest(), &manifest);
}

#[test]
fn neither_form_carries_the_other_statement() {
    let old = pretty(&old_statement(&[subject("a")]));
    assert_eq!(
        regular(&old).unwrap_err().to_string(),
        "the statement is in the format of model signing 0.2 and not signed as 0.2 did"
    );
    for other in [
        PREDICATE_TYPE,
        "https://model_signing/signature/v1.1",
        "https://model_signing/Digest/v0.1",
        "https://model_signing/Digests/v0.2",
    ] {
        let mut statement = old_statement(&[subject("a")]);
        statement["predicateType"] = json!(other);
        assert_eq!(
            legacy(&pretty(&statement)).unwrap_err().to_string(),
            format!(
                "the statement is signed as model signing 0.2 did, so its predicateType must be \
                 \"https://model_signing/Digests/v0.1\", not \"{other}\""
            )
        );
    }
}

#[test]
fn old_signatures_are_of_one_payload() {
    let payload = pretty(&old_statement(&[subject("a")]));
    let signature = key().sign(&[&legacy_message(&payload)]).unwrap();
    for index in 0..payload.len() {
        let mut other = payload.clone();
        other[index] ^= 1;
        assert_eq!(
            verified(bundle_of(&other, signature.clone())),
            Err(VerifyError::Signature.into()),
            "{index}"
        );
    }
    // The literal itself, or the payload without what the literal escapes, is another payload.
    let literal = String::from_utf8(payload.clone())
        .unwrap()
        .replace('\n', "\\n");
    for other in [
        literal.into_bytes(),
        old_statement(&[subject("a")]).to_string().into_bytes(),
    ] {
        assert_eq!(
            verified(bundle_of(&other, signature.clone())),
            Err(VerifyError::Signature.into())
        );
    }
    // The small v that the old signer should have written.
    let mut message = legacy_message(&payload);
    message[4] = b'v';
    let signature = key().sign(&[&message]).unwrap();
    assert_eq!(
        verified(bundle_of(&payload, signature)),
        Err(VerifyError::Signature.into())
    );
}

#[test]
fn rules_of_old_statements() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut subject = subject("b");
        change(&mut subject);
        old_statement(&[self::subject("a"), subject])
    };
    assert!(legacy(&pretty(&with(&|_| {}))).is_ok());
    assert!(
        legacy(&pretty(&with(
            &|subject| subject["annotations"] = Value::Null
        )))
        .is_ok()
    );
    for (statement, expected) in [
        (old_statement(&[]), "the statement lists no resources"),
        (
            with(&|subject| subject["name"] = json!("a")),
            "\"a\" is listed more than once",
        ),
        (
            with(&|subject| subject["name"] = json!("../b")),
            "it has a \"..\" component",
        ),
        (
            with(&|subject| subject["name"] = json!("a/b")),
            "is listed as a file and is a directory",
        ),
        (
            with(&|subject| subject["digest"] = json!({"sha512": "ab"})),
            "resource \"b\": it has no sha256 digest",
        ),
        (
            with(&|subject| subject["digest"]["sha256"] = json!("ab")),
            "resource \"b\": ",
        ),
        (
            with(&|subject| {
                subject["annotations"]["actual_hash_algorithm"] = json!("file-blake2b");
            }),
            "resource \"b\": its actual_hash_algorithm is \"file-blake2b\", not file-sha256",
        ),
        (
            {
                let mut statement = old_statement(&[subject("a")]);
                statement["_type"] = json!("https://in-toto.io/Statement/v0.1");
                statement
            },
            "the statement's _type is",
        ),
    ] {
        let error = legacy(&pretty(&statement)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        legacy(b"no JSON")
            .unwrap_err()
            .to_string()
            .contains("not an OMS statement")
    );
}
