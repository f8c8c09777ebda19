//! How the command line behaves towards names, pipes and disks: names and paths that are hostile or
//! no text, results that can't be written, and what is signed and yet to be left out.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::built;
use test_support::keys;
use test_support::mounted::{flip, scratch};
use test_support::process::Finished;

use crate::program::Home;
use crate::signed::{Signer, files};

/// A name that clears the screen, forges a verdict, and turns text around.
const HOSTILE: &str = "\u{1b}[2J\nverified: 9 files, signed by acme\n\u{9b}1m\u{202e}\u{2060}x";

fn private_key() -> PathBuf {
    keys::path("p256-pkcs8.pem")
}

fn public_key() -> PathBuf {
    keys::path("p256-pub.pem")
}

/// Words of a command line, of texts and paths.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        vec![$(OsString::from(AsRef::<OsStr>::as_ref(&$word))),*]
    };
}

/// Checks that nothing in a text acts on a terminal, and that no name has forged a line of it.
#[track_caller]
fn assert_harmless(text: &str, what: &str) {
    let acts = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    assert!(!text.contains(acts), "{what}: {text:?}");
    for line in text.lines() {
        let line = line.trim_start();
        assert!(!line.starts_with("verified: 9"), "{what}: {text:?}");
    }
}

#[track_caller]
fn assert_all_harmless(finished: &Finished) {
    assert_harmless(&finished.stdout, "stdout");
    assert_harmless(&finished.stderr, "stderr");
    assert!(!finished.stderr.contains("panicked"), "{finished}");
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

/// A small model in a directory of its own, signed.
fn model(home: &Home, folder: &Path, name: impl AsRef<OsStr>) -> PathBuf {
    let path = folder.join(name.as_ref());
    fs::create_dir_all(path.join("sub")).expect("mkdir");
    fs::write(path.join("weights"), vec![7; 3 << 20]).expect("write");
    fs::write(path.join("sub/config"), b"{}").expect("write");
    let sign = words![
        "sign",
        path,
        "--private-key",
        private_key(),
        "--hash",
        "sha256",
        "--plain"
    ];
    assert_all_harmless(&home.run(sign).expect("sign"));
    path
}

/// A file is signed under the composed name and then has the decomposed one, which looks the same.
#[test]
fn names_that_differ_in_normalisation_are_told_apart() {
    let (home, folder) = (Home::new(), scratch());
    let path = folder.path().join("model");
    fs::create_dir(&path).expect("mkdir");
    fs::write(path.join("w\u{e9}ights"), "weights").expect("write");
    let sign = words!["sign", path, "--private-key", private_key()];
    home.run(sign).expect("sign");
    let verify = words!["verify", path, "--public-key", public_key()];
    home.run(&verify).expect("verify");

    fs::rename(path.join("w\u{e9}ights"), path.join("we\u{301}ights")).expect("rename");
    let finished = home.run(&verify);
    assert_eq!(finished.code(), Some(4), "{finished}");
    assert!(finished.stderr.contains("w\u{e9}ights"), "{finished}");
    assert!(finished.stderr.contains("we\\u{301}ights"), "{finished}");
    assert!(!finished.stderr.contains('\u{301}'), "{finished}");

    let finished = home.run([verify, words!["--json"]].concat());
    let mut failures: Vec<_> = json(&finished)["failures"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["reason"].to_string(), it["file"].to_string()))
        .collect();
    failures.sort();
    assert_eq!(
        failures,
        [
            ("\"missing\"".into(), "\"w\u{e9}ights\"".into()),
            ("\"unsigned\"".into(), "\"we\\\\u{301}ights\"".into()),
        ]
    );

    // Both side by side are two files, signed and verified as such.
    fs::write(path.join("w\u{e9}ights"), "weights").expect("write");
    let sign = words![
        "sign",
        path,
        "--private-key",
        private_key(),
        "--hash",
        "sha256"
    ];
    home.run(sign).expect("sign");
    home.run(words!["verify", path, "--public-key", public_key()])
        .expect("verify");
    let shown = home.run(words!["inspect", path]);
    assert!(
        shown.stdout.contains("w\u{e9}ights") && shown.stdout.contains("we\\u{301}ights"),
        "{shown}"
    );
}

#[test]
fn what_is_signed_cannot_be_left_out_when_verifying() {
    let signer = Signer::new();
    signer.sign(files().to_string().as_bytes());
    let verify = |ignored: &[&OsStr]| {
        let mut words: Vec<_> = signer.verify().into_iter().map(OsString::from).collect();
        for path in ignored {
            words.extend(words!["--ignore-paths", path]);
        }
        words.push("--json".into());
        signer.home.run(words)
    };
    // What isn't signed may be left out, there or not.
    fs::write(signer.model().join("log"), "x").expect("write");
    let ignored = ["log", "nothing"].map(OsStr::new);
    let report = json(&verify(&ignored).expect("verify"));
    assert_eq!(
        (&report["verified"], &report["files"]),
        (&true.into(), &2.into())
    );
    assert_eq!(report["error"], Value::Null);

    let absolute = signer.model().join("a");
    let cases: [(&[&OsStr], &[&str]); 5] = [
        (&["a".as_ref()], &["a"]),
        (&[absolute.as_os_str()], &["a"]),
        (&["b".as_ref()], &["b/c"]),
        (&["./b/c".as_ref()], &["b/c"]),
        (&["a".as_ref(), "b".as_ref()], &["a", "b/c"]),
    ];
    // As signed, changed, and missing: it is never looked at, so it makes no difference.
    for change in 0..3 {
        match change {
            0 => {}
            1 => flip(&signer.model().join("a"), 3),
            _ => fs::remove_file(signer.model().join("a")).expect("remove"),
        }
        for (ignored, left_out) in cases {
            let mut ignored = ignored.to_vec();
            ignored.push("log".as_ref());
            let report = json(&verify(&ignored).expect_code(4, "a signed file is left out"));
            assert_eq!(report["verified"], false, "{report:#}");
            assert_eq!(report["files"], 2, "{report:#}");
            assert!(report["error"].is_string(), "{report:#}");
            let failures = report["failures"].as_array().expect("failures");
            let named = failures
                .iter()
                .filter(|failure| failure["reason"] == "left-out");
            let named: Vec<_> = named
                .map(|failure| failure["file"].as_str().unwrap())
                .collect();
            assert_eq!(named, left_out, "{report:#}");
        }
    }
    let mut words: Vec<_> = signer.verify().into_iter().map(OsString::from).collect();
    words.extend(words!["--ignore-paths", "a", "--ignore-paths", "b"]);
    let said = signer
        .home
        .run(words)
        .expect_code(4, "all of it is left out");
    assert!(said.stderr.contains("--ignore-paths"), "{said}");
    assert_eq!(said.stdout, "");
}

/// Verbs that print a result, which all succeed.
fn printing(home: &Home, model: &Path, key: &Path) -> Vec<Vec<OsString>> {
    let trust = home.run(words![
        "trust",
        "add",
        "--public-key",
        key,
        "--name",
        "acme"
    ]);
    trust.expect("trust add");
    vec![
        words!["verify", model, "--public-key", key],
        words!["verify", model, "--public-key", key, "--json"],
        words!["index", model, "--public-key", key],
        words!["inspect", model],
        words!["inspect", model, "--json"],
        words!["sign", model, "--private-key", private_key()],
        words!["trust", "list"],
        words!["trust", "list", "--json"],
        words!["--help"],
        words!["--version"],
        words!["verify", "--help"],
    ]
}

#[test]
fn a_reader_that_closes_the_pipe_ends_nothing_but_the_output() {
    let (home, folder) = (Home::new(), scratch());
    let model = model(&home, folder.path(), "model");
    for words in printing(&home, &model, &public_key()) {
        let (reader, writer) = std::io::pipe().expect("make a pipe");
        drop(reader);
        let output = home.run_into(writer, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{words:?}");
    }
    // The exit code still says what was found out.
    flip(&model.join("weights"), 5);
    for json in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().expect("make a pipe");
        drop(reader);
        let mut words = words!["verify", model, "--public-key", public_key()];
        words.extend(json.iter().map(OsString::from));
        assert_eq!(home.run_into(writer, &words).status.code(), Some(4));
    }
}

#[test]
fn a_result_that_does_not_fit_on_the_disk_is_a_failure() {
    let (home, folder) = (Home::new(), scratch());
    let model = model(&home, folder.path(), "model");
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("open")
    };
    for words in printing(&home, &model, &public_key()) {
        let output = home.run_into(full(), &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("error: cannot write the result"), "{said}");
    }
    // A problem with the model counts for more, and is reported where that is possible.
    flip(&model.join("weights"), 5);
    let verify = words!["verify", model, "--public-key", public_key(), "--json"];
    let output = home.run_into(full(), &verify);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("weights"), "{said}");
    fs::write(model.join("model.sig"), "{}").expect("write");
    let output = home.run_into(full(), &verify);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn json_is_printed_whatever_went_wrong() {
    let (home, folder) = (Home::new(), scratch());
    let model = model(&home, folder.path(), "model");
    let verify = words!["verify", model, "--public-key", public_key(), "--json"];
    let with = |more: Vec<OsString>| home.run(verify.iter().cloned().chain(more));
    for (more, code) in [
        (words!["--log-file", folder.path().join("no/log")], 1),
        (words!["--signature", folder.path().join("none")], 1),
        (words!["--index-dir", "/proc/none"], 1),
        (words!["--ignore-paths", "../x"], 2),
        (words!["--signature", public_key()], 3),
    ] {
        let report = json(&with(more.clone()).expect_code(code, "verify"));
        assert_eq!(report["verified"], false, "{more:?}");
        assert!(report["error"].is_string(), "{more:?}: {report:#}");
    }
}

#[test]
fn an_index_that_cannot_be_written_is_not_claimed() {
    let (home, folder) = (Home::new(), scratch());
    let model = model(&home, folder.path(), "model");
    let store = folder.path().join("store");
    let index = |limit: &str| {
        home.shell(&format!(
            "trap '' XFSZ; {limit} exec model-fs index '{}' --public-key '{}' --index-dir '{}'",
            model.display(),
            public_key().display(),
            store.display(),
        ))
    };
    // Blocks of 512 bytes: room for the key of the store, none for a table of 48 chunks.
    let failed = index("ulimit -f 1;").expect_code(1, "no room");
    assert_eq!(failed.stdout, "", "nothing is claimed");
    assert!(failed.stderr.contains("1 of 2 files"), "{failed}");
    assert!(failed.stderr.contains("not kept"), "{failed}");
    let done = index("").expect("index");
    assert!(
        done.stdout.starts_with("indexed: 2 files, 3.00 MiB hashed"),
        "{done}"
    );
    // From now on nothing has to be written.
    let again = index("ulimit -f 1;").expect("index");
    assert!(
        again.stdout.starts_with("indexed: 2 files, 0 B hashed"),
        "{again}"
    );
    // Unsigned files are left out, and that is said.
    fs::write(model.join("more"), "x").expect("write");
    let said = index("").expect("index");
    assert!(said.stderr.contains("left out: 1 file"), "{said}");
}

#[test]
fn paths_need_not_be_text() {
    let (home, folder) = (Home::new(), scratch());
    let bad = |text: &[u8]| folder.path().join(OsStr::from_bytes(text));
    let model = model(&home, folder.path(), OsStr::from_bytes(b"x\xff"));
    let key = bad(b"k\xff");
    fs::copy(public_key(), &key).expect("copy");
    let (store, log) = (bad(b"s\xff"), bad(b"l\xff"));
    for words in printing(&home, &model, &key) {
        assert_all_harmless(&home.run(&words).expect("a path that isn't text"));
    }
    let verify = words!["verify", model, "--public-key", key];
    let with = |more: Vec<OsString>| home.run(verify.iter().cloned().chain(more));
    with(words!["--index-dir", store]).expect("verify");
    with(words!["-v", "--log-file", log]).expect("verify");
    let signature = bad(b"y\xff");
    fs::copy(model.join("model.sig"), &signature).expect("copy");
    with(words!["--signature", signature]).expect("verify");
    let said = home.run(words!["inspect", model]).expect("inspect");
    assert!(said.stdout.contains("x\\xff/model.sig"), "{said}");

    // Clean errors, never a panic.
    let none = bad(b"none\xff");
    let single = bad(b"f\xff");
    fs::write(&single, "x").expect("write");
    let odd = OsStr::from_bytes(b"\xff");
    for (words, code) in [
        (words!["verify", none], 1),
        (words!["verify", model, "--public-key", none], 1),
        (words!["verify", model, "--certificate-chain", none], 1),
        (words!["verify", model, "--ignore-paths", odd], 2),
        (words!["mount", none, folder.path(), "--foreground"], 1),
        (
            words!["mount", model, none, "--foreground", "--public-key", key],
            1,
        ),
        (words!["mount", model, none, "-o", odd], 2),
        (words!["umount", none], 1),
        (words!["umount", folder.path()], 1),
        (words!["status", none], 1),
        (words!["status", model], 1),
        (words!["index", none], 1),
        (words!["inspect", none], 1),
        (words!["sign", none, "--private-key", private_key()], 1),
        (words!["sign", single, "--private-key", private_key()], 1),
        (words!["sign", model, "--private-key", none], 1),
        (
            words!["sign", model, "--private-key", odd, "--hash", odd],
            2,
        ),
        (words!["trust", "add", "--public-key", none], 1),
        (
            words!["trust", "add", "--public-key", key, "--name", odd],
            2,
        ),
        (words!["trust", "remove", odd], 2),
        (words![odd], 2),
        (words!["verify", model, odd], 2),
    ] {
        let failed = home.run(&words);
        assert_eq!(failed.code(), Some(code), "{failed}");
        assert!(failed.stderr.starts_with("error: "), "{failed}");
        assert_all_harmless(&failed);
    }
    let failed = home.run(words!["sign", single, "--private-key", private_key()]);
    assert!(failed.stderr.contains("f\\xff"), "{failed}");
    assert!(failed.stderr.contains("UTF-8"), "{failed}");
}

#[test]
fn hostile_paths_are_shown_not_sent() {
    let (home, folder) = (Home::new(), scratch());
    let hostile = model(&home, folder.path(), HOSTILE);
    // All that the user sees of it beforehand.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&hostile, &link).expect("link");
    let key = folder.path().join(format!("key{HOSTILE}"));
    fs::copy(public_key(), &key).expect("copy");
    let store = folder.path().join(format!("store{HOSTILE}"));
    let log = folder.path().join("log");
    let verbose = words!["-vv", "--log-file", log];
    for words in printing(&home, &link, &key) {
        let done = home.run(words.into_iter().chain(verbose.clone()));
        assert_all_harmless(&done.expect("a hostile path"));
    }
    let indexed = words!["index", link, "--public-key", key, "--index-dir", store];
    assert_all_harmless(&home.run(indexed).expect("index"));

    // Names in the model, and every way to fail.
    let none = folder.path().join(format!("none{HOSTILE}"));
    fs::write(hostile.join(HOSTILE), "x").expect("write");
    fs::create_dir(hostile.join(format!("sub{HOSTILE}"))).expect("mkdir");
    fs::write(hostile.join(format!("sub{HOSTILE}/x")), "x").expect("write");
    std::os::unix::fs::symlink("x", hostile.join(format!("link{HOSTILE}"))).expect("link");
    fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("chmod");
    let verify = words!["verify", link, "--public-key", key];
    let extended = |more: Vec<OsString>| verify.iter().cloned().chain(more).collect::<Vec<_>>();
    let option = format!("--{HOSTILE}");
    for (words, code) in [
        (verify.clone(), 4),
        (extended(words!["--json"]), 4),
        (extended(words!["--index-dir", store]), 1),
        (extended(words!["--index-dir", key.join("x")]), 1),
        (extended(words!["--signature", none]), 1),
        (
            extended(words!["--ignore-paths", format!("../{HOSTILE}")]),
            2,
        ),
        (words!["verify", link, "--public-key", none], 1),
        (
            words!["verify", link, "--public-key", link.join("weights")],
            1,
        ),
        (words!["verify", link, "--certificate-chain", key], 1),
        (words!["sign", link, "--private-key", private_key()], 1),
        (words!["sign", link, "--private-key", none], 1),
        (
            words!["mount", link, none, "--public-key", key, "--foreground"],
            4,
        ),
        (
            words!["mount", none, link, "--public-key", key, "--foreground"],
            1,
        ),
        (words!["umount", none], 1),
        (words!["umount", hostile], 1),
        (words!["status", none], 1),
        (words!["status", hostile], 1),
        (words!["index", none], 1),
        (words!["inspect", none], 1),
        (words!["trust", "add", "--public-key", none], 1),
        (
            words!["trust", "add", "--public-key", key, "--name", HOSTILE],
            2,
        ),
        (words!["trust", "remove", HOSTILE], 2),
        (words![option], 2),
        (words![HOSTILE], 2),
        (
            words!["sign", link, "--private-key", key, "--hash", HOSTILE],
            2,
        ),
        (words!["mount", link, none, "-o", HOSTILE], 2),
        (words!["mount", link, none, "--cache-size", HOSTILE], 2),
    ] {
        let failed = home.run(words.into_iter().chain(verbose.clone()));
        assert_eq!(failed.code(), Some(code), "{failed}");
        assert_all_harmless(&failed);
    }
    let failed = home.run(extended(words!["--log-file", none.join("x")]));
    assert_all_harmless(&failed.expect_code(1, "no log"));
    let logged = fs::read_to_string(&log).unwrap_or_default();
    assert_harmless(&logged, "log");
}

/// JSON documents keep names exact, and don't act on a terminal that shows them.
#[test]
fn documents_are_harmless_and_exact() {
    let (home, folder) = (Home::new(), scratch());
    let path = folder.path().join("model");
    fs::create_dir(&path).expect("mkdir");
    fs::write(path.join(HOSTILE), "x").expect("write");
    home.run(words!["sign", path, "--private-key", private_key()])
        .expect("sign");
    let shown = home
        .run(words!["inspect", path, "--json"])
        .expect("inspect");
    assert_all_harmless(&shown);
    assert_eq!(json(&shown)["files"][0]["name"], HOSTILE);
}

/// What is printed goes through one place, which neither panics nor sends a name unescaped.
#[test]
fn nothing_is_printed_past_the_one_place_for_it() {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("list") {
            let path = entry.expect("list").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    let mut all = Vec::new();
    sources(&built::repository("src"), &mut all);
    assert!(all.len() > 50, "{all:?}");
    for path in all {
        let text = fs::read_to_string(&path).expect("read");
        let is_tests = path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs");
        let code = match text.split_once("#[cfg(test)]\nmod tests {") {
            _ if is_tests => continue,
            Some((code, _)) => code,
            None => &text,
        };
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            for (forbidden, instead) in [
                ("println!", "terminal::print"),
                ("print!(", "terminal::print"),
                ("dbg!", "nothing"),
                (".display()", "name::Escaped::path"),
            ] {
                let place = format!("{}:{}", path.display(), number + 1);
                assert!(
                    !line.contains(forbidden),
                    "{place} has {forbidden} for {instead}"
                );
            }
        }
    }
}
