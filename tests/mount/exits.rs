//! Exit codes, for scripts.

use std::fs;
use std::process::Command;

use test_support::built;
use test_support::keys;
use test_support::process::{Finished, finish};
use test_support::unprivileged::OrdinaryUser;

use crate::support::{BLAKE3, Host, LIMIT, Model, SHA256, private_key, public_key, tool};

fn model() -> Model {
    let model = Model::new([("weights", 600_000), ("config.json", 100)]);
    model.sign(BLAKE3);
    model
}

/// `verify`, with any key.
fn verify(host: &Host, model: &Model, key: &std::path::Path, options: &[&str]) -> Finished {
    let mut command = host.command("verify");
    command
        .arg(model.path())
        .arg("--public-key")
        .arg(key)
        .args(options);
    host.run(&mut command)
}

#[track_caller]
fn says(finished: &Finished, words: &[&str]) {
    assert!(finished.stderr.contains("error: "), "{finished}");
    assert_eq!(finished.stdout, "", "{finished}");
    for word in words {
        assert!(finished.stderr.contains(word), "{word}: {finished}");
    }
}

#[test]
fn a_good_model_is_0() {
    let host = Host::anywhere();
    verify(&host, &model(), &public_key(), &[]).expect_code(0, "verify");
}

#[test]
fn wrong_usage_is_2() {
    let host = Host::anywhere();
    let model = model();
    let path = model.path();
    let path = path.to_str().expect("UTF-8");
    for arguments in [
        &[][..],
        &["no-such-verb"],
        &["verify"],
        &["verify", path, "--no-such-flag"],
        &["verify", path, "--public-key", "a", "--identity", "b"],
        &["mount", path],
        &["mount", path, "/mnt", "--cache-size", "64K"],
        &["mount", path, "/mnt", "-o", "rw"],
        &["mount", path, "/mnt", "-o", "suid"],
        &["sign", path, "--private-key", "k", "--hash", "md5"],
        &["sign", path, "--private-key", "k", "--compat", "somebody"],
    ] {
        let finished = finish(Command::new(built::program()).args(arguments), LIMIT);
        assert_eq!(finished.code(), Some(2), "{finished}");
        assert!(
            !finished.stderr.is_empty() && finished.stdout.is_empty(),
            "{finished}"
        );
    }
    let outside =
        host.run(&mut host.on_model("verify", path.as_ref(), &["--ignore-paths", "../x"]));
    outside.expect_code(2, "a path outside of the model");
}

#[test]
fn what_cannot_be_done_is_1() {
    let host = Host::anywhere();
    let model = model();
    let garbage = model.beside("garbage.pem");
    fs::write(
        &garbage,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    )
    .expect("write");
    for key in [
        model.beside("none.pem"),
        garbage,
        keys::path("rsa-pub.pem"),
        keys::path("ed25519-pub.pem"),
    ] {
        let finished = verify(&host, &model, &key, &[]).expect_code(1, "a bad key");
        says(&finished, &["key"]);
    }
    let missing = model.beside("missing");
    let finished = host.run(&mut host.on_model("verify", &missing, &[]));
    says(&finished.expect_code(1, "a missing model"), &["missing"]);
    fs::remove_file(model.file("model.sig")).expect("remove");
    let finished = verify(&host, &model, &public_key(), &[]);
    says(
        &finished.expect_code(1, "a missing signature"),
        &["model.sig"],
    );
    let empty = Model::new::<&str>([]);
    let mut sign = host.command("sign");
    sign.arg(empty.path())
        .arg("--private-key")
        .arg(private_key());
    says(&host.run(&mut sign).expect_code(1, "an empty model"), &[]);
}

#[test]
fn a_signature_that_does_not_hold_is_3() {
    let host = Host::anywhere();
    let model = model();
    let other = keys::path("p384-pub.pem");
    let finished = verify(&host, &model, &other, &[]);
    says(&finished.expect_code(3, "another key"), &["key"]);

    let signature = model.file("model.sig");
    let genuine = fs::read(&signature).expect("read");
    let changed = {
        let text = String::from_utf8(genuine.clone()).expect("UTF-8");
        let at = text.find("\"payload\"").expect("a payload") + 60;
        let mut bytes = text.into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let half = &genuine[..genuine.len() / 2];
    for malformed in [
        &b""[..],
        b"{}",
        b"[]",
        b"not JSON \x1b[2J",
        b"\xff\xfe",
        half,
        &changed,
    ] {
        fs::write(&signature, malformed).expect("write");
        let finished = verify(&host, &model, &public_key(), &[]);
        assert!(!finished.stderr.contains('\u{1b}'), "{finished}");
        says(&finished.expect_code(3, "a malformed signature"), &[]);
        let json = verify(&host, &model, &public_key(), &["--json"]);
        let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert_eq!(report["verified"], false);
        json.expect_code(3, "a malformed signature, as JSON");
    }
    if let Some(host) = Host::new() {
        fs::write(&signature, &changed).expect("write");
        host.mount_fails(&model.path(), &[], 3);
    }
}

#[test]
fn content_that_is_not_the_signed_one_is_4() {
    let host = Host::anywhere();
    let model = model();
    test_support::mounted::flip(&model.file("weights"), 300_000);
    let finished = verify(&host, &model, &public_key(), &[]);
    says(&finished.expect_code(4, "a changed byte"), &["weights"]);
    let finished = host.run(&mut host.on_model("index", &model.path(), &[]));
    // With the shipped table, only the last chunk has to be read.
    finished.expect_code(0, "index of a blake3 model");
    model.restore("weights");
    fs::write(model.file("extra"), b"x").expect("write");
    let finished = verify(&host, &model, &public_key(), &[]);
    says(&finished.expect_code(4, "an extra file"), &["extra"]);
    verify(&host, &model, &public_key(), &["--ignore-unsigned-files"]).expect_code(0, "hidden");

    model.sign(SHA256);
    let large = Model::new([("weights", 2 << 20)]);
    large.sign(SHA256);
    test_support::mounted::flip(&large.file("weights"), 300_000);
    let finished = host.run(&mut host.on_model("index", &large.path(), &[]));
    says(
        &finished.expect_code(4, "index of a changed file"),
        &["weights"],
    );
}

/// A file system with room for next to nothing, in a mount namespace that ends with the command.
#[test]
fn a_full_disk_fails_signing_and_leaves_no_half_signature() {
    let host = Host::anywhere();
    let model = Model::new((0..600).map(|index| (format!("file-{index:0200}"), 10)));
    let small = model.beside("small");
    fs::create_dir(&small).expect("mkdir");
    let script = "mount -t tmpfs -o size=16k tmpfs \"$1\" && shift && \"$@\"; code=$?; \
                  ls -A \"$0\"; exit $code";
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c", script])
        .arg(&small)
        .arg(&small);
    command
        .arg(built::program())
        .arg("sign")
        .arg(model.path())
        .arg("--no-tables");
    command.arg("--private-key").arg(private_key());
    command.arg("--signature").arg(small.join("model.sig"));
    command
        .env("HOME", host.home())
        .env("XDG_CACHE_HOME", host.home().join(".cache"));
    let finished = host.run(&mut command).expect_code(1, "sign on a full disk");
    says(&finished, &["No space left"]);
}

#[test]
fn a_source_that_may_not_be_read_is_1() {
    let Some(user) = OrdinaryUser::new() else {
        return;
    };
    user.copy(&private_key(), "key.pem");
    user.copy(&public_key(), "public.pem");
    let model = user.folder("model");
    for name in ["weights", "config.json"] {
        fs::write(model.join(name), name).expect("write");
        OrdinaryUser::give(&model.join(name));
    }
    let run = |arguments: &[&str]| {
        let mut command = user.command_as_nobody(built::program().as_ref());
        let finished = finish(command.args(arguments), LIMIT);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        finished
    };
    run(&["sign", "model", "--private-key", "key.pem"]).expect("sign");
    tool("chmod", ["0".as_ref(), model.join("weights").as_os_str()]).expect("chmod");
    for arguments in [
        &["verify", "model", "--public-key", "public.pem"],
        &["index", "model", "--public-key", "public.pem"],
        &["sign", "model", "--private-key", "key.pem"],
    ] {
        says(
            &run(arguments).expect_code(1, "an unreadable file"),
            &["weights"],
        );
    }
}
