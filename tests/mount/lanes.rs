//! The two lanes: which one is taken, what the other one leaves, and a status that says so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use model_fs::kernel::mountinfo::MountTable;
use rustix::process::{Signal, kill_process};
use test_support::mounted::{flip, is_mounted};

use crate::support::{
    BLAKE3, EIO, Host, LIMIT, Mode, Model, SHA256, assert_eio, assert_same, has_pages, in_pages,
    only_fuse, open, part, pread, read_range,
};

fn lane_of(host: &Host, model: &Model, options: &[&str]) -> (String, Option<String>) {
    let mount = host.mount(&model.path(), options);
    let facts = mount.facts();
    mount.unmount();
    (facts.lane, facts.not_pages)
}

#[test]
fn fuse_is_taken_unless_the_other_lane_is_asked_for_and_possible() {
    let Some(host) = Host::new() else { return };
    if !only_fuse("which lane is taken by default") {
        return;
    }
    let model = Model::new([("weights", 100_000)]);
    model.sign(BLAKE3);
    for options in [&[][..], &["--lane", "auto"], &["--lane", "fuse"]] {
        let (lane, reason) = lane_of(&host, &model, options);
        assert_eq!(lane, "fuse");
        assert_eq!(reason.as_deref(), Some("it wasn't asked for"));
    }
    for (more, word) in [
        (["--on-violation", "lockdown"], "lockdown"),
        (["-o", "max_read=65536"], "max_read"),
    ] {
        let options = ["--lane", "pages", more[0], more[1]];
        let (lane, reason) = lane_of(&host, &model, &options);
        assert_eq!(lane, "fuse");
        let reason = reason.expect("a reason");
        let remedy = format!(
            "without {}",
            if word == "lockdown" {
                word
            } else {
                "that option"
            }
        );
        assert!(
            reason.contains(word) && reason.contains(&remedy),
            "{reason}"
        );
    }
    // A length that can't be proved.
    fs::write(model.file("weights"), b"x").expect("write");
    let (lane, reason) = lane_of(&host, &model, &["--lane", "pages"]);
    assert_eq!(lane, "fuse");
    let reason = reason.expect("a reason");
    assert!(!has_pages() || reason.contains("weights"), "{reason}");
}

#[test]
fn nothing_but_erofs_is_in_the_mount_table_and_it_goes_with_its_daemon() {
    let Some(host) = Host::new() else { return };
    if !in_pages() {
        return;
    }
    let model = Model::new([("weights", 3 << 20), ("large", 5 << 20)]);
    // Passes are made before the mount is there.
    model.sign(SHA256);
    let mount = host.mount(&model.path(), &[]);
    assert_eq!(mount.stats().full_passes, 2);
    let (facts, device) = (mount.facts(), mount.path().to_owned());
    assert_eq!((facts.lane.as_str(), facts.not_pages), ("pages", None));
    let table = MountTable::read().expect("read");
    let entry = table.at(&device).expect("it is mounted");
    assert_eq!(entry.fs_type, "erofs");
    assert_eq!(entry.source, model.path().as_os_str());
    let mode = fs::metadata(mount.path()).expect("stat").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o700);
    mount.unmount();
    let mount = host.mount(&model.path(), &["--allow-other"]);
    let mode = fs::metadata(mount.path()).expect("stat").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o755);
    mount.unmount();
}

#[test]
fn a_killed_daemon_leaves_cached_pages_errors_and_a_mount_that_umount_takes_away() {
    let Some(host) = Host::new() else { return };
    if !in_pages() {
        return;
    }
    let model = Model::new([("weights", 6 << 20)]);
    model.sign(BLAKE3);
    let mut mount = host.mount(&model.path(), &[]);
    let path = mount.file("weights");
    let first = read_range(&path, Mode::Cached, 0, 4096).expect("read");
    kill_process(mount.pid(), Signal::KILL).expect("kill it");
    mount.wait();
    assert_same(&first, part(model.bytes("weights"), 0, 4096), "before");
    let cached = read_range(&path, Mode::Cached, 0, 4096).expect("what is cached");
    assert_same(&cached, &first, "afterwards");
    assert_eio(read_range(&path, Mode::Cached, 5 << 20, 4096), "uncached");
    let mut status = host.command("status");
    let said = host.run(status.arg(mount.path()));
    assert!(said.stderr.contains("is dead"), "{said}");
    let mut umount = host.command("umount");
    host.run(umount.arg(mount.path())).expect("umount");
    assert!(!is_mounted(mount.path()));
}

#[test]
fn a_bad_chunk_in_a_stream_ends_it_and_its_neighbours_come_back() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 16 << 20)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    drop(open(&mount.file("weights"), Mode::Cached).expect("open"));
    let bad = (9 << 20) + 300_000_u64;
    flip(&model.file("weights"), bad);
    let file = open(&mount.file("weights"), Mode::Cached).expect("open");
    let step = 128 << 10;
    // What is asked for as one is in the cache as a whole or not at all: a folio, which begins at
    // a multiple of its size, and has at most 2 MiB.
    let folio = bad >> 21 << 21..((bad >> 21) + 1) << 21;
    for offset in (0..16 << 20).step_by(step) {
        let asked = offset..offset + step as u64;
        match pread(&file, offset, step) {
            Ok(found) => {
                assert_same(&found, part(model.bytes("weights"), offset, step), "stream");
                assert!(!asked.contains(&bad), "{offset}");
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EIO), "{offset}");
                assert!(
                    folio.contains(&offset),
                    "{offset}, in a file of which {bad} is bad"
                );
            }
        }
    }
    drop(file);
    // All but the chunk can be had, at the latest once its surroundings were dropped.
    let chunk = bad / 65536 * 65536;
    for offset in (0..16 << 20).step_by(65536) {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let read = read_range(&mount.file("weights"), Mode::Direct, offset, 4096);
            match read {
                Err(_) if offset == chunk => break,
                Ok(found) if offset != chunk => {
                    let signed = part(model.bytes("weights"), offset, 4096);
                    break assert_same(&found, signed, "a neighbour");
                }
                Ok(_) => panic!("the bad chunk was read"),
                Err(error) => assert!(std::time::Instant::now() < deadline, "{offset}: {error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    // Page by page, the chunk's own are all that can't be had.
    let file = open(&mount.file("weights"), Mode::Cached).expect("open");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).expect("say how");
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let fails = |&offset: &u64| pread(&file, offset, 4096).is_err();
        let failed: Vec<u64> = folio.clone().step_by(4096).filter(fails).collect();
        let pages: Vec<u64> = (chunk..chunk + 65536).step_by(4096).collect();
        assert!(pages.iter().all(|page| failed.contains(page)));
        if failed == pages {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{failed:?}");
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    drop(file);
    mount.unmount();
}
