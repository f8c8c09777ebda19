//! Pages that the daemon gives to the kernel before a program asks for them, as it does where the
//! kernel's own read-ahead is small.

use std::fs::{self, File};
use std::os::linux::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Advice;
use test_support::missing::not_tested;
use test_support::mounted::flip;

use crate::support::{
    BLAKE3, Dice, Host, Mode, Model, Mount, SHA256, assert_eio, assert_same, map, only_fuse, open,
    part, pread,
};

const MIB: u64 = 1 << 20;

/// Not a whole number of pages.
const LEN: u64 = 24 * MIB + 12_345;

const SHARDS: &[&str] = &["--hash", "sha256", "--shard-size", "1000001"];

/// A signed model of one file, mounted with the read-ahead of an ordinary user.
fn mount(host: &Host, form: &[&str]) -> (Model, Mount) {
    let model = Model::new([("weights", LEN)]);
    model.sign(form);
    let mount = host.mount(&model.path(), &[]);
    if rustix::process::geteuid().is_root() {
        let device = fs::metadata(mount.path()).expect("stat").st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        fs::write(file, "128").expect("set the read-ahead");
    }
    (model, mount)
}

/// Whether this machine lets pages be pushed: not with one core, and not in a small container.
fn pushes(mount: &Mount) -> bool {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let pushes = cores >= 2 && mount.facts().not_pushed.is_none();
    if !pushes {
        not_tested("pushing: one core, or a small container");
    }
    pushes
}

/// Has the kernel forget those of a file's pages that aren't in use.
fn forget(file: &File) {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).expect("forget");
}

#[test]
fn a_file_read_in_order_is_pushed_and_right() {
    if !only_fuse("pushed pages") {
        return;
    }
    for form in [BLAKE3, SHA256, SHARDS] {
        let Some(host) = Host::new() else { return };
        let (model, mount) = mount(&host, form);
        let mut pushed = 0;
        let path = mount.file("weights");
        let before = fs::metadata(&path).expect("stat").len();
        let file = open(&path, Mode::Cached).expect("open");
        for block in [4096, 65_536, 1 << 20, 5_000_000] {
            forget(&file);
            let mut read = Vec::new();
            while read.len() < model.bytes("weights").len() {
                read.extend(pread(&file, read.len() as u64, block).expect("read"));
            }
            let what = format!("{form:?}, blocks of {block}");
            assert_same(&read, model.bytes("weights"), &what);
            if pushes(&mount) {
                let before = std::mem::replace(&mut pushed, mount.stats().pushed_bytes);
                assert!(
                    pushed > before + MIB,
                    "{what}: {before}, {:?}",
                    mount.status()
                );
            }
        }
        forget(&file);
        drop(file);
        map([
            "compare".as_ref(),
            "shared".as_ref(),
            path.as_os_str(),
            model.golden("weights").as_os_str(),
        ])
        .expect("map");
        assert_eq!(fs::metadata(&path).expect("stat").len(), before);
        assert_eq!(mount.stats().violations, 0);
        mount.unmount();
    }
}

#[test]
fn what_was_changed_is_an_error_and_all_else_is_there() {
    if !only_fuse("pushed pages") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let (model, mount) = mount(&host, BLAKE3);
    let file = open(&mount.file("weights"), Mode::Cached).expect("open");
    let bad = 15 * MIB + 700_000;
    flip(&model.file("weights"), bad);
    let mut at = 0;
    let failed = loop {
        match pread(&file, at, 65_536) {
            Ok(read) => {
                let signed = part(model.bytes("weights"), at, read.len());
                assert_same(&read, signed, "read");
                at += read.len() as u64;
            }
            Err(_) => break at,
        }
        assert!(at <= bad, "byte {bad} was delivered");
    };
    assert!(bad - failed < 128 << 10, "failed at {failed}");
    assert_eio(pread(&file, bad, 1), "the changed byte");
    let after = (bad / 65_536 + 1) * 65_536;
    let rest = usize::try_from(LEN - after).expect("fits");
    let read = pread(&file, after, rest).expect("read the rest");
    assert_same(&read, part(model.bytes("weights"), after, rest), "rest");
    if pushes(&mount) {
        assert!(mount.stats().pushed_bytes > 4 * MIB, "{:?}", mount.status());
    }
    flip(&model.file("weights"), bad);
    assert_eq!(
        pread(&file, bad, 1).expect("read again"),
        part(model.bytes("weights"), bad, 1)
    );
    drop(file);
    mount.unmount();
}

/// One reader in order, again and again, while the kernel forgets pages and the source changes: no
/// wrong bytes, and no deadlock.
#[test]
fn a_changing_source_gives_signed_bytes_or_errors() {
    if !only_fuse("pushed pages") {
        return;
    }
    for form in [BLAKE3, SHARDS] {
        let Some(host) = Host::new() else { return };
        let (model, mount) = mount(&host, form);
        let file = open(&mount.file("weights"), Mode::Cached).expect("open");
        let (stop, signed) = (AtomicBool::new(false), model.bytes("weights"));
        let (mut good, mut bad, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new("places");
                while !stop.load(Ordering::Relaxed) {
                    let at = dice.below(LEN);
                    for _ in 0..2 {
                        flip(&model.file("weights"), at);
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    forget(&file);
                    thread::sleep(Duration::from_millis(3));
                }
            });
            let end = Instant::now() + Duration::from_secs(2);
            let mut start = 0;
            while Instant::now() < end {
                let began = Instant::now();
                match pread(&file, start, 128 << 10) {
                    Ok(read) => {
                        assert_same(&read, part(signed, start, read.len()), "read");
                        good += 1;
                    }
                    Err(_) => bad += 1,
                }
                slowest = slowest.max(began.elapsed());
                start = if start + (128 << 10) < LEN {
                    start + (128 << 10)
                } else {
                    0
                };
            }
            stop.store(true, Ordering::Relaxed);
        });
        let outcome = format!(
            "{form:?}: {good} good, {bad} bad, {slowest:?}, {:?}",
            mount.status()
        );
        assert!(good > 100, "{outcome}");
        assert!(slowest < Duration::from_secs(20), "{outcome}");
        if pushes(&mount) {
            assert!(mount.stats().pushed_bytes > 0, "{outcome}");
        }
        drop(file);
        mount.unmount();
    }
}
