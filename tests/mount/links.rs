//! Symbolic links in a model.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{
    BLAKE3, Host, Mode, Model, Mount, SHA256, assert_eio, assert_same, private_key, read_range,
    tool,
};

/// The layout of Hugging Face caches: a snapshot of links to blobs beside it.
fn hub(model: &Model) {
    for (link, blob) in [("config.json", "blobs/aaaa"), ("sub/weights", "blobs/bbbb")] {
        let link = model.file("snapshots/rev").join(link);
        fs::create_dir_all(link.parent().expect("a parent")).expect("mkdir");
        let up = if link.ends_with("sub/weights") {
            "../../../"
        } else {
            "../../"
        };
        symlink(format!("{up}{blob}"), link).expect("link");
    }
}

fn hub_model() -> Model {
    let model = Model::new([
        ("blobs/aaaa", 600),
        ("blobs/bbbb", 2 << 20),
        ("blobs/cccc", 2 << 20),
    ]);
    hub(&model);
    model
}

#[test]
fn a_snapshot_of_links_mounts_as_files_where_the_signature_allows_links() {
    let Some(host) = Host::new() else { return };
    for options in [BLAKE3, SHA256] {
        let model = hub_model();
        let snapshot = model.file("snapshots/rev");
        let mut sign = host.command("sign");
        sign.arg(&snapshot).args(options).arg("--allow-symlinks");
        sign.arg("--private-key").arg(private_key());
        host.run(&mut sign).expect("sign");

        let mount = host.mount(&snapshot, &[]);
        for (name, blob) in [("config.json", "blobs/aaaa"), ("sub/weights", "blobs/bbbb")] {
            let kind = fs::symlink_metadata(mount.file(name)).expect("stat");
            assert!(kind.is_file(), "{name} is a file");
            let found = read_range(&mount.file(name), Mode::Cached, 0, 4 << 20).expect("read");
            assert_same(&found, model.bytes(blob), name);
        }
        mount.unmount();

        // The link is made to lead elsewhere: before the mount, and beneath it.
        let link = snapshot.join("sub/weights");
        let mount = host.mount(&snapshot, &[]);
        fs::remove_file(&link).expect("remove");
        symlink("../../../blobs/cccc", &link).expect("link");
        for _ in 0..2 {
            let read = read_range(&mount.file("sub/weights"), Mode::Direct, 1 << 20, 4096);
            assert_eio(read, "the wrong blob");
        }
        mount.unmount();
        let mount = host.mount(&snapshot, &[]);
        let read = read_range(&mount.file("sub/weights"), Mode::Cached, 1 << 20, 4096);
        assert_eio(read, "the wrong blob, before the mount");
        mount.unmount();

        // The link leads nowhere, or to something that isn't a file.
        fs::remove_file(&link).expect("remove");
        for target in [
            "../../../blobs/none",
            "weights",
            "../../../blobs",
            "/dev/zero",
        ] {
            symlink(target, &link).expect("link");
            let failed = host.mount_fails(&snapshot, &[], 4);
            assert!(failed.stderr.contains("sub/weights"), "{target}: {failed}");
            fs::remove_file(&link).expect("remove");
        }
    }
}

#[test]
fn links_are_not_signed_unless_asked_for() {
    let host = Host::anywhere();
    let model = hub_model();
    let mut sign = host.command("sign");
    sign.arg(model.file("snapshots/rev"));
    sign.arg("--private-key").arg(private_key());
    let failed = host.run(&mut sign).expect_code(1, "sign");
    assert!(failed.stderr.contains("a symbolic link"), "{failed}");
    assert!(failed.stderr.contains("hint: "), "{failed}");
    assert!(failed.stderr.contains("--allow-symlinks"), "{failed}");
    assert!(!model.file("snapshots/rev/model.sig").exists());
}

#[test]
fn links_are_not_followed_unless_the_signature_allows_them() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("dir/weights", 600), ("other", 10)]);
    model.sign(BLAKE3);
    // A directory on the way, with the right bytes behind it.
    fs::rename(model.file("dir"), model.beside("aside")).expect("rename");
    symlink(model.beside("aside"), model.file("dir")).expect("link");
    let failed = host.mount_fails(&model.path(), &[], 4);
    assert!(failed.stderr.contains("dir"), "{failed}");

    fs::remove_file(model.file("dir")).expect("remove");
    fs::rename(model.beside("aside"), model.file("dir")).expect("rename");
    let mount = host.mount(&model.path(), &[]);
    fs::rename(model.file("dir"), model.beside("aside")).expect("rename");
    symlink(model.beside("aside"), model.file("dir")).expect("link");
    let read = read_range(&mount.file("dir/weights"), Mode::Cached, 0, 10);
    assert_eio(read, "through a linked directory");
    mount.unmount();
}

#[test]
fn a_cycle_of_links_is_refused() {
    let host = Host::anywhere();
    let model = Model::new([("dir/weights", 600)]);
    symlink("..", model.file("dir/up")).expect("link");
    let mut sign = host.command("sign");
    sign.arg(model.path()).arg("--allow-symlinks");
    sign.arg("--private-key").arg(private_key());
    let failed = host.run(&mut sign).expect_code(1, "sign");
    assert!(failed.stderr.contains("dir/up"), "{failed}");
}

/// Signs with links allowed.
fn sign_with_links(host: &Host, model: &Path) {
    let mut sign = host.command("sign");
    sign.arg(model).arg("--allow-symlinks");
    sign.arg("--private-key").arg(private_key());
    host.run(&mut sign).expect("sign");
}

/// Checks that reading is an error, and what its message says. A child process reads: a process
/// that hangs in a file system can't be killed, but it can be left behind.
fn fails_without_hanging(mount: &Mount, name: &str, what: &str) {
    cannot_be_read(&mount.file(name), what);
}

fn cannot_be_read(path: &Path, what: &str) {
    let read = test_support::process::finish(
        std::process::Command::new("head")
            .args(["-c", "1"])
            .arg(path),
        Duration::from_secs(20),
    );
    assert_eq!(read.code(), Some(1), "{what}: {read}");
    assert!(read.stderr.contains("Input/output error"), "{what}: {read}");
}

#[test]
fn a_link_into_the_mount_itself_is_an_error_and_nobody_hangs() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("dir/weights", 2 << 20), ("other", 3 << 20)]);
    sign_with_links(&host, &model.path());
    let mount = host.mount(&model.path(), &[]);
    // The opener may keep a descriptor, so that chunks are asked for under another name.
    let there = |name: &str| mount.file(name);
    let bound = tempfile::TempDir::new().expect("make a mountpoint");
    let binds = tool("mount", [Path::new("--bind"), mount.path(), bound.path()]).succeeded();
    let mut targets: Vec<(&str, PathBuf)> = vec![
        ("itself", there("dir/weights")),
        ("another file", there("other")),
        ("what isn't there", there("nothing")),
        ("the root", mount.path().to_owned()),
        (
            "through the mount",
            there("dir/..").join("../..").join("dir"),
        ),
    ];
    if binds {
        targets.push(("through a bind mount", bound.path().join("dir/weights")));
    }
    for (what, target) in targets {
        model.remove("dir/weights");
        symlink(&target, model.file("dir/weights")).expect("link");
        for _ in 0..2 {
            fails_without_hanging(&mount, "dir/weights", what);
        }
        // A directory on the way.
        model.remove("dir");
        symlink(target.parent().expect("a parent"), model.file("dir")).expect("link");
        fails_without_hanging(&mount, "dir/weights", what);
        fs::remove_file(model.file("dir")).expect("remove");
        fs::create_dir(model.file("dir")).expect("mkdir");
        model.restore("dir/weights");
        let found = read_range(&there("other"), Mode::Direct, 0, 3 << 20).expect("read");
        assert_same(&found, model.bytes("other"), "another file, meanwhile");
    }
    let found = read_range(&there("dir/weights"), Mode::Direct, 0, 2 << 20).expect("read");
    assert_same(&found, model.bytes("dir/weights"), "the right bytes again");
    if binds {
        tool("umount", [bound.path()]).expect("take the bind mount away");
    }
    mount.unmount();
}

/// No link is needed where the directory of the mountpoint can be moved into the model.
#[test]
fn a_mountpoint_moved_into_its_model_is_not_entered() {
    let Some(host) = Host::new() else { return };
    let outer = test_support::mounted::scratch();
    let point = tempfile::TempDir::new_in(outer.path()).expect("make a mountpoint");
    let dir = point.path().file_name().expect("a name").to_owned();
    let name = format!("outer/{}/weights", dir.display());
    let model = Model::new([(name.as_str(), 2 << 20)]);
    model.sign(BLAKE3);
    let mut command = host.on_model("mount", &model.path(), &[]);
    command.arg("--foreground").arg("--").arg(point.path());
    let mount = Mount::of(command, point);
    fs::rename(model.file("outer"), model.beside("aside")).expect("rename");
    fs::rename(outer.path(), model.file("outer")).expect("rename");
    let moved = model.file("outer").join(&dir).join(&name);
    for _ in 0..2 {
        cannot_be_read(&moved, "the mount in its own model");
    }
    fs::rename(model.file("outer"), outer.path()).expect("rename");
    fs::rename(model.beside("aside"), model.file("outer")).expect("rename");
    let found = read_range(&mount.file(&name), Mode::Cached, 0, 2 << 20).expect("read");
    assert_same(&found, model.bytes(&name), "the right bytes again");
    mount.unmount();
}

#[test]
fn what_a_link_leads_to_is_not_even_opened_unless_it_is_a_file_on_storage() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 2 << 20), ("dir/config", 100)]);
    sign_with_links(&host, &model.path());
    let mount = host.mount(&model.path(), &[]);
    let fifo = model.beside("fifo");
    tool("mkfifo", [&fifo]).expect("make a FIFO");
    for target in [
        fifo.as_path(),
        Path::new("/proc/self/mem"),
        Path::new("/proc/self/fd/0"),
        Path::new("/proc/kmsg"),
        Path::new("/proc/self/root/etc/passwd"),
        Path::new("/sys/kernel/uevent_seqnum"),
        Path::new("/dev/tty"),
        Path::new("/dev/ptmx"),
        Path::new("/dev/zero"),
    ] {
        model.remove("weights");
        symlink(target, model.file("weights")).expect("link");
        fails_without_hanging(&mount, "weights", &target.display().to_string());
    }
    model.remove("dir");
    symlink("/proc/sys/kernel", model.file("dir")).expect("link");
    fails_without_hanging(&mount, "dir/config", "a directory of /proc");
    mount.unmount();
    // Nor is it listed.
    model.remove("weights");
    symlink("/proc/kmsg", model.file("weights")).expect("link");
    let failed = host.mount_fails(&model.path(), &[], 4);
    assert!(failed.stderr.contains("isn't storage"), "{failed}");
    assert!(!failed.stderr.contains("dir/ostype"), "{failed}");
}

#[test]
fn a_link_into_another_mount_is_a_source_like_any() {
    let Some(host) = Host::new() else { return };
    let blobs = Model::new([("blobs/a", 3 << 20), ("blobs/b", 600)]);
    blobs.sign(BLAKE3);
    let below = host.mount(&blobs.path(), &[]);
    let model = Model::new([("other", 10)]);
    symlink(below.file("blobs/a"), model.file("weights")).expect("link");
    symlink(below.file("blobs"), model.file("all")).expect("link");
    sign_with_links(&host, &model.path());
    let mount = host.mount(&model.path(), &[]);
    for (name, blob) in [
        ("weights", "blobs/a"),
        ("all/a", "blobs/a"),
        ("all/b", "blobs/b"),
    ] {
        let found = read_range(&mount.file(name), Mode::Cached, 0, 4 << 20).expect("read");
        assert_same(&found, blobs.bytes(blob), name);
    }
    mount.unmount();
    below.unmount();
}

/// Directories full of links to directories: more paths than could ever be listed.
#[test]
fn links_that_multiply_end_every_scan_early_with_a_reason() {
    let host = Host::anywhere();
    let model = Model::new([("weights", 600)]);
    sign_with_links(&host, &model.path());
    for level in 0..40 {
        let dir = model.file(&format!("fan/{level}"));
        fs::create_dir_all(&dir).expect("mkdir");
        for link in ["left", "right"] {
            symlink(format!("../{}", level + 1), dir.join(link)).expect("link");
        }
    }
    fs::create_dir(model.file("fan/40")).expect("mkdir");
    let mut sign = host.command("sign");
    sign.arg(model.path()).arg("--allow-symlinks");
    sign.arg("--private-key").arg(private_key());
    let verify = host.on_model("verify", &model.path(), &[]);
    let mut mount = host.on_model("mount", &model.path(), &[]);
    mount.arg(model.beside("mountpoint"));
    fs::create_dir(model.beside("mountpoint")).expect("mkdir");
    for mut command in [sign, verify, mount] {
        let failed = host.run(&mut command).expect_code(1, "a fan of links");
        assert!(failed.stderr.contains("fan/"), "{failed}");
        assert!(failed.stderr.contains("4096 symbolic links"), "{failed}");
        assert!(failed.stderr.contains("ignored"), "{failed}");
    }
}
