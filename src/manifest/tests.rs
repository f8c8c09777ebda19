//! Statements of every kind, properly signed, and what becomes of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::name::NameRule;
use crate::oms::bundle::Bundle;
use crate::oms::key::PrivateKey;
use crate::oms::sign::sign_payload;
use crate::oms::statement::MAX_IGNORE_PATHS;
use crate::oms::trust::{Signer, Trust};

fn key() -> PrivateKey {
    let pem = include_bytes!("../../tests/data/keys/p256-sec1.pem");
    PrivateKey::from_pem(pem, None).unwrap()
}

fn trust() -> Trust {
    Trust::Key(key().public_key().clone())
}

/// What is made of a statement that somebody trusted signed.
fn signed(statement: &Value) -> Result<Manifest, VerifyManifestError> {
    signed_text(&statement.to_string())
}

fn signed_text(statement: &str) -> Result<Manifest, VerifyManifestError> {
    let bundle = sign_payload(statement.as_bytes().to_vec(), &key()).unwrap();
    let unverified = UnverifiedManifest::parse_without_verifying(bundle.as_slice())
        .map(|unverified| unverified.claimed_manifest().clone());
    let name = FileName::new("model").unwrap();
    let single = VerifiedManifest::verify_single_file(bundle.clone(), &trust(), &name);
    // The unverified look differs in nothing but the signature.
    assert_eq!(
        single.as_ref().map(VerifiedManifest::manifest),
        unverified.as_ref()
    );
    let verified = VerifiedManifest::verify(bundle, &trust());
    verified.map(|verified| verified.manifest().clone())
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
        let content = SignedContent::Whole(Algorithm::Sha256.hash(name.as_bytes()));
        assert_eq!(manifest.file(name).unwrap().content, content);
    }
    assert!(manifest.file("a").is_none());
}

#[test]
fn what_is_left_out_is_remembered() {
    let statement = files(&["a", "b/c", "b/d", "b-c"]).to_string();
    let bundle = sign_payload(statement.into_bytes(), &key()).unwrap();
    let verified = VerifiedManifest::verify(bundle, &trust()).unwrap();
    assert!(verified.left_out().is_empty());
    let name = |name| FileName::new(name).unwrap();
    let rest = verified.without(&[name("b"), name("nothing")]);
    assert_eq!(names(rest.manifest()), ["a", "b-c"]);
    assert_eq!(rest.left_out(), [name("b/c"), name("b/d")]);
    let rest = rest.without(&[name("a")]);
    assert_eq!(rest.left_out(), [name("a"), name("b/c"), name("b/d")]);
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

#[test]
fn names_make_a_tree() {
    let error = |names: &[&str]| match signed(&files(names)) {
        Err(VerifyManifestError::Manifest(error)) => error,
        other => panic!("{names:?}: {other:?}"),
    };
    assert!(matches!(
        error(&["a", "b", "a"]),
        ManifestError::Duplicate { .. }
    ));
    for names in [
        &["a", "a/b"][..],
        &["a/b", "a"],
        &["a", "a-b", "a.b", "a/b"],
        &["a", "a!", "a!/x", "a\u{1f}", "a/b/c/d"],
        &["x/a", "x/a/b"],
    ] {
        assert!(
            matches!(error(names), ManifestError::FileAndDirectory { .. }),
            "{names:?}"
        );
    }
    let fine = ["a-b", "a-b.c", "a.b/c", "a/b", "a/b.c", "a/bc/d", "ab"];
    assert_eq!(names(&signed(&files(&fine)).unwrap()), fine);

    for (name, rule) in [
        ("", NameRule::Empty),
        ("/etc/passwd", NameRule::Absolute),
        ("../x", NameRule::DotDot),
        ("a/./b", NameRule::Dot),
        ("a//b", NameRule::EmptyComponent),
        ("a/", NameRule::TrailingSlash),
        ("a\0", NameRule::Nul),
        (&"x".repeat(256), NameRule::LongComponent),
    ] {
        match error(&["ok", name]) {
            ManifestError::Name(error) => assert_eq!(error.rule, rule),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn hostile_names_are_escaped_in_messages() {
    let hostile = "\u{1b}[31m\u{202e}evil/../\u{7}";
    let mut bad_algorithm = files(&[hostile]);
    bad_algorithm["predicate"]["resources"][0]["algorithm"] = json!("\u{1b}c");
    for message in [
        message(&files(&[hostile])),
        message(&bad_algorithm),
        message(&with(files(&["a"]), "/_type", json!(hostile))),
        message(&with(
            files(&["a"]),
            "/predicate/serialization/allow_symlinks",
            json!(hostile),
        )),
        message(&shards(&json!(10), &[hostile])),
        message(&with(
            files(&["a"]),
            "/predicate/resources/0/name",
            json!("x".repeat(1 << 20) + "/"),
        )),
    ] {
        assert!(
            !message.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{message:?}"
        );
        assert!(message.len() < 4096);
    }
}

#[test]
fn shards_are_ordered_by_number() {
    // As text, `a:10:20` comes before `a:2:10`, and `b` between the shards of nothing.
    for listed in [
        [
            "a:0:10",
            "a:10:20",
            "a:100:105",
            "a:20:30",
            "b:0:10",
            "b:10:11",
        ],
        [
            "b:10:11",
            "a:20:30",
            "a:100:105",
            "a:10:20",
            "b:0:10",
            "a:0:10",
        ],
    ] {
        let mut listed = listed.to_vec();
        listed.extend([
            "a:30:40", "a:40:50", "a:50:60", "a:60:70", "a:70:80", "a:80:90", "a:90:100",
        ]);
        let manifest = signed(&shards(&json!(10), &listed)).unwrap();
        assert_eq!(names(&manifest), ["a", "b"]);
        let SignedContent::Shards(a) = &manifest.file("a").unwrap().content else {
            panic!("a file of a sharded manifest has shards")
        };
        assert_eq!((a.len(), a.count(), a.shard_size().get()), (105, 11, 10));
        for index in 0..11_u64 {
            let name = format!("a:{}:{}", index * 10, 105.min(index * 10 + 10));
            assert_eq!(
                a.digest(index),
                Some(Algorithm::Sha256.hash(name.as_bytes()))
            );
        }
        assert_eq!(manifest.file("b").unwrap().content.len(), Some(11));
    }
}

#[test]
fn shard_names_may_have_colons() {
    let listed = [
        "a:b:0:10",
        "a:b:10:20",
        "a:0:10:0:5",
        "::0:1",
        "c:0:10/d:0:3",
    ];
    let manifest = signed(&shards(&json!(10), &listed)).unwrap();
    assert_eq!(names(&manifest), [":", "a:0:10", "a:b", "c:0:10/d"]);
    assert_eq!(manifest.file("a:b").unwrap().content.len(), Some(20));
}

#[test]
fn shard_sizes_as_older_signers_wrote_them() {
    for size in [json!(10), json!(10.0), json!(1e1)] {
        let mut statement = shards(&size, &["a:0:10", "a:10:11"]);
        assert!(signed(&statement).is_ok());
        for resource in statement["predicate"]["resources"].as_array_mut().unwrap() {
            resource["algorithm"] = json!("sha256-sharded-10");
        }
        assert!(signed(&statement).is_ok());
        statement["predicate"]["resources"][1]["algorithm"] = json!("sha256-sharded-11");
        assert!(message(&statement).contains("resource \"a:10:11\""));
    }
    for size in [json!(0), json!(-10), json!(10.5), json!(0.0), json!(1e300)] {
        let message = message(&shards(&size, &["a:0:10"]));
        assert!(
            message.contains("not a positive whole number"),
            "{size}: {message}"
        );
    }
    assert!(message(&shards(&Value::Null, &["a:0:10"])).contains("no shard_size"));
    assert!(message(&shards(&json!("10"), &["a:0:10"])).contains("not an OMS statement"));
}

#[test]
fn shard_rules() {
    let size = NonZeroU64::new(10).unwrap();
    for (listed, bad, expected) in [
        (&["a"][..], "a", ShardRule::Form),
        (&["a:10"], "a:10", ShardRule::Form),
        (&["a:0:x"], "a:0:x", ShardRule::Number),
        (&["a:0:"], "a:0:", ShardRule::Number),
        (&["a:+0:10"], "a:+0:10", ShardRule::Number),
        (&["a:-1:10"], "a:-1:10", ShardRule::Number),
        (&["a:00:10"], "a:00:10", ShardRule::Number),
        (&["a:0:010"], "a:0:010", ShardRule::Number),
        (&["a:0: 10"], "a:0: 10", ShardRule::Number),
        (
            &["a:0:18446744073709551616"],
            "a:0:18446744073709551616",
            ShardRule::Number,
        ),
        (&["a:0:0"], "a:0:0", ShardRule::EmptyRange),
        (&["a:0:10", "a:10:10"], "a:10:10", ShardRule::EmptyRange),
        (&["a:10:0"], "a:10:0", ShardRule::EmptyRange),
        (&["a:10:20"], "a:10:20", ShardRule::Gap { expected: 0 }),
        (&["a:1:11"], "a:1:11", ShardRule::Gap { expected: 0 }),
        (
            &["a:0:10", "a:20:30"],
            "a:20:30",
            ShardRule::Gap { expected: 10 },
        ),
        (
            &["a:0:10", "a:9:19"],
            "a:9:19",
            ShardRule::Overlap { expected: 10 },
        ),
        (&["a:0:10", "a:0:10"], "a:0:10", ShardRule::Duplicate),
        (
            &["a:0:10", "a:10:15", "a:10:20"],
            "a:10:15",
            ShardRule::Size { size },
        ),
        (&["a:0:9", "a:9:19"], "a:0:9", ShardRule::Size { size }),
        (&["a:0:11"], "a:0:11", ShardRule::Size { size }),
        (&["a:0:10", "a:10:21"], "a:10:21", ShardRule::Size { size }),
    ] {
        match signed(&shards(&json!(10), listed)) {
            Err(VerifyManifestError::Manifest(ManifestError::Shard { name, rule })) => {
                assert_eq!((name.to_string().as_str(), rule), (bad, expected));
            }
            other => panic!("{listed:?}: {other:?}"),
        }
    }
    for listed in [
        &["a:0:1"][..],
        &["a:0:9"],
        &["a:0:10"],
        &["a:10:11", "a:0:10"],
    ] {
        assert!(signed(&shards(&json!(10), listed)).is_ok(), "{listed:?}");
    }
    let one = shards(&json!(u64::MAX), &["a:0:18446744073709551615"]);
    assert_eq!(
        signed(&one).unwrap().files()[0].content.len(),
        Some(u64::MAX)
    );
}

#[test]
fn ignored_paths() {
    let name = |path| FileName::new(path).unwrap();
    let mut statement = files(&["a/b", "sub/.git/config"]);
    statement["predicate"]["serialization"]["ignore_paths"] = json!([
        "skip",
        "x/y",
        "model.sig",
        "x/y",
        "../out",
        "/abs",
        "",
        ".",
        "skip/deeper",
        "trailing/",
    ]);
    let manifest = signed(&statement).unwrap();
    assert_eq!(
        manifest.ignore_paths(),
        ["model.sig", "skip", "skip/deeper", "x/y"].map(name)
    );
    assert_eq!(manifest.unusable_ignore_paths().len(), 5);
    for ignored in [
        "skip",
        "skip/z",
        "x/y",
        "x/y/z",
        "model.sig",
        ".git/HEAD",
        ".gitignore",
        ".github/w/c",
    ] {
        assert!(manifest.is_ignored(&name(ignored)), "{ignored}");
    }
    for extra in [
        "skipper",
        "x",
        "x/yz",
        "a/skip",
        "sub/.git/HEAD",
        "a/b",
        "out",
        "abs",
        ".gitmodules",
    ] {
        assert!(!manifest.is_ignored(&name(extra)), "{extra}");
    }

    // Defaults that are listed were signed.
    let manifest = signed(&files(&[".gitattributes"])).unwrap();
    assert!(!manifest.is_ignored(&name(".gitattributes")));
    assert!(manifest.is_ignored(&name(".gitignore")));

    for ignored in ["a", "a/b"] {
        statement["predicate"]["serialization"]["ignore_paths"] = json!([ignored]);
        assert!(message(&statement).contains("\"a/b\" is listed and also among the ignored paths"));
    }
}

#[test]
fn ignored_paths_are_bounded() {
    let with_entries = |count: usize| {
        let mut statement = files(&["a"]);
        let entries: Vec<String> = (0..count).map(|index| format!("skip-{index}")).collect();
        statement["predicate"]["serialization"]["ignore_paths"] = json!(entries);
        signed(&statement)
    };
    assert_eq!(
        with_entries(MAX_IGNORE_PATHS).unwrap().ignore_paths().len(),
        MAX_IGNORE_PATHS
    );
    assert_eq!(
        with_entries(MAX_IGNORE_PATHS + 1).unwrap_err(),
        StatementError::IgnorePaths {
            found: MAX_IGNORE_PATHS + 1
        }
        .into()
    );
}

fn description(serialization: Serialization) -> Description {
    Description {
        subject_name: "model".into(),
        serialization,
        allow_symlinks: false,
        ignore_paths: vec![FileName::new("model.sig").unwrap()],
    }
}

fn whole(name: &str, hash: Algorithm) -> ManifestFile {
    ManifestFile {
        name: FileName::new(name).unwrap(),
        content: SignedContent::Whole(hash.hash(name.as_bytes())),
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

#[test]
fn a_new_manifest_keeps_the_rules() {
    let new = |files| Manifest::new(description(Serialization::files(Algorithm::Sha256)), files);
    let file = |name| whole(name, Algorithm::Sha256);
    assert_eq!(new(vec![]), Err(ManifestError::Empty));
    assert!(matches!(
        new(vec![file("a"), file("a")]),
        Err(ManifestError::Duplicate { .. })
    ));
    assert!(matches!(
        new(vec![file("a/b"), file("a")]),
        Err(ManifestError::FileAndDirectory { .. })
    ));
    assert!(matches!(
        new(vec![file("model.sig")]),
        Err(ManifestError::ListedAndIgnored { .. })
    ));
    assert!(matches!(
        new(vec![file(".git/x")]),
        Err(ManifestError::ListedAndIgnored { .. })
    ));
    assert!(matches!(
        new(vec![whole("a", Algorithm::Blake3)]),
        Err(ManifestError::Misfit { .. })
    ));
    assert!(matches!(
        new(vec![sharded("a", Algorithm::Sha256, 10, 10)]),
        Err(ManifestError::Misfit { .. })
    ));
    let nameless = Description {
        subject_name: String::new(),
        ..description(Serialization::files(Algorithm::Sha256))
    };
    assert_eq!(
        Manifest::new(nameless, vec![file("a")]),
        Err(ManifestError::NoSubjectName)
    );
}

#[test]
fn what_is_signed_is_what_is_verified() {
    let size = NonZeroU64::new(10).unwrap();
    for hash in Algorithm::ALL {
        for (serialization, files) in [
            (
                Serialization::files(hash),
                vec![whole("b/ü", hash), whole("a:0:1", hash), whole("a", hash)],
            ),
            (
                Serialization::shards(hash, size),
                vec![sharded("b", hash, 10, 1), sharded("a:b", hash, 10, 120)],
            ),
        ] {
            let manifest = Manifest::new(description(serialization), files).unwrap();
            for compat in [Compat::Specification, Compat::Reference] {
                let bundle = manifest.sign(&key(), compat).unwrap();
                let verified = VerifiedManifest::verify(bundle.clone(), &trust()).unwrap();
                assert_eq!(verified.manifest(), &manifest);
                assert_eq!(&**verified.bundle(), bundle);
                assert_eq!(
                    verified.signer(),
                    &Signer::Key {
                        hint: key().public_key().hint().into()
                    }
                );
            }
        }
    }
}

#[test]
fn what_is_written() {
    let payload = |manifest: &Manifest, compat| {
        let bundle = Bundle::parse(&manifest.sign(&key(), compat).unwrap()).unwrap();
        serde_json::from_slice::<Value>(bundle.envelope().unverified_payload()).unwrap()
    };
    let files = Manifest::new(
        description(Serialization::files(Algorithm::Blake3)),
        vec![whole("b", Algorithm::Blake3), whole("a", Algorithm::Blake3)],
    )
    .unwrap();
    let written = payload(&files, Compat::Reference);
    assert_eq!(written, payload(&files, Compat::Specification));
    assert_eq!(
        written["predicateType"],
        "https://model_signing/signature/v1.0"
    );
    assert_eq!(
        written["predicate"]["serialization"],
        json!({
            "method": "files", "hash_type": "blake3", "allow_symlinks": false,
            "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore", "model.sig"],
        })
    );
    assert_eq!(written["predicate"]["resources"][0]["name"], "a");
    assert_eq!(written["predicate"]["resources"][0]["algorithm"], "blake3");

    let shards = Manifest::new(
        description(Serialization::shards(
            Algorithm::Sha256,
            NonZeroU64::new(10).unwrap(),
        )),
        vec![sharded("a", Algorithm::Sha256, 10, 101)],
    )
    .unwrap();
    let written = payload(&shards, Compat::Specification);
    assert_eq!(
        written["predicate"]["serialization"]["shard_size"].to_string(),
        "10"
    );
    let resources = written["predicate"]["resources"].as_array().unwrap();
    let names: Vec<_> = resources
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..4], ["a:0:10", "a:100:101", "a:10:20", "a:20:30"]);
    assert!(resources.iter().all(|r| r["algorithm"] == "sha256"));
    let written = payload(&shards, Compat::Reference);
    let resources = written["predicate"]["resources"].as_array().unwrap();
    assert!(
        resources
            .iter()
            .all(|r| r["algorithm"] == "sha256-sharded-10")
    );
}

/// Python's `model_signing` calls the file of a single-file model so.
#[test]
fn the_only_file_of_a_single_file_model_may_be_a_dot() {
    let own = FileName::new("own.gguf").unwrap();
    let verify = |bundle: &[u8]| {
        VerifiedManifest::verify_single_file(bundle, &trust(), &own)
            .map(|verified| verified.manifest().files().to_vec())
    };
    let size = NonZeroU64::new(10).unwrap();
    for (serialization, file) in [
        (
            Serialization::files(Algorithm::Sha256),
            whole("own.gguf", Algorithm::Sha256),
        ),
        (
            Serialization::shards(Algorithm::Sha256, size),
            sharded("own.gguf", Algorithm::Sha256, 10, 101),
        ),
    ] {
        let manifest = Manifest::new(description(serialization), vec![file.clone()]).unwrap();
        // A directory with one file is no single-file model.
        for manifest in [manifest.clone(), manifest.clone().of_single_file()] {
            let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
            assert_eq!(verify(&bundle).unwrap(), std::slice::from_ref(&file));
            assert!(VerifiedManifest::verify(bundle, &trust()).is_ok());
        }
        let bundle = manifest.sign(&key(), Compat::Reference).unwrap();
        assert!(VerifiedManifest::verify(bundle, &trust()).is_ok());

        let manifest = manifest.of_single_file();
        let bundle = manifest.sign(&key(), Compat::Reference).unwrap();
        assert_eq!(verify(&bundle).unwrap(), [file]);
        let error = VerifiedManifest::verify(bundle, &trust()).unwrap_err();
        assert!(error.to_string().contains("\".\" component"), "{error}");
    }

    let bundle_of =
        |statement: Value| sign_payload(statement.to_string().into_bytes(), &key()).expect("sign");
    let listed: [(Value, &str); 7] = [
        (files(&[".", "a"]), "\".\""),
        (files(&[".", "."]), "\".\""),
        (files(&["./own.gguf"]), "\"./own.gguf\""),
        (files(&["./"]), "\"./\""),
        (files(&[".."]), "\"..\""),
        (files(&[""]), "\"\""),
        (shards(&json!(10), &[".:0:10", "a:0:10"]), "\".\""),
    ];
    for (statement, name) in listed {
        let error = verify(&bundle_of(statement)).unwrap_err();
        assert!(
            matches!(error, VerifyManifestError::Manifest(ManifestError::Name(_))),
            "{error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
    // Ranges are ranges, whatever the file is called.
    let error = verify(&bundle_of(shards(&json!(10), &[".:0:10", ".:20:21"]))).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error}");
}

#[test]
fn another_key_is_named() {
    let other = include_bytes!("../../tests/data/keys/p384-pub.pem");
    let other = crate::oms::key::PublicKey::from_pem(other).unwrap();
    let manifest = Manifest::new(
        description(Serialization::files(Algorithm::Sha256)),
        vec![whole("a", Algorithm::Sha256)],
    )
    .unwrap();
    let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
    let error = VerifiedManifest::verify(bundle.clone(), &Trust::Key(other.clone())).unwrap_err();
    assert!(matches!(
        error,
        VerifyManifestError::Signature(VerifyError::OtherKey { .. })
    ));
    // Without the hint, or with a forged one, the signature decides.
    let text = String::from_utf8(bundle).unwrap();
    for hint in ["", other.hint()] {
        let forged = text.replace(key().public_key().hint(), hint).into_bytes();
        assert_eq!(
            VerifiedManifest::verify(forged, &Trust::Key(other.clone())).unwrap_err(),
            VerifyManifestError::Signature(VerifyError::Signature)
        );
    }
}

fn any_names() -> impl Strategy<Value = Vec<String>> {
    // One letter before each name keeps it from being a file and a directory, or ignored.
    prop::collection::btree_set("[a-zé0-9:. \\-]{0,8}", 1..20)
        .prop_map(|names| names.into_iter().map(|name| format!("d/f{name}")).collect())
}

proptest! {
    #[test]
    fn signing_and_verifying_round_trips(
        names in any_names(),
        hash in prop::sample::select(Algorithm::ALL.to_vec()),
        size in prop::option::of(1_u64..50),
        lens in prop::collection::vec(1_u64..500, 20),
        reference: bool,
    ) {
        let files = names.iter().zip(lens).map(|(name, len)| match size {
            None => whole(name, hash),
            Some(size) => sharded(name, hash, size, len),
        }).collect();
        let shard_size = size.and_then(NonZeroU64::new);
        let serialization = Serialization { hash, shard_size };
        let manifest = Manifest::new(description(serialization), files).unwrap();
        let compat = if reference { Compat::Reference } else { Compat::Specification };
        let bundle = manifest.sign(&key(), compat).unwrap();
        let verified = VerifiedManifest::verify(bundle, &trust()).unwrap();
        prop_assert_eq!(verified.manifest(), &manifest);
    }

    /// Whatever a trusted signer signed, it is an error or a manifest that keeps the rules.
    #[test]
    fn damaged_statements_are_errors_or_keep_the_rules(
        sharded: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let statement = if sharded {
            shards(&json!(10), &["a:0:10", "a:10:15", "b/c:0:3"])
        } else {
            files(&["a", "b/c", "b/d"])
        };
        let mut payload = statement.to_string().into_bytes();
        for (index, byte) in edits {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        let bundle = sign_payload(payload, &key()).unwrap();
        if let Ok(verified) = VerifiedManifest::verify(bundle, &trust()) {
            let manifest = verified.manifest();
            prop_assert!(manifest.files().is_sorted_by(|a, b| a.name < b.name));
            prop_assert!(!manifest.files().is_empty());
            for file in manifest.files() {
                prop_assert!(FileName::new(file.name.as_str()).is_ok());
                prop_assert_eq!(file.content.algorithm(), manifest.hash());
                prop_assert!(file.content.len() != Some(0));
                prop_assert!(!manifest.is_ignored(&file.name));
            }
        }
    }

    #[test]
    fn damaged_bundles_are_errors_and_nothing_worse(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bundle = sign_payload(files(&["a"]).to_string().into_bytes(), &key()).unwrap();
        for (index, byte) in edits {
            let index = index.index(bundle.len());
            bundle[index] = byte;
        }
        if let Some(cut) = cut {
            bundle.truncate(cut.index(bundle.len()));
        }
        let _ = UnverifiedManifest::parse_without_verifying(bundle.as_slice());
        if let Ok(verified) = VerifiedManifest::verify(bundle, &trust()) {
            prop_assert_eq!(verified.manifest(), &signed(&files(&["a"])).unwrap());
        }
    }

    #[test]
    fn a_tree_is_what_a_naive_check_says(
        names in prop::collection::vec("[ab.!/]{1,6}", 1..12)
    ) {
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        let parsed: Result<Vec<FileName>, _> = listed.iter().map(|name| FileName::new(name)).collect();
        let fine = parsed.is_ok_and(|names| {
            names.iter().enumerate().all(|(i, a)| {
                names.iter().enumerate().all(|(j, b)| i == j || !b.is_within(a))
            })
        });
        prop_assert_eq!(signed(&files(&listed)).is_ok(), fine);
    }
}

#[test]
fn every_flipped_bit_of_the_bundle_fails_or_changes_nothing() {
    let manifest = Manifest::new(
        description(Serialization::files(Algorithm::Sha256)),
        vec![whole("a", Algorithm::Sha256)],
    )
    .unwrap();
    let bundle = manifest.sign(&key(), Compat::Specification).unwrap();
    let text = std::str::from_utf8(&bundle).unwrap();
    let within = |member: &str| {
        let start = text.find(member).unwrap() + member.len();
        start..start + text[start..].find('"').unwrap()
    };
    let covered = [within("\"payload\":\""), within("\"sig\":\"")];
    for index in 0..bundle.len() {
        for bit in 0..8 {
            let mut flipped = bundle.clone();
            flipped[index] ^= 1 << bit;
            match VerifiedManifest::verify(flipped, &trust()) {
                Err(_) => {}
                Ok(verified) => {
                    // Members outside of the signature may change where nothing depends on them.
                    assert!(
                        !covered.iter().any(|range| range.contains(&index)),
                        "{index}.{bit}"
                    );
                    assert_eq!(verified.manifest(), &manifest);
                }
            }
        }
    }
}
