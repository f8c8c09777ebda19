//! Symbolic links in a model.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{
    BLAKE3, Host, Mode, Model, SHA256, assert_eio, assert_same, private_key, read_range,
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

        // The link is led elsewhere: before the mount, and below it.
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

        // It leads nowhere, or to what is no file.
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
