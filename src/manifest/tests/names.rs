//! Names of files, and paths that are left out.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::name::NameRule;
use crate::oms::statement::{MAX_IGNORE_PATHS, StatementError};

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
fn what_is_left_out_is_remembered() {
    let statement = files(&["a", "b/c", "b/d", "b-c"]).to_string();
    let bundle = sign_payload(statement.into_bytes(), &key()).unwrap();
    let verified = VerifiedManifest::verify(bundle, &trust(), &ModelShape::Directory).unwrap();
    assert!(verified.left_out().is_empty());
    let name = |name| FileName::new(name).unwrap();
    let rest = verified.without(&[name("b"), name("nothing")]);
    assert_eq!(names(&rest), ["a", "b-c"]);
    assert_eq!(rest.left_out(), [name("b/c"), name("b/d")]);
    let rest = rest.without(&[name("a")]);
    assert_eq!(rest.left_out(), [name("a"), name("b/c"), name("b/d")]);
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

proptest! {
    #[test]
    fn a_tree_is_what_a_naive_check_says(
        names in prop::collection::vec("[ab.!/]{1,6}", 1..12)
    ) {
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        let parsed: Result<Vec<_>, _> = listed.iter().map(|name| FileName::new(name)).collect();
        let fine = parsed.is_ok_and(|names| {
            names.iter().enumerate().all(|(i, a)| {
                names.iter().enumerate().all(|(j, b)| i == j || !b.is_within(a))
            })
        });
        prop_assert_eq!(signed(&files(&listed)).is_ok(), fine);
    }
}
