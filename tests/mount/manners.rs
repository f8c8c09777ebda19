//! How a mount and its status behave towards hostile names, files that the user hides, file systems
//! that aren't ours, and daemons that don't answer.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fuser::{Filesystem, INodeNo, ReplyXattr, Request};
use model_fs::kernel::mountinfo::MountTable;
use rustix::fs::XattrFlags;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::built;
use test_support::mounted::scratch;
use test_support::process::{Finished, finish};

use crate::passes::Stopped;
use crate::support::{BLAKE3, Host, LIMIT, Model};

/// A name that clears the screen, forges events and verdicts, and turns text around.
const HOSTILE: &[u8] =
    b"\x1b[2J\n2026-01-01T00:00:00Z ERROR forged\nsigner  acme\n\xc2\x9b1m\xe2\x80\xae";

/// Removes the mount at a path (absolute and without links), even when the test fails.
struct Unmount(PathBuf);

impl Unmount {
    fn is_mounted(&self) -> bool {
        let table = MountTable::read().expect("read the mount table");
        table.at(&self.0).is_some()
    }
}

impl Drop for Unmount {
    fn drop(&mut self) {
        for way in [
            &[built::program(), "umount"][..],
            &["fusermount3", "-uz", "--"],
            &["umount", "-l"],
        ] {
            if self.is_mounted() {
                finish(Command::new("env").args(way).arg(&self.0), LIMIT);
            }
        }
    }
}

#[track_caller]
fn assert_harmless(text: &str) {
    let acts = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(acts), "{text:?}");
    for line in text.lines() {
        assert!(!line.starts_with("2026-01-01"), "{text:?}");
        assert!(!line.starts_with("signer  acme"), "{text:?}");
    }
}

fn status(host: &Host, path: &Path, more: &[&str]) -> Finished {
    host.run(host.command("status").arg(path).args(more))
}

#[test]
fn a_mount_between_paths_that_are_hostile_or_no_text_works_and_shows_them_escaped() {
    let Some(host) = Host::new() else { return };
    for name in [HOSTILE, b"x\xff"] {
        let folder = scratch();
        let beside = folder.path().join(OsStr::from_bytes(name));
        let model = Model::new([("weights", 600_000)]);
        model.sign(BLAKE3);
        fs::create_dir(&beside).expect("mkdir");
        let [source, mountpoint] = ["model", "mnt"].map(|what| {
            let name = [what.as_bytes(), name].concat();
            beside.join(OsStr::from_bytes(&name))
        });
        fs::rename(model.path(), &source).expect("rename");
        fs::create_dir(&mountpoint).expect("mkdir");
        // All that the user sees of them beforehand.
        let links = ["model", "mnt"].map(|link| folder.path().join(link));
        std::os::unix::fs::symlink(&source, &links[0]).expect("link");
        std::os::unix::fs::symlink(&mountpoint, &links[1]).expect("link");
        let guard = Unmount(mountpoint.canonicalize().expect("find the mountpoint"));
        let log = folder.path().join("log");
        let mut mount = host.on_model("mount", &links[0], &["-vv"]);
        let mount = mount.arg("--log-file").arg(&log);
        let done = host.run(mount.arg("--").arg(&links[1])).expect("mount");
        assert!(guard.is_mounted());
        assert_harmless(&done.stderr);
        let read = fs::read(mountpoint.join("weights")).expect("read");
        assert_eq!(read, model.bytes("weights"));

        for path in [&links[1], &mountpoint] {
            let shown = status(&host, path, &[]).expect("status");
            assert_harmless(&shown.stdout);
            assert!(shown.stdout.contains("\nmountpoint "), "{shown}");
            let document = status(&host, path, &["--json"]).expect("status");
            assert_harmless(&document.stdout);
            let facts: Value = serde_json::from_str(&document.stdout).expect("JSON");
            let shown = facts["mount"]["source"].as_str().expect("a path");
            assert!(shown.ends_with(if name == HOSTILE {
                "\\u{202e}"
            } else {
                "\\xff"
            }));
        }
        let below = status(&host, &mountpoint.join("weights"), &[]).expect_code(1, "status");
        assert_harmless(&below.stderr);
        assert!(
            below.stderr.contains("hint: model-fs status $'/"),
            "{below}"
        );

        let umount = host
            .run(host.command("umount").arg(&links[1]))
            .expect("umount");
        assert_harmless(&umount.stderr);
        assert!(!guard.is_mounted());
        let logged = fs::read_to_string(&log).expect("read the log");
        assert!(logged.contains("mounted"), "{logged}");
        assert_harmless(&logged);
        // One event, one line.
        assert!(
            logged.lines().all(|line| line.starts_with("20")
                && (line.contains(" model_fs") || line.contains(" fuser::"))),
            "{logged}"
        );
    }
}

#[test]
fn hidden_signed_files_are_in_the_status() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("a", 10), ("b/c", 10), ("b/d\u{202e}", 10), ("e", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    assert_eq!(mount.facts().hidden_signed_files, 0);
    mount.unmount();

    let hide = ["--ignore-paths", "b", "--ignore-paths", "nothing"];
    let mut mount = host.mount(&model.path(), &hide);
    assert!(mount.file("a").exists() && !mount.file("b").exists());
    let facts = mount.facts();
    assert_eq!(facts.hidden_signed_files, 2);
    assert_eq!(facts.hidden_signed_names, ["b/c", "b/d\\u{202e}"]);
    let shown = status(&host, mount.path(), &[]).expect("status");
    assert!(
        shown.stdout.contains("\nhidden signed files   2\n"),
        "{shown}"
    );
    assert!(mount.stderr().contains("hidden"), "{}", mount.stderr());
    mount.unmount();

    // The status stays short enough to be read, however many files there are.
    let many = Model::new((0..1000).map(|n| (format!("dir/{n:03}{}", "\u{7}".repeat(200)), 1)));
    many.sign(BLAKE3);
    let mount = host.mount(&many.path(), &["--ignore-paths", "dir"]);
    assert_eq!(mount.facts().hidden_signed_files, 1000);
    mount.unmount();
}

/// A file system that is no model, and says that it is one.
struct Foreign;

fn forged() -> String {
    json!({"signer": "acme", "violations": 0, "mount": {"source": "/good"}}).to_string()
}

impl Filesystem for Foreign {
    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, size: u32, reply: ReplyXattr) {
        let value = forged();
        if size == 0 {
            reply.size(u32::try_from(value.len()).expect("it is short"));
        } else {
            reply.data(value.as_bytes());
        }
    }
}

#[test]
fn status_believes_only_a_mount_of_ours() {
    let Some(host) = Host::new() else { return };
    let refused = |path: &Path| {
        for more in [&[][..], &["--json"]] {
            let failed = status(&host, path, more).expect_code(1, "status");
            assert_eq!(failed.stdout, "", "{failed}");
            assert!(!failed.stderr.contains("acme"), "{failed}");
        }
        status(&host, path, &[]).stderr
    };
    // A directory with that attribute.
    let folder = scratch();
    let name = "user.model-fs.status";
    rustix::fs::setxattr(
        folder.path(),
        name,
        forged().as_bytes(),
        XattrFlags::empty(),
    )
    .expect("set an attribute");
    assert!(refused(folder.path()).contains("is not a mount of model-fs"));

    // Another file system in user space.
    let mountpoint = TempDir::new().expect("make a mountpoint");
    let guard = Unmount(mountpoint.path().canonicalize().expect("find it"));
    let session =
        fuser::spawn_mount(Foreign, mountpoint.path(), &fuser::Config::default()).expect("mount");
    let mut answer = vec![0; 4096];
    let len = rustix::fs::getxattr(mountpoint.path(), name, &mut answer[..]).expect("ask it");
    assert_eq!(answer[..len], *forged().as_bytes(), "it does answer");
    let said = refused(mountpoint.path());
    assert!(
        said.contains("is a fuse mount, not a mount of model-fs"),
        "{said}"
    );
    session.umount_and_join().expect("unmount");
    drop(guard);

    // A model beneath a mountpoint, and the link to one.
    let model = Model::new([("dir/weights", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    for beneath in ["dir", "dir/weights"] {
        let said = refused(&mount.file(beneath));
        let hint = format!("hint: model-fs status {}", mount.path().display());
        assert!(said.contains(&hint), "{said}");
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(mount.path(), &link).expect("link");
    let shown = status(&host, &link, &["--json"]).expect("status");
    let facts: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    // The kernel's answer; what the daemon says doesn't count.
    assert_eq!(facts["mounted_by"], rustix::process::geteuid().as_raw());
    mount.unmount();
}

#[test]
fn a_mount_that_does_not_answer_is_said_to_be_one() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    let stopped = Stopped::new(mount.pid());
    let failed = status(&host, mount.path(), &[]);
    drop(stopped);
    let failed = failed.expect_code(1, "status");
    assert!(failed.stderr.contains("doesn't answer"), "{failed}");
    assert_eq!(failed.stdout, "");
    status(&host, mount.path(), &[]).expect("status");
    mount.unmount();
}

#[test]
fn the_check_of_a_status_is_an_exit_code() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 200_000), ("other", 100)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &["--on-violation", "lockdown"]);
    let quiet = status(&host, mount.path(), &["--check"]).expect("check");
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
    model.remove("other");
    assert!(fs::read(mount.file("other")).is_err());
    let missing = status(&host, mount.path(), &["--check"]).expect_code(1, "check");
    assert!(missing.stderr.contains("didn't give content"), "{missing}");
    let mut changed = model.bytes("weights").to_vec();
    changed[100_000] ^= 1;
    fs::write(model.file("weights"), changed).expect("change");
    assert!(fs::read(mount.file("weights")).is_err());
    let found = status(&host, mount.path(), &["--check"]).expect_code(4, "check");
    assert_eq!(found.stdout, "");
    for told in [
        "in 1 place;",
        "lockdown",
        "\"weights\" bytes 65536 to 131072",
    ] {
        assert!(found.stderr.contains(told), "{told}: {found}");
    }
    let found = status(&host, mount.path(), &["--check", "--json"]).expect_code(4, "check");
    let facts: Value = serde_json::from_str(&found.stdout).expect("JSON");
    assert_eq!(facts["locked_down"], true);
    let stopped = Stopped::new(mount.pid());
    let failed = status(&host, mount.path(), &["--check"]);
    drop(stopped);
    failed.expect_code(1, "check");
    mount.unmount();
}

#[test]
fn a_status_that_nobody_takes_ends_quietly_or_fails() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 10)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    for more in [&[][..], &["--json"]] {
        let status = |stdout: std::process::Stdio| {
            let mut command = host.command("status");
            let command = command.arg(mount.path()).args(more).stdout(stdout);
            let output = command.output().expect("status");
            let said = String::from_utf8(output.stderr).expect("UTF-8");
            (output.status.code(), said)
        };
        let (reader, writer) = std::io::pipe().expect("make a pipe");
        drop(reader);
        assert_eq!(status(writer.into()), (Some(0), String::new()));
        let full = fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("open");
        let (code, said) = status(full.into());
        assert_eq!(code, Some(1));
        assert!(said.contains("cannot write the result"), "{said}");
    }
    mount.unmount();
}
