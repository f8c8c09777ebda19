//! Annotations that a trusted signer wrote, right and hostile: each is judged by the rules of
//! `docs/spec/lazy-verification.md`, and none makes a byte appear that isn't proved.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};
use test_support::keys;

use crate::signed::{FILES, Signer, files, of_resources, resource, shown, state_root};

/// The first resource, which is of the file `a`.
fn first(statement: &mut Value) -> &mut Value {
    &mut statement["predicate"]["resources"][0]
}

/// The right statement, with the text of `annotations` for the file `a`: some of it is no value of
/// any JSON library.
fn annotated(annotations: &str) -> String {
    let mut statement = files();
    first(&mut statement)["annotations"] = "HERE".into();
    statement.to_string().replacen("\"HERE\"", annotations, 1)
}

fn blake3_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// What is served of the model's two files by a mount, each all of it or an error: in either lane,
/// where this kernel has the second one.
#[track_caller]
fn mount_serves(signer: &Signer, look: impl Fn(&Path)) {
    let key = shown(&signer.public_key());
    for lane in ["fuse", "pages"] {
        let options = ["--public-key", &key, "--lane", lane].map(str::to_owned);
        signer.home.mounted(&signer.model(), &options, &look);
    }
}

fn read(mountpoint: &Path, name: &str) -> std::io::Result<Vec<u8>> {
    fs::read(mountpoint.join(name))
}

#[test]
fn annotations_of_another_form_are_ignored_with_a_warning() {
    let signer = Signer::new();
    let hex = blake3_of(b"0123456789");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let ignored = [
        r#"{"size":-1}"#.to_owned(),
        r#"{"size":-0}"#.to_owned(),
        r#"{"size":0.5}"#.to_owned(),
        r#"{"size":10.0}"#.to_owned(),
        r#"{"size":1e1}"#.to_owned(),
        r#"{"size":1e400}"#.to_owned(),
        r#"{"size":9223372036854775808}"#.to_owned(),
        r#"{"size":18446744073709551616}"#.to_owned(),
        r#"{"size":"10"}"#.to_owned(),
        r#"{"size":[10]}"#.to_owned(),
        r#"{"size":true}"#.to_owned(),
        format!(r#"{{"size":{deep}}}"#),
        format!(r#"{{"blake3":"{}"}}"#, hex.to_uppercase()),
        format!(r#"{{"blake3":"{}"}}"#, &hex[1..]),
        format!(r#"{{"blake3":"{hex}00"}}"#),
        format!(r#"{{"blake3":"{}"}}"#, "x".repeat(64)),
        format!(r#"{{"blake3":["{hex}"]}}"#),
        r#"{"blake3":"\ud800"}"#.to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
        "\"size\"".to_owned(),
        deep,
    ];
    for annotations in ignored {
        let shown = &annotations[..annotations.len().min(60)];
        signer.sign(annotated(&annotations).as_bytes());
        let verified = signer.home.run(signer.verify()).expect(shown);
        assert!(
            verified.stderr.contains("annotations of \"a\" ignored"),
            "{shown}: {verified}"
        );
    }
    // What is ignored weakens nothing: the file is proved by its digest.
    mount_serves(&signer, |mountpoint| {
        assert_eq!(read(mountpoint, "a").expect("read"), b"0123456789");
    });
    let inspected = signer.home.run(["inspect".into(), signer.model()]);
    let inspected = inspected.expect("inspect");
    assert!(
        inspected.stdout.contains("annotations    of \"a\" ignored"),
        "{inspected}"
    );
}

#[test]
fn what_a_verifier_does_not_know_says_nothing() {
    let signer = Signer::new();
    let deep = format!("{}{}", r#"{"x":["#.repeat(10_000), "]}".repeat(10_000));
    let many: Vec<String> = (0..60_000).map(|i| format!(r#""key {i}":{i}"#)).collect();
    for annotations in [
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"size":null,"blake3":null}"#.to_owned(),
        r#"{"Size":-1,"sizes":"x","BLAKE3":7}"#.to_owned(),
        format!(r#"{{"x":{deep},"size":10}}"#),
        format!("{{{}}}", many.join(",")),
        format!(r#"{{"x":"{}"}}"#, "y".repeat(1_000_000)),
    ] {
        let shown = &annotations[..annotations.len().min(60)];
        signer.sign(annotated(&annotations).as_bytes());
        let verified = signer.home.run(signer.verify()).expect(shown);
        assert!(!verified.stderr.contains("ignored"), "{shown}: {verified}");
    }
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    let signer = Signer::new();
    let hex = blake3_of(b"0123456789");
    for annotations in [
        r#"{"size":10,"size":10}"#.to_owned(),
        r#"{"size":10,"\u0073ize":11}"#.to_owned(),
        format!(r#"{{"blake3":"{hex}","blake3":"{hex}"}}"#),
        r#"null,"annotations":{"size":10}"#.to_owned(),
    ] {
        signer.sign(annotated(&annotations).as_bytes());
        signer
            .home
            .run(signer.verify())
            .expect_code(3, &annotations);
    }
    // A second BLAKE3 digest.
    let mut statement = files();
    statement["predicate"]["serialization"]["hash_type"] = "blake3".into();
    let resources = statement["predicate"]["resources"]
        .as_array_mut()
        .expect("resources");
    for (resource, (_, content)) in resources.iter_mut().zip(FILES) {
        resource["algorithm"] = "blake3".into();
        resource["digest"] = blake3_of(content).into();
    }
    state_root(&mut statement);
    first(&mut statement)["annotations"] = json!({"size": 10, "blake3": hex});
    signer.judge(&statement).expect("the same digest twice");
    first(&mut statement)["annotations"] = json!({"blake3": blake3_of(b"another")});
    let refused = signer.judge(&statement).expect_code(3, "another digest");
    assert!(refused.stderr.contains("annotation blake3"), "{refused}");
}

/// With shards, the ranges say where a file ends.
#[test]
fn annotations_of_shards_say_nothing() {
    let signer = Signer::new();
    let mut statement = crate::signed::shards();
    first(&mut statement)["annotations"] =
        json!({"size": 7, "blake3": blake3_of(b"something else")});
    let verified = signer.judge(&statement).expect("verify");
    assert!(!verified.stderr.contains("annotations"), "{verified}");
    mount_serves(&signer, |mountpoint| {
        assert_eq!(read(mountpoint, "a").expect("read"), b"0123456789");
    });
}

#[test]
fn a_signed_size_that_is_not_the_files_fails_and_shows_no_byte_too_many() {
    let signer = Signer::new();
    for (size, says) in [(9, "1 too many"), (11, "1 too few"), (0, "10 too many")] {
        let mut statement = files();
        first(&mut statement)["annotations"] = json!({"size": size});
        let refused = signer.judge(&statement).expect_code(4, "another size");
        assert!(refused.stderr.contains(says), "{refused}");
        mount_serves(&signer, |mountpoint| {
            // An empty file has no byte to be wrong; but its digest would be another one.
            let error = read(mountpoint, "a").expect_err("another size");
            assert_eq!(error.raw_os_error(), Some(5), "{size}: {error}");
            let size_of = |name: &str| fs::metadata(mountpoint.join(name)).expect("stat").len();
            assert_eq!((size_of("a"), size_of("b/c")), (size, 5));
        });
    }
}

#[test]
fn annotations_of_another_file_fail() {
    let signer = Signer::new();
    let (_, other) = FILES[1];
    let mut statement = files();
    first(&mut statement)["annotations"] = json!({"size": other.len(), "blake3": blake3_of(other)});
    signer.judge(&statement).expect_code(4, "another file's");
    mount_serves(&signer, |mountpoint| {
        let error = read(mountpoint, "a").expect_err("a file that isn't what was signed");
        assert_eq!(error.raw_os_error(), Some(5));
    });
}

/// Signs as `sign` does when told nothing, for the tables that it leaves in the model.
fn sign_by_program(signer: &Signer) {
    let sign = [
        "sign".into(),
        signer.model(),
        "--private-key".into(),
        keys::path("p384-pkcs8.pem"),
    ];
    signer.home.run(sign).expect("sign");
}

/// The same of a file with a table, which is read chunk by chunk: the table that is there is for
/// another length, or for another number of chunks.
#[test]
fn a_signed_size_that_is_not_a_large_files_fails_all_its_reads_and_no_others() {
    const LEN: u64 = 300_000;
    let signer = Signer::new();
    let content: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8 + 1).collect();
    fs::write(signer.model().join("a"), &content).expect("write");
    sign_by_program(&signer);
    for size in [0, 1, 65_536, LEN - 1, LEN, LEN + 1, LEN + 65_536, 1 << 40] {
        let mut large = resource("a", &content);
        large["annotations"] = json!({"size": size, "blake3": blake3_of(&content)});
        let (name, other) = FILES[1];
        signer.sign(
            of_resources(&[large, resource(name, other)])
                .to_string()
                .as_bytes(),
        );
        mount_serves(&signer, |mountpoint| {
            assert_eq!(read(mountpoint, name).expect("read"), other);
            if size == LEN {
                return assert_eq!(read(mountpoint, "a").expect("read"), content);
            }
            let file = fs::File::open(mountpoint.join("a"));
            for offset in [0, 65_536, LEN - 10, LEN, LEN + 4096, size.saturating_sub(1)] {
                let mut bytes = [0; 1];
                let read = file
                    .as_ref()
                    .map_err(std::io::Error::raw_os_error)
                    .and_then(|file| {
                        let read = file.read_at(&mut bytes, offset);
                        read.map_err(|error| error.raw_os_error())
                    });
                match read {
                    Ok(0) => assert!(offset >= size && size > 0, "{size}: an end at {offset}"),
                    Ok(_) => panic!("{size}: a byte at {offset}"),
                    Err(errno) => assert_eq!(errno, Some(5), "{size}: {offset}"),
                }
            }
        });
    }
}

/// A signer who signs the SHA-256 of one content and the BLAKE3 of another.
#[test]
fn two_contents_under_one_name_are_found_out() {
    const LEN: usize = 300_000;
    let (a, b) = (vec![1_u8; LEN], vec![2_u8; LEN]);
    let signer = Signer::new();
    fs::remove_dir_all(signer.model()).expect("remove");
    fs::create_dir_all(signer.model()).expect("mkdir");
    let file = signer.model().join("weights");
    // The tables of the second content, as its signer would ship them.
    fs::write(&file, &b).expect("write");
    sign_by_program(&signer);
    let mut weights = resource("weights", &a);
    weights["annotations"] = json!({"size": LEN, "blake3": blake3_of(&b)});
    let statement = of_resources(&[weights]);

    // The second content: BLAKE3 holds, and a mount serves it.
    let refused = signer
        .judge(&statement)
        .expect_code(4, "the second content");
    assert!(
        refused.stderr.contains("its signed blake3 digest holds"),
        "{refused}"
    );
    mount_serves(&signer, |mountpoint| {
        assert_eq!(read(mountpoint, "weights").expect("read"), b);
    });

    // The first: SHA-256 holds, and a mount serves none of it.
    fs::write(&file, &a).expect("write");
    let refused = signer.judge(&statement).expect_code(4, "the first content");
    assert!(
        refused.stderr.contains("its signed sha256 digest holds"),
        "{refused}"
    );
    let trust = ["--public-key".into(), signer.public_key(), "--json".into()];
    let words = ["verify".into(), signer.model()].into_iter().chain(trust);
    let told = signer.home.run(words).expect_code(4, "as JSON");
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(told["failures"][0]["holds"], "sha256");
    assert_eq!(told["failures"][0]["algorithm"], "blake3");
    assert_eq!(
        told["failures"][0]["ranges"],
        json!([{"start": 0, "end": LEN}])
    );
    mount_serves(&signer, |mountpoint| {
        let error = read(mountpoint, "weights").expect_err("the first content");
        assert_eq!(error.raw_os_error(), Some(5));
    });
    // Without tables neither is served, since a full pass compares all that was signed.
    fs::remove_dir_all(signer.model().join(".model-fs")).expect("remove tables");
    fs::remove_dir_all(signer.home.path().join("model-fs")).expect("forget");
    for content in [&a, &b] {
        fs::write(&file, content).expect("write");
        mount_serves(&signer, |mountpoint| {
            let error = read(mountpoint, "weights").expect_err("neither");
            assert_eq!(error.raw_os_error(), Some(5));
        });
    }
}
