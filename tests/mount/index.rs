//! Which chunk tables are believed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use test_support::missing::{Need, have};
use test_support::mounted::flip;

use crate::support::{
    BLAKE3, CHUNK, Host, Mode, Model, SHA256, assert_eio, assert_same, private_key, read_range,
    tool,
};

const LEN: u64 = 2 << 20;

/// The tables beneath a directory, at any depth.
fn tables(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("list").path();
        if path.is_dir() {
            found.extend(tables(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "table")
        {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn the_table(directory: &Path) -> PathBuf {
    let mut all = tables(directory);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Mounts and reads a model's one file, and says how many full passes that took.
#[track_caller]
fn read_all(host: &Host, model: &Model) -> u64 {
    let mount = host.mount(&model.path(), &[]);
    tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("cmp");
    let passes = mount.stats().full_passes;
    mount.unmount();
    passes
}

fn model(options: &[&str]) -> Model {
    let model = Model::new([("weights", LEN)]);
    model.sign(options);
    model
}

/// Copies everything of a store but its key, as if the store came from another host.
fn copy_entries(from: &Host, to: &Host) {
    let (from, to) = (from.store().join("v2"), to.store());
    tool("cp", ["-a".as_ref(), from.as_os_str(), to.as_os_str()]).expect("copy a store");
}

/// A table that describes a changed copy of the file as the true table describes the true file.
struct Forgery {
    /// The changed content.
    content: Vec<u8>,
    table: Vec<u8>,
}

/// What an adversary can make with the program itself, a host of their own, and a hex editor: the
/// table of other content, in the place and with the identity of the signed content's.
fn forge(model: &Model, options: &[&str], true_table: &Path) -> Forgery {
    let mut content = model.bytes("weights").to_vec();
    content[700_000] ^= 1;
    let mut changed = Model::new::<&str>([]);
    changed.add("weights", content.clone());
    let host = Host::anywhere();
    let mut sign = host.command("sign");
    sign.arg(changed.path()).args(options);
    sign.arg("--private-key").arg(private_key());
    host.run(&mut sign).expect("sign a forgery");
    let mut table = fs::read(the_table(&host.store())).expect("read a table");
    // The identity of what it is for, bytes 24 to 55 of the header.
    let genuine = fs::read(true_table).expect("read a table");
    table[24..56].copy_from_slice(&genuine[24..56]);
    Forgery { content, table }
}

#[test]
fn entries_copied_from_another_host_are_not_believed() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    assert_eq!(read_all(&host, &model), 1);
    let elsewhere = Host::anywhere();
    // So that the store has a key.
    let mut index = elsewhere.on_model("index", &model.path(), &[]);
    elsewhere.run(&mut index).expect("index");
    for table in tables(&elsewhere.store()) {
        fs::remove_file(table).expect("remove");
    }
    copy_entries(&host, &elsewhere);
    the_table(&elsewhere.store());
    assert_eq!(read_all(&elsewhere, &model), 1, "an entry was believed");
    // The table was written anew, and is this host's own now.
    assert_eq!(read_all(&elsewhere, &model), 0);
}

#[test]
fn edited_entries_are_not_believed() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    assert_eq!(read_all(&host, &model), 1);
    let table = the_table(&host.store());
    let genuine = fs::read(&table).expect("read");
    // Every part of the header and both ends of the values.
    let last = genuine.len() as u64 - 1;
    for place in [0, 8, 12, 13, 16, 23, 24, 55, 56, 87, 88, 96, 127, 128, last] {
        flip(&table, place);
        assert_eq!(read_all(&host, &model), 1, "byte {place}");
        assert_eq!(fs::read(&table).expect("read"), genuine, "written anew");
    }
    for len in [0, 1, 127, 128, last] {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&table)
            .expect("open");
        file.set_len(len).expect("cut");
        assert_eq!(read_all(&host, &model), 1, "cut to {len}");
    }
    fs::write(&table, [&genuine[..], b"x"].concat()).expect("write");
    assert_eq!(read_all(&host, &model), 1, "extended");
    assert_eq!(read_all(&host, &model), 0);
}

#[test]
fn a_forged_entry_delivers_no_forged_content() {
    let Some(host) = Host::new() else { return };
    for options in [SHA256, BLAKE3] {
        let model = Model::new([("weights", LEN)]);
        let mut sign = vec!["--no-tables"];
        sign.extend(options);
        model.sign(&sign);
        assert_eq!(read_all(&host, &model), 1);
        let table = the_table(&host.store());
        let forgery = forge(&model, options, &table);
        fs::write(&table, &forgery.table).expect("write");
        fs::write(model.file("weights"), &forgery.content).expect("write");
        let mount = host.mount(&model.path(), &[]);
        let read = read_range(&mount.file("weights"), Mode::Cached, 699_000, 4096);
        assert_eio(read, &format!("{options:?}"));
        mount.unmount();
        fs::remove_file(&table).expect("remove");
    }
}

#[test]
fn edited_shipped_tables_are_not_believed() {
    let Some(_) = Host::new() else { return };
    let model = model(BLAKE3);
    let table = the_table(&model.path().join(".model-fs"));
    let genuine = fs::read(&table).expect("read");
    let passes = || read_all(&Host::anywhere(), &model);
    assert_eq!(passes(), 0);
    let last = genuine.len() as u64 - 1;
    for place in [0, 8, 12, 16, 20, 56, 87, 128, 200, last] {
        flip(&table, place);
        assert_eq!(passes(), 1, "byte {place}");
        flip(&table, place);
    }
    for wrong in [
        &genuine[..genuine.len() - 1],
        &genuine[..100],
        &[],
        &[genuine.as_slice(), b"x"].concat(),
    ] {
        fs::write(&table, wrong).expect("write");
        assert_eq!(passes(), 1, "{} bytes", wrong.len());
    }
    // The table claims another length, with the same number of chunks.
    for len in [LEN - 1, LEN - CHUNK + 1] {
        let mut lying = genuine.clone();
        lying[16..24].copy_from_slice(&len.to_le_bytes());
        fs::write(&table, lying).expect("write");
        assert_eq!(passes(), 1, "a length of {len}");
    }
    fs::remove_file(&table).expect("remove");
    assert_eq!(passes(), 1, "no table");
    fs::create_dir(&table).expect("mkdir");
    assert_eq!(passes(), 1, "a directory");
    fs::remove_dir(&table).expect("rmdir");
    tool("mkfifo", [&table]).expect("mkfifo");
    assert_eq!(passes(), 1, "a FIFO");
    fs::remove_file(&table).expect("remove");
    fs::write(&table, &genuine).expect("write");
    assert_eq!(passes(), 0, "the genuine one again");
}

#[test]
fn a_forged_shipped_table_delivers_no_forged_content() {
    let Some(host) = Host::new() else { return };
    // For sha256 a shipped table proves nothing, no matter who wrote it.
    for options in [BLAKE3, SHA256] {
        let model = model(options);
        let learned = Host::anywhere();
        read_all(&learned, &model);
        let entry = the_table(&learned.store());
        let forgery = forge(&model, options, &entry);
        let folder = model.path().join(".model-fs");
        fs::create_dir_all(&folder).expect("mkdir");
        let table = folder.join(entry.file_name().expect("a table has a name"));
        let mut with_true_root = forgery.table.clone();
        let genuine = fs::read(&entry).expect("read");
        with_true_root[56..88].copy_from_slice(&genuine[56..88]);
        fs::write(model.file("weights"), &forgery.content).expect("write");
        for forged in [forgery.table, with_true_root] {
            fs::write(&table, forged).expect("write");
            let mount = host.mount(&model.path(), &[]);
            let read = read_range(&mount.file("weights"), Mode::Cached, 699_000, 4096);
            assert_eio(read, &format!("{options:?}"));
            mount.unmount();
        }
        // All the while, reads give the right bytes.
        model.restore("weights");
        assert_eq!(read_all(&host, &model), 1);
    }
}

#[test]
fn a_store_that_others_may_write_is_refused() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    let open_to_all = host.home().join("open");
    fs::create_dir(&open_to_all).expect("mkdir");
    let chosen = ["--index-dir", open_to_all.to_str().expect("UTF-8")];
    for mode in [0o777, 0o720, 0o702] {
        fs::set_permissions(&open_to_all, fs::Permissions::from_mode(mode)).expect("chmod");
        let failed = host.mount_fails(&model.path(), &chosen, 1);
        assert!(failed.stderr.contains("writable by others"), "{failed}");
    }
    fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o700)).expect("chmod");
    host.mount(&model.path(), &chosen).unmount();
    if have(Need::Root) {
        chown(&open_to_all, Some(65534), None).expect("chown");
        let failed = host.mount_fails(&model.path(), &chosen, 1);
        assert!(failed.stderr.contains("owned by another user"), "{failed}");
    }
    // Nor is one inside the model, which the model's owner controls.
    let inside = model.path().join(".model-fs/index");
    fs::create_dir_all(&inside).expect("mkdir");
    let failed = host.mount_fails(
        &model.path(),
        &["--index-dir", inside.to_str().expect("UTF-8")],
        1,
    );
    assert!(failed.stderr.contains("lies in the model"), "{failed}");
}

#[test]
fn the_usual_store_that_others_may_write_is_done_without() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    assert_eq!(read_all(&host, &model), 1);
    fs::set_permissions(host.store(), fs::Permissions::from_mode(0o777)).expect("chmod");
    for _ in 0..2 {
        assert_eq!(read_all(&host, &model), 1, "believed nobody, kept nothing");
    }
    fs::set_permissions(host.store(), fs::Permissions::from_mode(0o700)).expect("chmod");
    assert_eq!(read_all(&host, &model), 0);
}

#[test]
fn entries_that_others_own_or_may_write_are_not_believed() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    assert_eq!(read_all(&host, &model), 1);
    let table = the_table(&host.store());
    fs::set_permissions(&table, fs::Permissions::from_mode(0o602)).expect("chmod");
    assert_eq!(read_all(&host, &model), 1);
    assert_eq!(read_all(&host, &model), 0);
    if have(Need::Root) {
        chown(&table, Some(65534), Some(65534)).expect("chown");
        assert_eq!(read_all(&host, &model), 1);
    }
    // Through a link, even to a good entry.
    let aside = host.home().join("aside");
    fs::rename(&table, &aside).expect("rename");
    std::os::unix::fs::symlink(&aside, &table).expect("link");
    assert_eq!(read_all(&host, &model), 1);
    // Another host key, known to others for a while.
    let key = host.store().join("host.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(read_all(&host, &model), 1);
    assert_eq!(read_all(&host, &model), 0);
}

#[test]
fn stored_tables_are_for_their_owner_only() {
    let Some(host) = Host::new() else { return };
    let model = model(SHA256);
    read_all(&host, &model);
    let mode = |path: &Path| fs::metadata(path).expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode(&host.store()), 0o700);
    assert_eq!(mode(&host.store().join("host.key")), 0o600);
    assert_eq!(mode(&the_table(&host.store())) & 0o077, 0);
    let names: Vec<_> = fs::read_dir(host.store())
        .expect("list")
        .map(|entry| entry.expect("list").file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing unfinished is left: {names:?}");
    let found = fs::read(model.file("weights")).expect("read");
    assert_same(&found, model.bytes("weights"), "the model itself");
}
