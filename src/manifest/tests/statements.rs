//! What a statement may say, whatever it lists.

use serde_json::{Value, json};

use super::*;

#[test]
fn files_in_any_order_come_out_sorted() {
    let listed = ["a/x", "a b/x", "a-b/x", "a.txt", "Z"];
    let manifest = signed(&files(&listed)).unwrap();
    assert_eq!(names(&manifest), ["Z", "a b/x", "a-b/x", "a.txt", "a/x"]);
    assert_eq!(manifest.subject_name(), "model");
    assert_eq!(manifest.hash(), Algorithm::Sha256);
    assert_eq!(
        manifest.serialization(),
        Serialization::files(Algorithm::Sha256)
    );
    assert!(!manifest.allow_symlinks());
    for name in listed {
        let content = SignedContent::Whole(Algorithm::Sha256.hash(name.as_bytes()).into());
        assert_eq!(manifest.file(name).unwrap().content, content);
    }
    assert!(manifest.file("a").is_none());
}

#[test]
fn every_hash() {
    for hash in Algorithm::ALL {
        let statement = statement(
            &json!({"method": "files", "hash_type": hash.name()}),
            &["a"],
        );
        assert_eq!(signed(&statement).unwrap().hash(), hash);
    }
}

#[test]
fn what_the_text_allows_and_older_signers_wrote() {
    let good = files(&["a"]);
    for minor in ["1", "2", "10"] {
        let uri = json!(format!("https://model_signing/signature/v1.{minor}"));
        assert!(signed(&with(good.clone(), "/predicateType", uri)).is_ok());
    }
    assert!(
        signed(&without(
            good.clone(),
            "/predicate/serialization",
            "allow_symlinks"
        ))
        .is_ok()
    );
    for (pointer, member) in [
        ("", "extra"),
        ("/subject/0", "annotations"),
        ("/subject/0/digest", "sha512"),
        ("/predicate", "x"),
        ("/predicate/serialization", "shard_size"),
        ("/predicate/serialization", "future"),
        ("/predicate/resources/0", "size"),
    ] {
        let mut more = good.clone();
        more.pointer_mut(pointer).unwrap()[member] = json!(7);
        assert!(signed(&more).is_ok(), "{pointer}/{member}");
    }
    let escaped = good.to_string().replace("\"a\"", "\"\\u0061\"");
    assert_eq!(names(&signed_text(&escaped).unwrap()), ["a"]);
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn statement_rules() {
    let good = files(&["a", "b/c"]);
    assert!(signed(&good).is_ok());
    for (pointer, value, expected) in [
        (
            "/_type",
            json!("https://in-toto.io/Statement/v0.1"),
            "the statement's _type is",
        ),
        (
            "/predicateType",
            json!("https://slsa.dev/provenance/v1"),
            "the statement's predicateType is",
        ),
        (
            "/predicateType",
            json!("https://model_signing/signature/v2.0"),
            "predicateType",
        ),
        ("/subject", json!([]), "has 0 subjects, exactly one"),
        ("/subject/0/name", json!(""), "subject has an empty name"),
        ("/subject/0/digest", json!({}), "no sha256 digest"),
        (
            "/subject/0/digest/sha256",
            json!("ab"),
            "malformed root digest",
        ),
        (
            "/subject/0/digest/sha256",
            json!("a".repeat(64)),
            "the root digest is stated as aaaa",
        ),
        ("/predicate", Value::Null, "the statement has no predicate"),
        (
            "/predicate/resources",
            Value::Null,
            "no predicate.resources",
        ),
        ("/predicate/resources", json!([]), "lists no resources"),
        (
            "/predicate/serialization",
            Value::Null,
            "no predicate.serialization",
        ),
        (
            "/predicate/serialization/method",
            json!("tree"),
            "unknown serialization method \"tree\"",
        ),
        (
            "/predicate/serialization/hash_type",
            json!("md5"),
            "unknown hash algorithm \"md5\"",
        ),
        (
            "/predicate/serialization/hash_type",
            json!("blake3"),
            "resource \"a\": its algorithm \"sha256\" contradicts",
        ),
        (
            "/predicate/serialization/allow_symlinks",
            json!("no"),
            "not an OMS statement",
        ),
        (
            "/predicate/resources/1/algorithm",
            json!("blake3"),
            "resource \"b/c\": its algorithm \"blake3\" contradicts",
        ),
        (
            "/predicate/resources/1/algorithm",
            json!("sha1"),
            "resource \"b/c\": unknown hash algorithm \"sha1\"",
        ),
        (
            "/predicate/resources/1/algorithm",
            json!("sha256-sharded-1"),
            "resource \"b/c\": its algorithm \"sha256-sharded-1\" contradicts",
        ),
        (
            "/predicate/resources/1/digest",
            json!("AB".repeat(32)),
            "resource \"b/c\": a sha256 digest is written in lowercase",
        ),
        (
            "/predicate/resources/1/digest",
            json!("ab".repeat(31)),
            "resource \"b/c\": a sha256 digest has 32 bytes, this one 31",
        ),
        (
            "/predicate/resources/1/digest",
            json!(7),
            "not an OMS statement",
        ),
        (
            "/predicate/resources/1/name",
            json!("b/../../c"),
            "\"b/../../c\" is not a valid file name",
        ),
    ] {
        let message = message(&with(good.clone(), pointer, value));
        assert!(message.contains(expected), "{pointer}: {message}");
    }
    for (pointer, member) in [
        ("", "_type"),
        ("", "predicateType"),
        ("", "subject"),
        ("", "predicate"),
        ("/subject/0", "name"),
        ("/subject/0", "digest"),
        ("/predicate", "resources"),
        ("/predicate", "serialization"),
        ("/predicate/serialization", "method"),
        ("/predicate/serialization", "hash_type"),
        ("/predicate/resources/0", "name"),
        ("/predicate/resources/0", "algorithm"),
        ("/predicate/resources/0", "digest"),
    ] {
        let message = message(&without(good.clone(), pointer, member));
        assert!(message.contains(member), "{pointer}/{member}: {message}");
    }
    let subject = good["subject"][0].clone();
    let twice = message(&with(good, "/subject", json!([subject, subject])));
    assert!(twice.contains("2 subjects"), "{twice}");
}

#[test]
fn the_root_digest_is_over_the_listed_order() {
    let mut statement = files(&["a", "b"]);
    statement["predicate"]["resources"]
        .as_array_mut()
        .unwrap()
        .swap(0, 1);
    assert!(message(&statement).contains("the root digest is stated as"));
}

#[test]
fn members_that_occur_twice_are_refused() {
    let good = files(&["a"]).to_string();
    for member in [
        "\"_type\":",
        "\"method\":\"files\",",
        "\"name\":\"a\",",
        "\"resources\":",
    ] {
        let twice = match member.strip_suffix(',') {
            Some(_) => good.replace(member, &member.repeat(2)),
            None => good.replace(member, &format!("{member}null,{member}")),
        };
        // serde_json sorts members; where one is the last of its object it has no comma.
        let twice = if twice == good {
            let member = member.trim_end_matches(',');
            good.replace(member, &format!("{member},{member}"))
        } else {
            twice
        };
        assert_ne!(twice, good, "{member}");
        assert!(signed_text(&twice).is_err(), "{member}");
    }
    assert!(signed_text("").is_err());
    assert!(signed_text("null").is_err());
    assert!(signed_text(&format!("{good} {good}")).is_err());
    assert!(signed_text(&"[".repeat(1_000_000)).is_err());
}
