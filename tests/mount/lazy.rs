//! What is read of the source, and when.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::support::{
    ANNOTATED, BLAKE3, CHUNK, Host, Mode, Model, Mount, SHA256, SIZED, assert_same, in_pages,
    noise, only_fuse, read_range, tool,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Adds a file that takes no room on the disk but for some islands of noise, one of them at its
/// end.
fn add_sparse(model: &Model, name: &str, len: u64, islands: &[u64]) {
    let file = File::create(model.file(name)).expect("create a file");
    file.set_len(len).expect("make it long");
    for island in islands {
        let bytes = noise(&island.to_string(), 100_000);
        file.write_all_at(&bytes, *island).expect("write an island");
    }
    file.write_all_at(b"the end", len - 7)
        .expect("write the end");
}

/// One at `offset`, of a mount that has read nothing yet. It is right, and takes no full pass.
#[track_caller]
fn a_mebibyte_costs_less_than_eight(mount: &Mount, model: &Model, offset: u64) {
    let before = mount.bytes_read_by_daemon();
    let found = read_range(&mount.file("weights"), Mode::Cached, offset, 1 << 20);
    let source = read_range(&model.file("weights"), Mode::Cached, offset, 1 << 20);
    assert_same(&found.expect("read"), &source.expect("read"), "a mebibyte");
    let (told, counted) = (
        mount.stats().source_bytes,
        mount.bytes_read_by_daemon() - before,
    );
    assert!((MIB..8 * MIB).contains(&told), "{told}");
    assert!((MIB..8 * MIB).contains(&counted), "{counted}");
    assert_eq!(mount.stats().full_passes, 0);
}

#[test]
fn a_mebibyte_of_four_gibibytes_costs_less_than_eight_mebibytes() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("config.json", 500)]);
    add_sparse(&model, "weights", 4 * GIB, &[0, 2 * GIB + 300_000]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    // No content has been read yet (through EROFS: but for the last chunks), and nothing whose size
    // grows with the content.
    let most = if in_pages() { 2 * CHUNK } else { 0 };
    assert!(mount.stats().source_bytes <= most);
    // Proving a length takes the file's table too, of 2 MiB here.
    let most = if in_pages() { 4 * MIB } else { MIB };
    assert!(mount.bytes_read_by_daemon() < most);

    a_mebibyte_costs_less_than_eight(&mount, &model, 2 * GIB);
    mount.unmount();

    // A small model costs as much to mount, to the last few kilobytes.
    let small = Model::new([("config.json", 500), ("weights", 4 * MIB)]);
    small.sign(BLAKE3);
    let mount = host.mount(&small.path(), &[]);
    let most = if in_pages() { 2 * CHUNK } else { 0 };
    assert!(mount.stats().source_bytes <= most);
    assert!(mount.bytes_read_by_daemon() < MIB);
    mount.unmount();
}

/// What `sign` makes when told nothing: every verifier knows the hash, and no host has to read it
/// first.
#[test]
fn a_copy_of_a_model_signed_by_default_is_lazy_on_a_host_that_has_never_seen_it() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("config.json", 500), ("tokenizer.json", 700_000)]);
    add_sparse(&model, "weights", 4 * GIB, &[0, 2 * GIB + 300_000]);
    model.sign(ANNOTATED);
    let copy = model.beside("copy");
    tool(
        "cp",
        ["-a".as_ref(), model.path().as_os_str(), copy.as_os_str()],
    )
    .expect("cp");

    let mount = host.mount(&copy, &[]);
    let size = |name: &str| std::fs::metadata(mount.file(name)).expect("stat").len();
    assert_eq!(
        (size("config.json"), size("tokenizer.json")),
        (500, 700_000)
    );
    assert_eq!(size("weights"), 4 * GIB);
    assert_eq!(mount.stats().source_bytes, 0, "sizes are signed");
    a_mebibyte_costs_less_than_eight(&mount, &model, 4 * GIB - MIB);
    mount.unmount();

    // Without the tables, all of it has to be read once, and is right.
    std::fs::remove_dir_all(copy.join(".model-fs")).expect("remove the tables");
    let host = Host::anywhere();
    let mount = host.mount(&copy, &[]);
    let found = read_range(
        &mount.file("weights"),
        Mode::Cached,
        2 * GIB + 300_000,
        4096,
    );
    let source = read_range(
        &model.file("weights"),
        Mode::Cached,
        2 * GIB + 300_000,
        4096,
    );
    assert_same(&found.expect("read"), &source.expect("read"), "an island");
    // Through EROFS, those of other files aren't left until they are opened.
    let passes = if in_pages() { 2 } else { 1 };
    assert_eq!(mount.stats().full_passes, passes);
    mount.unmount();
}

/// What a host has proved stays proved: a binding to a listed digest serves the same digest with
/// annotations, and a table by its BLAKE3 root serves every signature that names this root.
#[test]
fn what_a_host_has_proved_serves_other_signatures_of_the_same_content() {
    let Some(_) = Host::new() else { return };
    for (before, after) in [(SHA256, ANNOTATED), (ANNOTATED, SIZED), (SIZED, ANNOTATED)] {
        let model = Model::new([("weights", 3 * MIB)]);
        model.sign(&[before, &["--no-tables"]].concat());
        let host = Host::anywhere();
        host.run(&mut host.on_model("index", &model.path(), &[]))
            .expect("index");
        model.sign(&[after, &["--no-tables"]].concat());
        let mount = host.mount(&model.path(), &[]);
        tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("cmp");
        assert_eq!(mount.stats().full_passes, 0, "{before:?}, {after:?}");
        mount.unmount();
    }
}

#[test]
fn five_sparse_gibibytes_read_as_the_source() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("config.json", 500)]);
    let islands = [0, GIB - 50_000, 4 * GIB - 50_000, 4 * GIB + 7 * MIB];
    add_sparse(&model, "weights", 5 * GIB, &islands);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    tool("cmp", [model.file("weights"), mount.file("weights")]).expect("cmp");
    for mode in [Mode::Cached, Mode::Direct] {
        for place in islands.into_iter().chain([5 * GIB - 3 * MIB]) {
            let offset = place.saturating_sub(12_345);
            let found = read_range(&mount.file("weights"), mode, offset, 3 << 20).expect("read");
            let source = read_range(&model.file("weights"), Mode::Cached, offset, 3 << 20);
            assert_same(&found, &source.expect("read"), &format!("at {offset}"));
        }
    }
    let (file, last) = (mount.file("weights"), (5 * GIB - 1).to_string());
    let touched = crate::support::map([
        "touch".as_ref(),
        "shared".as_ref(),
        file.as_os_str(),
        last.as_ref(),
    ]);
    assert_eq!(touched.expect("map").stdout.trim(), b'd'.to_string());
    mount.unmount();
}

#[test]
fn a_sha256_model_is_hashed_once_per_host() {
    if !only_fuse("mounts that hash nothing") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let model = Model::new([("config.json", 500), ("weights", 9 * MIB)]);
    model.sign(SHA256);

    let first = host.mount(&model.path(), &[]);
    assert_eq!(first.stats().full_pass_bytes, 0, "mounting hashes nothing");
    tool("cmp", [model.golden("weights"), first.file("weights")]).expect("cmp");
    assert_eq!(first.stats().full_passes, 1);
    first.unmount();

    for _ in 0..2 {
        let again = host.mount(&model.path(), &[]);
        assert!(again.bytes_read_by_daemon() < MIB);
        let file = File::open(again.file("weights")).expect("open");
        assert_eq!(file.metadata().expect("stat").len(), 9 * MIB);
        assert_eq!(again.stats().source_bytes, 0, "opening reads nothing");
        let found = read_range(&again.file("weights"), Mode::Direct, 5 * MIB, 4096).expect("read");
        let from = usize::try_from(5 * MIB).expect("small");
        assert_same(&found, &model.bytes("weights")[from..from + 4096], "a page");
        assert_eq!(again.stats().source_bytes, CHUNK);
        assert_eq!(again.stats().full_passes, 0);
        drop(file);
        again.unmount();
    }
}

#[test]
fn whoever_signs_indexes_or_verifies_needs_no_full_pass() {
    let Some(publisher) = Host::new() else { return };
    let model = Model::new([("weights", 3 * MIB)]);
    let mut sign = publisher.command("sign");
    sign.arg(model.path()).args(SHA256);
    sign.arg("--private-key").arg(crate::support::private_key());
    publisher.run(&mut sign).expect("sign");

    let (indexer, verifier) = (Host::anywhere(), Host::anywhere());
    for (host, verb) in [(&indexer, "index"), (&verifier, "verify")] {
        host.run(&mut host.on_model(verb, &model.path(), &[]))
            .expect(verb);
    }
    for host in [publisher, indexer, verifier] {
        let mount = host.mount(&model.path(), &[]);
        tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("cmp");
        assert_eq!(mount.stats().full_passes, 0);
        mount.unmount();
    }
}

#[test]
fn a_second_read_asks_nobody() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 3 * MIB)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("cmp");
    let delivered = mount.stats().delivered_bytes;
    // Another open of the same file: the kernel has kept its pages.
    tool("cmp", [model.golden("weights"), mount.file("weights")]).expect("cmp");
    // Except for pages that the kernel has dropped meanwhile, which it may.
    assert!(mount.stats().delivered_bytes - delivered < MIB);
    mount.unmount();
}
