//! Hostile sizes: refused in little memory, no matter what a file claims or holds.
//!
//! The limit counts everything that the process maps. Where the process needs more, an allocation
//! fails and the process is aborted, which gives none of the exit codes below.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};

use model_fs::oms::bundle::{MAX_BUNDLE, MAX_ESCAPED};
use model_fs::oms::statement::MAX_RESOURCES;

use crate::signed::{Signer, files, shown, state_root};

const MEMORY: u64 = 256 << 20;

/// For what is refused for its size or its form. That takes well below a second; the bound allows
/// for a slow machine, and ends what would never end.
const EARLY: (u64, u32) = (MEMORY, 10);

/// For what has to be hashed to be refused, all 180 MiB of a payload: four times as many in the
/// form that Python 0.2 would have signed.
const HASHED: (u64, u32) = (MEMORY, 20);

/// For what a trusted signer may send, which is read to its end.
const TRUSTED: (u64, u32) = (2 * MEMORY, 20);

/// Runs `verify` on what lies in place of the signature, and `inspect`; both must refuse it.
#[track_caller]
fn refuse(signer: &Signer, what: &str, says: &str) {
    let inspect = ["inspect".to_owned(), shown(&signer.signature())];
    let inspected = signer.home.run_within(EARLY, inspect);
    let verified = signer.home.run_within(EARLY, signer.verify());
    for judged in [inspected, verified] {
        let judged = judged.expect_code(3, what);
        assert!(judged.stderr.contains(says), "{what}: {judged}");
        // Nor does the message grow with what was sent.
        assert!(
            judged.stderr.len() < 8192,
            "{what}: a message of {} bytes",
            judged.stderr.len()
        );
    }
}

#[test]
fn a_bundle_of_two_gibibytes() {
    let signer = Signer::new();
    let file = File::create(signer.signature()).expect("create a file");
    // A hole: it takes no space, and reads as zeros.
    file.set_len(2 << 30).expect("make a large file");
    refuse(&signer, "2 GiB", "bytes");
}

#[test]
fn bundles_around_the_limit() {
    let signer = Signer::new();
    for (len, says) in [
        (MAX_BUNDLE - 1, "not an OMS signature"),
        (MAX_BUNDLE, "not an OMS signature"),
        (MAX_BUNDLE + 1, "bytes"),
    ] {
        let file = File::create(signer.signature()).expect("create a file");
        file.set_len(len as u64).expect("make a large file");
        refuse(&signer, &format!("{len} bytes"), says);
    }
}

/// Writes a bundle of at most `size` bytes, whose payload is `piece` again and again. Everything
/// else in it is well formed.
fn forged(signer: &Signer, size: usize, piece: &str) {
    let envelope = r#""payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]"#;
    let head = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{}}}},"dsseEnvelope":{{{envelope},"payload":""#
    );
    let tail = "\"}}";
    let mut file = BufWriter::new(File::create(signer.signature()).expect("create a file"));
    file.write_all(head.as_bytes()).expect("write");
    for _ in 0..(size - head.len() - tail.len()) / piece.len() {
        file.write_all(piece.as_bytes()).expect("write");
    }
    file.write_all(tail.as_bytes()).expect("write");
    file.into_inner().expect("write");
}

/// The largest payload that fits: all of it is decoded to be checked, and none of it is signed.
#[test]
fn a_forged_bundle_of_the_largest_size() {
    let signer = Signer::new();
    forged(&signer, MAX_BUNDLE, "AAAA");
    let judged = signer.home.run_within(HASHED, signer.verify());
    let judged = judged.expect_code(3, "a forged bundle");
    assert!(
        judged.stderr.contains("signature does not match"),
        "{judged}"
    );
}

/// What is written with escapes has to be copied to be read.
#[test]
fn forged_bundles_with_escapes() {
    let signer = Signer::new();
    let escaped = r"A\/\u0041A";
    forged(&signer, MAX_ESCAPED, escaped);
    let judged = signer.home.run_within(HASHED, signer.verify());
    let judged = judged.expect_code(3, "a forged bundle with escapes");
    assert!(
        judged.stderr.contains("signature does not match"),
        "{judged}"
    );
    for size in [MAX_ESCAPED + 100, MAX_BUNDLE] {
        forged(&signer, size, escaped);
        refuse(&signer, "many escapes", "JSON escapes");
    }
}

/// A statement with so many resources, each as short as it can be, in a good signature.
fn many_resources(count: usize) -> Vec<u8> {
    let mut statement = files();
    statement["predicate"]["resources"] = "RESOURCES".into();
    let text = statement.to_string();
    let (before, after) = text.split_once("\"RESOURCES\"").expect("a place");
    let entry = r#"{"name":"","digest":"","algorithm":""}"#;
    let mut payload = String::with_capacity(text.len() + count * (entry.len() + 1));
    payload.push_str(before);
    payload.push('[');
    for index in 0..count {
        if index > 0 {
            payload.push(',');
        }
        payload.push_str(entry);
    }
    payload.push(']');
    payload.push_str(after);
    payload.into_bytes()
}

#[test]
fn ten_million_resources() {
    let signer = Signer::new();
    signer.sign(&many_resources(10_000_000));
    refuse(&signer, "10,000,000 resources", "bytes");
}

#[test]
fn resources_around_the_limit() {
    let signer = Signer::new();
    signer.sign(&many_resources(MAX_RESOURCES + 1));
    let says = format!("lists {} resources", MAX_RESOURCES + 1);
    refuse(&signer, "a resource too many", &says);
    // As many as are allowed: refused for what they are, not for their number. They take more
    // memory, but only a trusted signer's statement gets this far.
    signer.sign(&many_resources(MAX_RESOURCES));
    let judged = signer.home.run_within(TRUSTED, signer.verify());
    let judged = judged.expect_code(3, "as many resources as are allowed");
    assert!(judged.stderr.contains("unknown hash algorithm"), "{judged}");
}

#[test]
fn names_of_a_megabyte() {
    let signer = Signer::new();
    let long = "n".repeat(1_000_000);
    let nested = "n/".repeat(500_000) + "n";
    for name in [&long, &nested] {
        let mut statement = files();
        statement["predicate"]["resources"][0]["name"] = name.as_str().into();
        signer.sign(statement.to_string().as_bytes());
        refuse(&signer, "a long name", "longer than");
    }
    // Sixty of them, all the same in the part that is shown.
    let mut statement = files();
    let resources = statement["predicate"]["resources"].as_array_mut();
    let resources = resources.expect("resources");
    let one = resources[0].clone();
    for index in 0..60 {
        let mut resource = one.clone();
        resource["name"] = format!("{long}{index}").into();
        resources.push(resource);
    }
    state_root(&mut statement);
    signer.sign(statement.to_string().as_bytes());
    refuse(&signer, "many long names", "longer than");
    // In every other place for a text.
    for place in [
        "/_type",
        "/predicateType",
        "/predicate/serialization/method",
        "/predicate/serialization/hash_type",
        "/predicate/resources/0/algorithm",
        "/predicate/resources/0/digest",
        "/subject/0/digest/sha256",
    ] {
        let mut statement = files();
        *statement.pointer_mut(place).expect("a member") = long.as_str().into();
        signer.sign(statement.to_string().as_bytes());
        refuse(&signer, place, "");
    }
}

/// In the bundle, and in the payload that a good signature covers, in place of each kind of value.
#[test]
fn json_nested_a_hundred_thousand_deep() {
    const DEPTH: usize = 100_000;
    let signer = Signer::new();
    let mut nested = [String::new(), String::new()];
    let _ = write!(nested[0], "{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let _ = write!(
        nested[1],
        "{}1{}",
        "{\"a\":".repeat(DEPTH),
        "}".repeat(DEPTH)
    );
    for nested in &nested {
        fs::write(signer.signature(), nested).expect("write a bundle");
        refuse(&signer, "the bundle", "");
        fs::write(signer.signature(), format!("{{\"mediaType\":{nested}}}"))
            .expect("write a bundle");
        refuse(&signer, "the bundle's media type", "");

        signer.sign(nested.as_bytes());
        refuse(&signer, "the payload", "not an OMS statement");
        for place in [
            "/_type",
            "/subject",
            "/subject/0",
            "/predicate",
            "/predicate/resources",
            "/predicate/resources/0",
            "/predicate/serialization",
            "/predicate/serialization/shard_size",
            "/predicate/serialization/ignore_paths",
        ] {
            let mut statement = files();
            if place.ends_with("shard_size") {
                statement["predicate"]["serialization"]["shard_size"] = 0.into();
            }
            *statement.pointer_mut(place).expect("a member") = "NESTED".into();
            let text = statement.to_string().replace("\"NESTED\"", nested);
            signer.sign(text.as_bytes());
            refuse(&signer, place, "statement");
        }
        // An unknown member is passed over, however deeply it is nested.
        let text = files().to_string();
        let text = format!("{{\"later\":{nested},{}", &text[1..]);
        signer.sign(text.as_bytes());
        signer
            .home
            .run_within(EARLY, signer.verify())
            .expect("an unknown member");
    }
}
