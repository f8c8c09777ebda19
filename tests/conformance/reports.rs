//! What is reported: all failures with file, byte range and reason; the claimed signer, and how to
//! trust it; and that looking at a signature proves nothing.

use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};
use test_support::mounted::flip;
use test_support::process::Finished;

use crate::signed::{Signer, files, shards};

fn report(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

fn verify_json(signer: &Signer) -> Finished {
    let words = signer.verify();
    let words = words.iter().map(|word| word.as_os_str());
    signer.home.run(words.chain([OsStr::new("--json")]))
}

#[test]
fn a_good_model_is_reported_with_its_signer() {
    let signer = Signer::new();
    for (statement, is_sharded) in [(files(), false), (shards(), true)] {
        signer.sign(statement.to_string().as_bytes());
        let report = report(&verify_json(&signer).expect("verify"));
        assert_eq!(report["verified"], true, "{report}");
        assert_eq!(report["method"], "key");
        assert!(
            report["signer"]
                .as_str()
                .is_some_and(|text| text.starts_with("key "))
        );
        assert_eq!(report["shards"], is_sharded);
        assert_eq!(report["files"], 2);
        assert_eq!(report["bytes"], 15);
        assert_eq!(report["failure_count"], 0);
        assert_eq!(report["failures"], json!([]));
        let root = statement["subject"][0]["digest"]["sha256"].as_str();
        let root = root.expect("a root digest");
        assert!(
            report["root_digest"]
                .as_str()
                .is_some_and(|text| text.ends_with(root))
        );
    }
}

/// Of whole files and of shards, each with its range; missing and unsigned ones too.
#[test]
fn every_failure_is_reported() {
    let signer = Signer::new();
    signer.sign(shards().to_string().as_bytes());
    flip(&signer.model().join("a"), 1);
    flip(&signer.model().join("a"), 9);
    fs::remove_file(signer.model().join("b/c")).expect("remove a file");
    fs::write(signer.model().join("more"), "x").expect("write a file");
    let finished = verify_json(&signer).expect_code(4, "a changed model");
    let sharded = report(&finished);
    assert_eq!(sharded["verified"], false);
    assert_eq!(sharded["failure_count"], 4, "{sharded:#}");
    let of = |report: &Value, file: &str| -> Vec<Value> {
        let failures = report["failures"].as_array().expect("failures");
        let mine = failures.iter().filter(|failure| failure["file"] == file);
        let mut mine: Vec<_> = mine.cloned().collect();
        mine.sort_by_key(|failure| failure["start"].as_u64());
        mine
    };
    let changed = of(&sharded, "a");
    let seen: Vec<_> = changed
        .iter()
        .map(|failure| [&failure["start"], &failure["end"], &failure["reason"]])
        .collect();
    assert_eq!(
        seen,
        [
            [&json!(0), &json!(4), &json!("digest")],
            [&json!(8), &json!(10), &json!("digest")]
        ],
        "{sharded:#}"
    );
    for failure in &changed {
        assert_eq!(failure["algorithm"], "sha256");
        assert_ne!(failure["expected"], failure["found"]);
    }
    assert_eq!(of(&sharded, "b/c")[0]["reason"], "missing");
    assert_eq!(of(&sharded, "more")[0]["reason"], "unsigned");

    signer.sign(files().to_string().as_bytes());
    let whole = report(&verify_json(&signer).expect_code(4, "a changed model"));
    assert_eq!(whole["failure_count"], 3, "{whole:#}");
    let changed = of(&whole, "a");
    assert_eq!(changed[0]["start"], 0);
    assert_eq!(changed[0]["end"], 10);
    assert_eq!(changed[0]["reason"], "digest");
}

#[test]
fn a_bad_signature_is_reported_as_json_too() {
    let signer = Signer::new();
    let mut statement = files();
    statement["subject"] = json!([]);
    signer.sign(statement.to_string().as_bytes());
    let report = report(&verify_json(&signer).expect_code(3, "no subject"));
    assert_eq!(report["verified"], false);
    let error = report["error"].as_str().expect("a message");
    assert!(error.contains("0 subjects"), "{error}");
}

/// `inspect` shows what would be shown of a good signature, whether or not it is one.
#[test]
fn inspecting_verifies_nothing_and_says_so() {
    let signer = Signer::new();
    signer.sign(files().to_string().as_bytes());
    let bundle = fs::read_to_string(signer.signature()).expect("read a bundle");
    let mut forged: Value = serde_json::from_str(&bundle).expect("a bundle");
    forged["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA".into();
    for bundle in [bundle, forged.to_string()] {
        fs::write(signer.signature(), bundle).expect("write a bundle");
        let model = signer.model();
        let words = [OsStr::new("inspect"), model.as_os_str()];
        let text = signer.home.run(words).expect("inspect").stdout;
        assert!(text.contains("NOTHING WAS VERIFIED"), "{text}");
        let words = words.into_iter().chain([OsStr::new("--json")]);
        let report = report(&signer.home.run(words).expect("inspect"));
        assert_eq!(report["verified"], false, "{report:#}");
        assert_eq!(report["method"], "key");
        assert_eq!(report["file_count"], 2);
        assert_eq!(report["bytes"], 15);
        assert_eq!(report["hash"], "sha256");
        assert_eq!(report["serialization"], "files");
    }
    signer
        .home
        .run(signer.verify())
        .expect_code(3, "a forged signature");
}

/// With an empty trust store, the error says who signed, and which command trusts that signer. The
/// command works.
#[test]
fn strangers_are_shown_with_the_command_that_trusts_them() {
    let signer = Signer::new();
    signer.sign(files().to_string().as_bytes());
    let bundle = fs::read_to_string(signer.signature()).expect("read a bundle");
    let mut bundle: Value = serde_json::from_str(&bundle).expect("a bundle");
    let hint = "the-hint-of-a-stranger";
    bundle["verificationMaterial"]["publicKey"]["hint"] = hint.into();
    fs::write(signer.signature(), bundle.to_string()).expect("write a bundle");

    let model = signer.model();
    let verify = [OsStr::new("verify"), model.as_os_str()];
    let refused = signer.home.run(verify).expect_code(3, "a stranger");
    assert!(refused.stderr.contains(hint), "{refused}");
    let refused = signer
        .home
        .run(verify.into_iter().chain([OsStr::new("--json")]))
        .expect_code(3, "a stranger");
    assert!(
        report(&refused)["error"]
            .as_str()
            .is_some_and(|text| text.contains(hint))
    );

    // As the bundle was made, without a hint.
    signer.sign(files().to_string().as_bytes());
    let refused = signer.home.run(verify).expect_code(3, "a stranger");
    let command = refused
        .stderr
        .split_once("to trust them: ")
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_else(|| panic!("no command: {refused}"));
    // The one word that is for the user to fill in: a bundle of this method has no key.
    let filled = command.replace("PEM", &signer.public_key().display().to_string());
    assert_ne!(filled, command);
    signer
        .home
        .shell(&filled)
        .expect("the command that was shown");
    let verified = signer.home.run(verify).expect("verify by the trust store");
    assert!(verified.stdout.contains("signed by"), "{verified}");
    let report = report(
        &signer
            .home
            .run(verify.into_iter().chain([OsStr::new("--json")]))
            .expect("verify by the trust store"),
    );
    assert!(report["trusted_as"].is_string(), "{report:#}");
}
