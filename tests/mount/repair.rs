//! Chunks that fail and are had after all: errors that pass, and second places.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType as NodeType, Mode as Permissions, mknodat};
use serde_json::Value;
use test_support::mounted::flip;

use crate::one_file::OneFile;
use crate::support::{
    ANNOTATED, BLAKE3, CHUNK, Dice, Host, Mode, Model, SHA256, assert_eio, assert_same, map,
    read_range, text,
};

/// Content and metadata of all that lies beneath a directory.
fn all_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("list") {
        let path = entry.expect("list").path();
        let metadata = fs::symlink_metadata(&path).expect("look");
        let bytes = if metadata.is_file() {
            fs::read(&path).expect("read")
        } else {
            Vec::new()
        };
        if metadata.is_dir() {
            found.extend(all_of(&path));
        }
        let times = (metadata.mtime(), metadata.ctime_nsec());
        found.insert(path, (bytes, times.0, times.1, metadata.ino()));
    }
    found
}

/// A copy of the model, beside it.
fn second_place(model: &Model) -> PathBuf {
    let place = model.beside("second");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(model.path()).arg(&place);
    assert!(copy.status().expect("cp").success());
    place
}

#[test]
fn a_hundredth_of_the_chunks_is_repaired_and_both_places_stay_as_they_are() {
    let Some(host) = Host::new() else { return };
    let sizes = [("weights", 40 << 20), ("deep/er", (8 << 20) + 77)];
    for options in [ANNOTATED, BLAKE3] {
        let model = Model::new(sizes);
        model.sign(options);
        let place = second_place(&model);
        let mut dice = Dice::new("damage");
        let mut damaged = 0;
        for (name, len) in sizes {
            for chunk in 0..len.div_ceil(CHUNK) {
                // One in a hundred here, one there, and none in both.
                let at = chunk * CHUNK + dice.below(77);
                match dice.below(100) {
                    0 => {
                        flip(&model.file(name), at);
                        damaged += 1;
                    }
                    1 => flip(&place.join(name), at),
                    _ => {}
                }
            }
        }
        assert!(damaged >= 3, "{damaged}");
        let before = [all_of(&model.path()), all_of(&place)];
        let metrics = model.beside("metrics.prom");
        let repair = ["--repair-from", text(&place)];
        let more = [
            "--metrics-file",
            text(&metrics),
            "--on-violation",
            "lockdown",
        ];
        let mount = host.mount(
            &model.path(),
            &[repair, [more[0], more[1]], [more[2], more[3]]].concat(),
        );
        for (name, _) in sizes {
            let found = fs::read(mount.file(name)).expect("read");
            assert_same(&found, model.bytes(name), name);
            let (seen, golden) = (mount.file(name), model.golden(name));
            let mapped = map([
                OsStr::new("compare"),
                "shared".as_ref(),
                seen.as_ref(),
                golden.as_ref(),
            ]);
            mapped.expect("what is mapped is the same");
        }
        // Read once more, past the kernel's memory: it doesn't count again.
        for (name, _) in sizes {
            let found = read_range(&mount.file(name), Mode::Direct, 0, 64 << 20).expect("read");
            assert_same(&found, model.bytes(name), name);
        }
        let stats = mount.stats();
        assert_eq!(stats.repaired_chunks, damaged);
        assert_eq!((stats.violations, stats.source_errors), (0, 0));
        assert!(!mount.owner_status().locked_down);
        let recent = mount.owner_status().recent_recoveries;
        assert!(!recent.is_empty());
        for told in recent {
            let from = format!("repaired from {}", place.display());
            assert!(
                told.contains(&from) && told.contains("isn't what was signed"),
                "{told}"
            );
        }
        let shown = host.run(host.command("status").arg(mount.path()));
        let mut lines = shown.stdout.lines();
        let line = lines.find(|line| line.starts_with("repaired chunks "));
        let count = line.and_then(|line| line.rsplit(' ').next());
        assert_eq!(count, Some(damaged.to_string().as_str()), "{shown}");
        let json = host.run(host.command("status").arg(mount.path()).arg("--json"));
        let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert_eq!(json["repaired_chunks"], damaged);
        host.run(host.command("status").arg("--check").arg(mount.path()))
            .expect("no reader was given anything else");
        let log = mount.unmount();
        assert!(log.contains("repaired: a second place has"), "{log}");
        let metrics = fs::read_to_string(&metrics).expect("read");
        let counted = format!("kind=\"repair\"}} {damaged}\n");
        assert!(metrics.contains(&counted), "{metrics}");
        assert!(
            [all_of(&model.path()), all_of(&place)] == before,
            "something was written"
        );
    }
}

#[test]
fn a_second_place_that_lies_changes_nothing() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 4 << 20)]);
    model.sign(ANNOTATED);
    let place = second_place(&model);
    let repair = ["--repair-from", text(&place)];
    let mount = host.mount(&model.path(), &repair);
    let read = |chunk: u64| read_range(&mount.file("weights"), Mode::Direct, chunk * CHUNK, 100);
    let weights = place.join("weights");
    let lies: [(&str, &dyn Fn()); 7] = [
        ("another byte", &|| flip(&weights, CHUNK + 9)),
        ("cut", &|| {
            let file = fs::OpenOptions::new().write(true).open(&weights);
            file.and_then(|file| file.set_len(CHUNK + 50)).expect("cut");
        }),
        ("missing", &|| fs::remove_file(&weights).expect("remove")),
        ("a FIFO", &|| {
            mknodat(CWD, &weights, NodeType::Fifo, Permissions::RWXU, 0).expect("mkfifo");
        }),
        ("a link out", &|| {
            fs::remove_file(&weights).expect("remove");
            symlink(model.golden("weights"), &weights).expect("link");
        }),
        ("a directory", &|| {
            fs::remove_file(&weights).expect("remove");
            fs::create_dir(&weights).expect("mkdir");
        }),
        ("gone", &|| fs::remove_dir_all(&place).expect("remove")),
    ];
    flip(&model.file("weights"), CHUNK + 1);
    for (what, lie) in lies {
        lie();
        assert_eio(read(1), what);
        assert_same(
            &read(2).expect("read"),
            &model.bytes("weights")[2 * 65536..][..100],
            what,
        );
    }
    let stats = mount.stats();
    assert_eq!((stats.violations, stats.repaired_chunks), (1, 0));
    // The right bytes are back in the model.
    flip(&model.file("weights"), CHUNK + 1);
    read(1).expect("read");
    mount.unmount();
    let there_is_none = ["--repair-from", text(&place)];
    let failed = host.mount_fails(&model.path(), &there_is_none, 1);
    assert!(
        failed.stderr.contains("no directory to repair from"),
        "{failed}"
    );
}

#[test]
fn a_file_that_goes_while_it_is_mounted_is_had_from_a_second_place() {
    let Some(host) = Host::new() else { return };
    for (options, len) in [
        (ANNOTATED, 3 << 20),
        (BLAKE3, 3 << 20),
        (SHA256, 3 << 20),
        (SHA256, 9000),
    ] {
        for damage in ["missing", "cut", "changed"] {
            let what = format!("{options:?} {len} {damage}");
            let model = Model::new([("weights", len), ("opened", len)]);
            model.sign(options);
            let place = second_place(&model);
            let mount = Host::anywhere().mount(&model.path(), &["--repair-from", text(&place)]);
            let held = fs::File::open(mount.file("opened")).expect("open");
            for name in ["weights", "opened"] {
                match damage {
                    "missing" => model.remove(name),
                    "cut" => {
                        let file = fs::OpenOptions::new().write(true).open(model.file(name));
                        file.and_then(|file| file.set_len(len / 2)).expect("cut");
                    }
                    _ => flip(&model.file(name), len - 1),
                }
            }
            for name in ["weights", "opened"] {
                let found = fs::read(mount.file(name)).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_same(&found, model.bytes(name), &what);
            }
            drop(held);
            let stats = mount.stats();
            assert!(stats.repaired_chunks > 0, "{what}");
            assert_eq!((stats.violations, stats.source_errors), (0, 0), "{what}");
            mount.unmount();
        }
    }
    drop(host);
}

#[test]
fn an_error_of_the_transfer_that_stays_in_memory_is_read_past() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", (3 << 20) + 100)]);
    model.sign(&["--hash", "sha256", "--shard-size", "1MiB"]);
    // One in the middle, and one beyond the last whole page.
    let source = OneFile::of(model.bytes("weights")).lies(&[1_500_000, (3 << 20) + 50]);
    let source = source.serve();
    let signature = model.file("model.sig");
    let metrics = model.beside("metrics.prom");
    let options = [
        "--signature",
        text(&signature),
        "--metrics-file",
        text(&metrics),
    ];
    let mount = host.mount(source.path(), &options);
    let found = fs::read(mount.file("weights")).expect("read");
    assert_same(&found, model.bytes("weights"), "after transfer errors");
    let stats = mount.stats();
    assert_eq!((stats.transfer_errors, stats.violations), (2, 0));
    let log = mount.unmount();
    assert!(log.contains("transfer error: what is read again"), "{log}");
    let metrics = fs::read_to_string(&metrics).expect("read");
    assert!(
        metrics.contains("kind=\"transfer_error\"} 2\n"),
        "{metrics}"
    );
}
