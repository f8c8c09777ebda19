//! What is told: to scripts, and in logs.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use model_fs::digest::Algorithm;
use model_fs::manifest::{
    Description, Manifest, ManifestFile, ModelShape, Serialization, ShardDigests, SignedContent,
};
use model_fs::name::FileName;
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sign::Compat;
use serde_json::Value;
use test_support::keys;
use test_support::mounted::flip;

use crate::support::{
    ANNOTATED, BLAKE3, CHUNK, Host, Mode, Model, Mount, SHA256, SIGBUS, assert_eio, map_command,
    open, pread, private_key, read_range, tool,
};

/// The options that have a mount's log written to a file as JSON.
fn json_log(file: &Path) -> [&str; 4] {
    let file = file.to_str().expect("UTF-8");
    ["--log-file", file, "--log-format", "json"]
}

#[test]
fn verify_reports_every_failure() {
    let host = Host::anywhere();
    let forms = [
        SHA256,
        BLAKE3,
        ANNOTATED,
        &["--hash", "sha256", "--shard-size", "1MiB"],
    ];
    for options in forms {
        let names = ["changed", "cut", "fifo", "fine", "gone", "longer"];
        let model = Model::new(names.map(|name| (name, 3 << 20)));
        model.sign(options);
        let mut verify = host.on_model("verify", &model.path(), &["--json"]);
        let report: Value =
            serde_json::from_str(&host.run(&mut verify).expect("verify").stdout).expect("JSON");
        assert_eq!(report["verified"], true);
        assert_eq!(
            (&report["files"], &report["bytes"]),
            (&6.into(), &(18 << 20).into())
        );
        assert_eq!(report["failure_count"], 0);

        flip(&model.file("changed"), 1_500_000);
        let set_len = |name: &str, len| {
            let file = fs::OpenOptions::new().write(true).open(model.file(name));
            file.expect("open").set_len(len).expect("change the length");
        };
        set_len("cut", 1 << 20);
        set_len("longer", (3 << 20) + 5);
        model.remove("fifo");
        crate::support::tool("mkfifo", [model.file("fifo")]).expect("mkfifo");
        model.remove("gone");
        fs::write(model.file("unsigned \u{202e}"), b"x").expect("write");

        let mut verify = host.on_model("verify", &model.path(), &["--json"]);
        let finished = host.run(&mut verify).expect_code(4, "verify");
        let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        assert_eq!(report["verified"], false);
        let failures = report["failures"].as_array().expect("a list");
        assert_eq!(report["failure_count"], failures.len());
        let of = |file: &str| {
            let found: Vec<_> = failures.iter().filter(|f| f["file"] == file).collect();
            assert!(!found.is_empty(), "{file}: {report:#}");
            found
        };
        let range = |failure: &Value| {
            let (start, end) = (failure["start"].as_u64(), failure["end"].as_u64());
            start.expect("a first byte")..end.expect("a last byte")
        };
        assert!(failures.iter().all(|failure| failure["file"] != "fine"));
        assert_eq!(of("gone")[0]["reason"], "missing");
        assert_eq!(of("fifo")[0]["reason"], "wrong-type");
        assert_eq!(of("fifo")[0]["found"], "a FIFO");
        assert_eq!(of("unsigned \\u{202e}")[0]["reason"], "unsigned");
        let changed = of("changed");
        assert_eq!(changed.len(), 1, "{report:#}");
        assert_eq!(changed[0]["reason"], "digest");
        assert!(range(changed[0]).contains(&1_500_000));
        assert_ne!(changed[0]["expected"], changed[0]["found"]);
        let shards = options.contains(&"--shard-size");
        if shards {
            assert_eq!(range(changed[0]), 1 << 20..2 << 20);
        }
        // A signed length.
        if shards || options == ANNOTATED {
            assert!(of("cut").iter().any(|f| f["reason"] == "truncated"));
            assert!(of("longer").iter().any(|f| f["reason"] == "extended"));
        }
        of("cut");
        of("longer");
        for failure in failures {
            assert!(
                failure["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
    }
}

/// Terabytes that a sparse file claims are not hashed to find out that they weren't signed.
#[test]
fn a_file_that_is_longer_than_can_be_signed_is_refused_without_reading_it() {
    const CLAIMED: u64 = 4 << 40;
    let len = 3 << 20;
    let shards: &[&str] = &["--hash", "sha256", "--shard-size", "1048576"];
    for (options, indexed) in [(shards, false), (BLAKE3, false), (SHA256, true)] {
        let model = Model::new([("weights", len)]);
        model.sign(options);
        let host = Host::anywhere();
        if indexed {
            let mut index = host.on_model("index", &model.path(), &[]);
            host.run(&mut index).expect("index");
        }
        let file = fs::OpenOptions::new()
            .write(true)
            .open(model.file("weights"));
        file.expect("open").set_len(CLAIMED).expect("lengthen");
        let mut verify = host.on_model("verify", &model.path(), &["--json"]);
        let finished = host.run(&mut verify).expect_code(4, "verify");
        let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        let failure = &report["failures"][0];
        assert_eq!(failure["reason"], "extended", "{report}");
        assert_eq!(failure["start"], len);
        assert_eq!(failure["found_length"], CLAIMED);
    }
}

#[test]
fn inspect_shows_what_is_claimed_and_that_nothing_was_verified() {
    let host = Host::anywhere();
    let model = Model::new([("weights", 600_000), ("esc\u{1b}[2Jape", 10)]);
    model.sign(&[
        "--hash",
        "sha256",
        "--shard-size",
        "100000",
        "--ignore-paths",
        "cache",
    ]);
    // It isn't even checked whether the content is there.
    flip(&model.file("weights"), 5);
    for path in [model.path(), model.file("model.sig")] {
        let mut inspect = host.command("inspect");
        let shown = host.run(inspect.arg(&path)).expect("inspect").stdout;
        assert!(shown.starts_with("NOTHING WAS VERIFIED"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
        let mut inspect = host.command("inspect");
        let json = host
            .run(inspect.arg(&path).arg("--json"))
            .expect("inspect")
            .stdout;
        let report: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(report["verified"], false);
        assert_eq!(report["hash"], "sha256");
        assert_eq!(report["serialization"], "shards of 100000 bytes");
        assert_eq!(report["file_count"], 2);
        assert_eq!(report["bytes"], 600_010);
        let names: Vec<_> = report["files"].as_array().expect("files").iter().collect();
        assert_eq!(names[0]["name"], "esc\u{1b}[2Jape");
        assert_eq!(names[1]["size"], 600_000);
        let ignored = report["ignore_paths"].as_array().expect("a list");
        assert!(ignored.contains(&"cache".into()), "{report:#}");
    }
}

#[test]
fn signed_sizes_dont_wrap_when_they_are_summed() {
    let host = Host::anywhere();
    let model = Model::new([("file", 1)]);
    let size = std::num::NonZeroU64::new(1 << 63).expect("not zero");
    let files = ["a", "b", "c"].map(|name| {
        let digest = Algorithm::Sha256.hash(name.as_bytes());
        let shard = ShardDigests::new(Algorithm::Sha256, size, size.get(), digest.as_bytes());
        ManifestFile {
            name: FileName::new(name).expect("a name"),
            content: SignedContent::Shards(shard.expect("one shard")),
        }
    });
    let description = Description {
        subject_name: "large".to_owned(),
        shape: ModelShape::Directory,
        serialization: Serialization::shards(Algorithm::Sha256, size),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
    };
    let manifest = Manifest::new(description, files.to_vec()).expect("a manifest");
    let key = fs::read(private_key()).expect("read a key");
    let key = PrivateKey::from_pem(&key, None).expect("a key");
    let signature = manifest.sign(&key, Compat::Specification).expect("sign");
    fs::write(model.file("model.sig"), signature).expect("write");
    let mut inspect = host.command("inspect");
    inspect.arg(model.path()).arg("--json");
    let json = host.run(&mut inspect).expect("inspect").stdout;
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["bytes"], u64::MAX);
}

/// The events of a log file of JSON lines.
fn events(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

#[test]
fn a_violation_is_logged_with_place_and_digests_once() {
    let Some(host) = Host::new() else { return };
    for (options, algorithm) in [(BLAKE3, "blake3"), (SHA256, "blake3")] {
        let name = "weights \u{1b}[2J";
        let model = Model::new([(name, 3 << 20)]);
        model.sign(options);
        let log = model.beside("log.json");
        let mount = host.mount(&model.path(), &json_log(&log));
        read_range(&mount.file(name), Mode::Direct, 0, 10).expect("read the right bytes");
        flip(&model.file(name), 1_500_000);
        for _ in 0..5 {
            assert_eio(
                read_range(&mount.file(name), Mode::Direct, 1_500_000, 1),
                "read",
            );
        }
        assert_eq!(mount.stats().violations, 1, "one place is bad");
        assert!(mount.stats().violation_retries >= 4);
        let recent = mount.owner_status().recent_violations;
        assert_eq!(recent.len(), 1, "{recent:?}");
        let said = mount.unmount();
        assert_eq!(said, "", "what is logged to a file isn't shown");

        let text = fs::read_to_string(&log).expect("read the log");
        assert!(!text.contains('\u{1b}'), "{text}");
        let violations: Vec<_> = events(&text)
            .into_iter()
            .filter(|event| event["fields"]["expected"].is_string())
            .collect();
        assert_eq!(violations.len(), 1, "{text}");
        let fields = &violations[0]["fields"];
        let start = 1_500_000 / CHUNK * CHUNK;
        assert_eq!(violations[0]["level"], "ERROR");
        assert_eq!(fields["file"], "weights \\u{1b}[2J");
        assert_eq!(
            (&fields["start"], &fields["end"]),
            (&start.into(), &(start + CHUNK).into())
        );
        assert_eq!(fields["algorithm"], algorithm);
        for digest in ["expected", "found"] {
            let digest = fields[digest].as_str().expect("a digest");
            assert_eq!(digest.len(), 64, "{fields}");
            assert!(
                digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{fields}"
            );
        }
        assert_ne!(fields["expected"], fields["found"]);
    }
}

#[test]
fn lockdown_ends_all_reading_at_the_first_violation_and_the_hook_runs() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 3 << 20), ("other", 600_000)]);
    model.sign(BLAKE3);
    let told = model.beside("told");
    let hook = model.beside("hook; touch it");
    let script = format!(
        "#!/bin/sh\nprintf '%s %s %s %s' \"$MODEL_FS_FILE\" \"$MODEL_FS_START\" \
         \"$MODEL_FS_KIND\" \"$#\" > '{}.new' && mv '{0}.new' '{0}'\n",
        told.display()
    );
    fs::write(&hook, script).expect("write");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    let hook = hook.to_str().expect("UTF-8");
    let options = ["--on-violation", "lockdown", "--on-violation-exec", hook];
    let mount = host.mount(&model.path(), &options);
    read_range(&mount.file("other"), Mode::Direct, 0, 10).expect("read");
    flip(&model.file("weights"), 2_000_000);
    assert_eio(
        read_range(&mount.file("weights"), Mode::Direct, 2_000_000, 1),
        "a changed byte",
    );
    assert_eio(
        read_range(&mount.file("other"), Mode::Direct, 300_000, 10),
        "after it",
    );
    flip(&model.file("weights"), 2_000_000);
    assert_eio(
        read_range(&mount.file("weights"), Mode::Direct, 0, 10),
        "for good",
    );
    let patience = std::time::Instant::now() + crate::support::LIMIT;
    while !told.exists() {
        assert!(
            std::time::Instant::now() < patience,
            "the command never ran"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let start = 2_000_000 / CHUNK * CHUNK;
    assert_eq!(
        fs::read_to_string(&told).expect("read"),
        format!("weights {start} digest 0")
    );
    mount.unmount();
    // What isn't a program is wrong usage, and a shell's line is no program.
    for wrong in [told.to_str().expect("UTF-8"), "true", "/bin/true --help"] {
        let options = ["--on-violation-exec", wrong];
        let failed = host.mount_fails(&model.path(), &options, 2);
        assert!(failed.stderr.contains("absolute path"), "{failed}");
    }
}

#[test]
fn one_changed_byte_is_one_violation_however_the_kernel_asks() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHA256] {
        let model = Model::new([("weights", 3 << 20)]);
        model.sign(options);
        let mount = host.mount(&model.path(), &[]);
        read_range(&mount.file("weights"), Mode::Direct, 0, 10).expect("read");
        flip(&model.file("weights"), 1_500_000);
        let cat = tool("cat", [mount.file("weights")]);
        assert_eq!(cat.code(), Some(1), "{}", cat.stderr);
        assert_eq!(mount.stats().violations, 1);
        flip(&model.file("weights"), 2_500_000);
        assert_eq!(tool("cat", [mount.file("weights")]).code(), Some(1));
        let _ = read_range(&mount.file("weights"), Mode::Direct, 2_500_000, 10);
        assert_eq!(mount.stats().violations, 2);
        mount.unmount();
    }
}

#[test]
fn a_source_that_fails_is_logged_once_counted_and_in_the_status() {
    let Some(host) = Host::new() else { return };
    let gone = "gone \u{1b}[2J";
    let model = Model::new([(gone, 3 << 20), ("fine", 3 << 20)]);
    model.sign(BLAKE3);
    let log = model.beside("log.json");
    let mount = host.mount(&model.path(), &json_log(&log));
    assert_eq!(mount.stats().source_errors, 0);
    model.remove(gone);
    for _ in 0..20 {
        assert_eio(
            read_range(&mount.file(gone), Mode::Direct, 0, 10),
            "a file that is gone",
        );
    }
    read_range(&mount.file("fine"), Mode::Direct, 0, 10).expect("read");
    assert!(mount.stats().source_errors >= 20);
    let status = mount.owner_status();
    assert_eq!(status.stats.violations, 0, "{status:?}");
    let recent = &status.recent_source_errors;
    assert_eq!(recent.len(), 1, "{status:?}");
    let told = &recent[0];
    assert!(
        told.starts_with("\"gone \\u{1b}[2J\"") && told.ends_with("the file is missing"),
        "{told}"
    );
    model.restore(gone);
    read_range(&mount.file(gone), Mode::Direct, 0, 10).expect("read what is there again");
    mount.unmount();

    let text = fs::read_to_string(&log).expect("read the log");
    assert!(!text.contains('\u{1b}'), "{text}");
    let told: Vec<_> = events(&text)
        .into_iter()
        .filter(|event| event["fields"]["error"] == "the file is missing")
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert_eq!(told[0]["level"], "ERROR");
    assert_eq!(told[0]["fields"]["file"], "gone \\u{1b}[2J");
}

#[test]
fn descriptors_that_are_used_up_are_told_as_such() {
    let Some(host) = Host::new() else { return };
    let names: Vec<_> = (0..80).map(|number| format!("file{number}")).collect();
    let model = Model::new(names.iter().map(|name| (name, 10)));
    model.sign(BLAKE3);
    let mountpoint = tempfile::TempDir::new().expect("make a mountpoint");
    let limited = host.on_model("mount", &model.path(), &["--threads", "2"]);
    let mut command = std::process::Command::new("prlimit");
    command.arg("--nofile=40:40").arg(limited.get_program());
    command.args(limited.get_args());
    for (name, value) in limited.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("--foreground").arg("--").arg(mountpoint.path());
    let mount = Mount::of(command, mountpoint);
    let opened: Vec<_> = names
        .iter()
        .map(|name| fs::File::open(mount.file(name)))
        .collect();
    assert!(opened.iter().any(Result::is_ok));
    let errors: Vec<_> = opened
        .iter()
        .filter_map(|opened| opened.as_ref().err()?.raw_os_error())
        .collect();
    let used_up = rustix::io::Errno::MFILE.raw_os_error();
    assert!(
        !errors.is_empty() && errors.iter().all(|errno| *errno == used_up),
        "{errors:?}"
    );
    let status = mount.owner_status();
    assert_eq!(status.stats.violations, 0, "{status:?}");
    assert!(!format!("{status:?}").contains("missing"), "{status:?}");
    drop(opened);
    let deadline = Instant::now() + crate::support::LIMIT;
    // The kernel closes files after `close` has returned.
    while read_range(&mount.file("file79"), Mode::Direct, 0, 10).is_err() {
        assert!(Instant::now() < deadline, "descriptors don't come back");
        std::thread::sleep(Duration::from_millis(5));
    }
    mount.unmount();
}

#[test]
fn a_status_with_long_names_and_many_violations_is_shortened() {
    let Some(host) = Host::new() else { return };
    // JSON takes six bytes for this character.
    let directory = vec!["\u{1}".repeat(250); 13].join("/");
    let names: Vec<_> = (0..40)
        .map(|number| format!("{directory}/{number}"))
        .collect();
    let model = Model::new(names.iter().map(|name| (name, 10)));
    model.sign(BLAKE3);
    // What proved a length isn't kept.
    let mount = host.mount(&model.path(), &["--cache-size", "1"]);
    let full = mount.status();
    assert!(!full.shortened, "{full:?}");
    for name in &names {
        flip(&model.file(name), 5);
        assert_eio(
            read_range(&mount.file(name), Mode::Direct, 0, 1),
            "a changed byte",
        );
    }
    let status = mount.status();
    assert!(status.shortened, "{status:?}");
    assert_eq!(status.root_digest, full.root_digest);
    let (status, full) = (status.owner, full.owner);
    let (status, full) = (status.expect("ours"), full.expect("ours"));
    assert_eq!(status.stats.violations, 40);
    assert_eq!(status.mount, full.mount);
    assert!(!status.recent_violations.is_empty(), "{status:?}");
    let shown = host
        .run(host.command("status").arg(mount.path()))
        .expect("status")
        .stdout;
    assert!(
        shown.contains("violations") && !shown.contains('\u{1}'),
        "{shown}"
    );
    mount.unmount();
}

#[test]
fn lockdown_also_takes_away_what_the_kernel_had_cached_and_the_signature() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 3 << 20), ("other", 600_000)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &["--on-violation", "lockdown"]);
    assert!(!mount.owner_status().locked_down);
    let held = ["other", "model.sig"].map(|name| {
        let file = open(&mount.file(name), Mode::Cached).expect("open");
        pread(&file, 0, 1 << 20).expect("read all of it");
        file
    });
    let mut holder = map_command();
    holder.args(["hold", "shared"]).arg(mount.file("other"));
    let mut holder = holder
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run map.py");
    let mut said = BufReader::new(holder.stdout.take().expect("a pipe")).lines();
    let mut asked = holder.stdin.take().expect("a pipe");
    let mut touch = || {
        // Fails once the process is gone.
        let _ = asked.write_all(b"\n");
        said.next().is_some_and(|line| line.is_ok())
    };
    assert!(touch() && touch(), "it has the file mapped");

    flip(&model.file("weights"), 2_000_000);
    let bad = read_range(&mount.file("weights"), Mode::Direct, 2_000_000, 1);
    assert_eio(bad, "a changed byte");
    let deadline = Instant::now() + crate::support::LIMIT;
    for file in &held {
        while pread(file, 0, 10).is_ok() {
            assert!(Instant::now() < deadline, "the kernel still has pages");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eio(pread(file, 0, 10), "what was cached");
    }
    while touch() {
        assert!(Instant::now() < deadline, "the page is still mapped");
    }
    let ended = holder.wait().expect("wait for a child").signal();
    assert_eq!(ended, Some(SIGBUS));
    for name in ["weights", "other", "model.sig"] {
        assert_eio(open(&mount.file(name), Mode::Cached), name);
        assert!(fs::metadata(mount.file(name)).is_ok(), "names stay");
    }
    let status = mount.owner_status();
    assert!(status.locked_down);
    assert_eq!(status.stats.violations, 1);
    drop(held);
    mount.unmount();
}

#[test]
fn secrets_are_in_no_log() {
    let host = Host::anywhere();
    let model = Model::new([("weights", 600_000)]);
    let key = keys::path("p256-pkcs8-pbkdf2.pem");
    let password = "a password that is wrong, and secret";
    let file = model.beside("password");
    fs::write(&file, password).expect("write");
    let lines = |key: &std::path::Path| -> Vec<String> {
        let pem = fs::read_to_string(key).expect("read a key");
        let secret = |line: &&str| !line.contains("---") && line.len() > 20;
        pem.lines().filter(secret).map(str::to_owned).collect()
    };
    let mut secrets = lines(&key);
    secrets.extend(lines(&private_key()));
    secrets.push(password.to_owned());
    for (key, with_password, code) in [
        (&key, true, 1),
        (&key, false, 1),
        (&private_key(), false, 0),
    ] {
        let log = model.beside("log");
        let mut sign = host.command("sign");
        sign.arg("-vvv")
            .arg("--log-file")
            .arg(&log)
            .env("MODEL_FS_LOG", "trace");
        sign.arg(model.path()).arg("--private-key").arg(key);
        if with_password {
            sign.arg("--password-file").arg(&file);
        }
        let finished = host.run(&mut sign).expect_code(code, "sign");
        let logged = fs::read_to_string(&log).unwrap_or_default();
        for secret in &secrets {
            for text in [&finished.stdout, &finished.stderr, &logged] {
                assert!(!text.contains(secret.as_str()), "{finished}");
            }
        }
    }
    let mut debug = host.on_model("verify", &model.path(), &["-vvv"]);
    let finished = host
        .run(debug.env("MODEL_FS_LOG", "trace"))
        .expect("verify");
    let store_key = hex::encode(fs::read(host.store().join("host.key")).expect("read"));
    assert!(!finished.stderr.contains(&store_key), "{finished}");
}
