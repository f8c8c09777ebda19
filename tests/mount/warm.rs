//! Warming up, and full passes that are under way: how far they are.

use std::fs;
use std::process::Command;

use model_fs::fs::PrefetchStatus;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use test_support::mounted::flip;
use test_support::process::Finished;

use crate::one_file::OneFile;
use crate::operations::until;
use crate::support::{ANNOTATED, Host, Model, Mount, SHA256, assert_same, text};

const FILES: [(&str, u64); 3] = [
    ("weights", (5 << 20) + 7),
    ("deep/er", 700_000),
    ("small", 10),
];
const BYTES: u64 = (5 << 20) + 7 + 700_000 + 10;

fn warm_up(mount: &Mount) -> PrefetchStatus {
    mount.owner_status().warm_up.expect("it is asked for")
}

/// Waits for the end of a warm-up, and gives what it did.
#[track_caller]
fn ended(mount: &Mount) -> PrefetchStatus {
    until("the warm-up ends", || warm_up(mount).prefetch_ended);
    warm_up(mount)
}

#[test]
fn tables_are_proved_before_anybody_asks_and_nothing_else_is_read() {
    let Some(host) = Host::new() else { return };
    for (options, passes) in [(ANNOTATED, 0), (SHA256, 1)] {
        let model = Model::new(FILES);
        model.sign(options);
        let mount = Host::anywhere().mount(&model.path(), &["--prefetch", "tables"]);
        let done = ended(&mount);
        assert_eq!(
            (done.prefetch.as_str(), done.prefetch_failures),
            ("tables", 0)
        );
        assert_eq!((done.prefetch_files, done.prefetch_of_files), (3, 3));
        assert_eq!((done.prefetch_bytes, done.prefetch_of_bytes), (0, 0));
        let stats = mount.stats();
        assert_eq!((stats.proved_files, stats.full_passes), (3, passes));
        assert!(stats.verified_bytes < BYTES / 2, "{}", stats.verified_bytes);
        mount.unmount();
    }
    // Without it, nothing is done.
    let model = Model::new(FILES);
    model.sign(ANNOTATED);
    let mount = host.mount(&model.path(), &[]);
    assert_eq!(mount.owner_status().warm_up, None);
    assert_eq!(mount.stats().proved_files, 0);
    mount.unmount();
}

#[test]
fn all_is_read_and_verified_before_anybody_asks_and_what_is_wrong_is_told() {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(ANNOTATED);
    let mount = host.mount(&model.path(), &["--prefetch", "all"]);
    let done = ended(&mount);
    assert_eq!(
        (done.prefetch_bytes, done.prefetch_of_bytes),
        (BYTES, BYTES)
    );
    assert_eq!((done.prefetch_files, done.prefetch_failures), (3, 0));
    assert!(mount.stats().verified_bytes >= BYTES);
    assert_eq!(mount.stats().delivered_bytes, 0);
    for (name, _) in FILES {
        assert_same(
            &fs::read(mount.file(name)).expect("read"),
            model.bytes(name),
            name,
        );
    }
    let shown = host.run(host.command("status").arg(mount.path()));
    assert!(shown.stdout.contains("\nprefetch ended "), "{shown}");
    mount.unmount();
    flip(&model.file("weights"), 3_000_000);
    flip(&model.file("weights"), 4_500_000);
    let mount = host.mount(&model.path(), &["--prefetch", "all"]);
    let done = ended(&mount);
    assert_eq!((done.prefetch_bytes, done.prefetch_failures), (BYTES, 2));
    assert_eq!(mount.stats().violations, 2);
    let mut check = host.command("status");
    host.run(check.arg("--check").arg(mount.path()))
        .expect_code(4, "nobody has read it yet");
    // A lockdown ends that too.
    let lockdown = ["--prefetch", "all", "--on-violation", "lockdown"];
    let locked = Host::anywhere().mount(&model.path(), &lockdown);
    assert!(ended(&locked).prefetch_bytes < BYTES);
    assert!(locked.owner_status().locked_down);
    locked.unmount();
    mount.unmount();
}

fn warm(host: &Host, mount: &Mount, arguments: &[&str]) -> Finished {
    host.run(host.command("warm").arg(mount.path()).args(arguments))
}

#[test]
fn a_model_that_was_warmed_is_read_from_memory() {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(ANNOTATED);
    let mount = host.mount(&model.path(), &[]);
    let done = warm(&host, &mount, &["deep", "small", "--wait"]).expect("warm");
    assert!(done.stdout.starts_with("warmed: 2 files, 683"), "{done}");
    let done = warm(&host, &mount, &["--wait"]).expect("warm");
    // The signature is there, too.
    assert!(done.stdout.starts_with("warmed: 4 files"), "{done}");
    let before = mount.stats();
    assert!(before.delivered_bytes + before.pushed_bytes >= BYTES);
    for (name, _) in FILES {
        assert_same(
            &fs::read(mount.file(name)).expect("read"),
            model.bytes(name),
            name,
        );
    }
    assert_eq!(mount.stats().delivered_bytes, before.delivered_bytes);
    mount.unmount();
    // In the background.
    let mount = host.mount(&model.path(), &[]);
    let done = warm(&host, &mount, &[]).expect("warm");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    until("it is read", || {
        let stats = mount.stats();
        stats.delivered_bytes + stats.pushed_bytes >= BYTES
    });
    mount.unmount();
}

#[test]
fn what_cannot_be_warmed_has_the_exit_code_of_its_reason() {
    let Some(host) = Host::new() else { return };
    let model = Model::new(FILES);
    model.sign(ANNOTATED);
    let mount = host.mount(&model.path(), &[]);
    for background in [true, false] {
        let wait = if background { "" } else { "--wait" };
        for (path, code, why) in [
            ("nothing", 1, "No such file"),
            ("../x", 2, "no path within the mount"),
            ("/etc/passwd", 2, "no path within the mount"),
        ] {
            let arguments: Vec<_> = [path, wait]
                .into_iter()
                .filter(|it| !it.is_empty())
                .collect();
            let failed = warm(&host, &mount, &arguments).expect_code(code, path);
            assert!(failed.stderr.contains(why), "{failed}");
        }
        let mut elsewhere = host.command("warm");
        let failed = host.run(elsewhere.arg(model.path()).arg("--wait"));
        let failed = failed.expect_code(1, "no mount");
        assert!(
            failed.stderr.contains("not a mount of model-fs"),
            "{failed}"
        );
    }
    model.remove("deep/er");
    let failed = warm(&host, &mount, &["--wait"]).expect_code(1, "a missing file");
    assert!(
        failed.stderr.contains("1 file couldn't be read"),
        "{failed}"
    );
    assert!(failed.stderr.contains("deep/er"), "{failed}");
    assert_eq!(mount.stats().violations, 0);
    // What the kernel has in memory isn't read again.
    mount.unmount();
    let model = Model::new(FILES);
    model.sign(ANNOTATED);
    let mount = host.mount(&model.path(), &[]);
    flip(&model.file("weights"), 3_000_000);
    let failed = warm(&host, &mount, &["--wait", "weights"]).expect_code(4, "a violation");
    assert!(failed.stderr.contains("isn't what was signed"), "{failed}");
    assert_eq!(mount.stats().violations, 1);
    mount.unmount();
}

#[test]
fn a_full_pass_shows_how_far_it_is_and_how_fast() {
    const LEN: u64 = 24 << 20;
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", LEN)]);
    model.sign(SHA256);
    let source = OneFile::of(model.bytes("weights"))
        .gate(LEN / 4 * 3)
        .serve();
    let signature = model.file("model.sig");
    let mount = host.mount(source.path(), &["--signature", text(&signature)]);
    assert_eq!(mount.owner_status().full_passes_underway, []);
    let mut cat = Command::new("cmp");
    cat.arg(mount.file("weights")).arg(model.golden("weights"));
    let mut cat = cat.spawn().expect("start");
    let underway = || mount.owner_status().full_passes_underway;
    until("some of it is hashed", || {
        underway().first().is_some_and(|pass| pass.percent > 0)
    });
    let pass = underway().remove(0);
    assert_eq!((pass.file.as_str(), pass.of_bytes), ("weights", LEN));
    assert!(pass.percent <= 75 && pass.bytes_per_second > 0, "{pass:?}");
    assert_eq!(u64::from(pass.percent), pass.hashed_bytes * 100 / LEN);
    let shown = host.run(host.command("status").arg(mount.path()));
    let line = shown
        .stdout
        .lines()
        .find(|line| line.starts_with("being hashed "));
    let line = line.unwrap_or_else(|| panic!("{shown}"));
    assert!(
        line.contains("\"weights\": ") && line.contains(" % of 24.00 MiB, "),
        "{line}"
    );
    assert!(line.ends_with("/s"), "{line}");
    let json = host.run(host.command("status").arg(mount.path()).arg("--json"));
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["full_passes_underway"][0]["of_bytes"], LEN);
    assert_eq!(json["full_passes_waiting"], 0);
    let mut mount = mount;
    kill_process(mount.pid(), Signal::USR1).expect("send a signal");
    until("the status is logged", || {
        mount.stderr().contains("full_passes_underway")
    });
    source.open_gate();
    assert!(cat.wait().expect("wait").success());
    assert_eq!(mount.owner_status().full_passes_underway, []);
    mount.unmount();
    drop(source);
}
