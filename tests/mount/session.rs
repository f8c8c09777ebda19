//! How a mount begins and ends.

use std::fs::{self, File};
use std::process::Command;

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::{clear, flip, is_mounted};
use test_support::process::finish;

use crate::background::daemon_of;
use crate::passes::Stopped;
use crate::support::{
    BLAKE3, Host, LIMIT, Mode, Model, Mount, assert_same, open, pread, public_key, read_range,
};

fn model() -> Model {
    let model = Model::new([("weights", 600_000), ("config.json", 100)]);
    model.sign(BLAKE3);
    model
}

#[test]
fn signals_end_a_mount_in_the_foreground_cleanly() {
    let Some(host) = Host::new() else { return };
    let model = model();
    for signal in [Signal::TERM, Signal::INT] {
        let mut mount = host.mount(&model.path(), &[]);
        fs::read(mount.file("weights")).expect("read");
        kill_process(mount.pid(), signal).expect("send a signal");
        assert_eq!(mount.wait(), Some(0), "{signal:?}: {}", mount.stderr());
        assert!(!is_mounted(mount.path()), "{signal:?}");
        assert!(!mount.stderr().contains("error"), "{}", mount.stderr());
    }
}

#[test]
fn a_hang_up_opens_the_log_anew_and_nothing_else() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let (log, old) = (model.beside("log"), model.beside("log.1"));
    let mut mount = host.mount(&model.path(), &["--log-file", log.to_str().expect("text")]);
    fs::rename(&log, &old).expect("rename the log");
    kill_process(mount.pid(), Signal::HUP).expect("send a signal");
    let deadline = std::time::Instant::now() + LIMIT;
    while !log.exists() {
        assert!(std::time::Instant::now() < deadline, "no new log");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // The mount serves as before, and what happens from now on is in the new file.
    let found = fs::read(mount.file("weights")).expect("read");
    assert_same(&found, model.bytes("weights"), "after a hang-up");
    flip(&model.file("weights"), 1000);
    assert!(read_range(&mount.file("weights"), Mode::Direct, 0, 4096).is_err());
    assert!(
        fs::read_to_string(&log)
            .expect("read")
            .contains("violation")
    );
    assert!(
        !fs::read_to_string(&old)
            .expect("read")
            .contains("violation")
    );
    kill_process(mount.pid(), Signal::TERM).expect("send a signal");
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

#[test]
fn a_mount_whose_directory_was_renamed_is_taken_away() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let (before, after) = (model.beside("before"), model.beside("after"));
    fs::create_dir_all(before.join("mnt")).expect("make a mountpoint");
    let mut command = host.on_model("mount", &model.path(), &[]);
    host.run(command.arg("--").arg(before.join("mnt")))
        .expect("mount");
    let daemon = daemon_of(&before.join("mnt"));
    fs::rename(&before, &after).expect("rename");
    let moved = fs::canonicalize(&after).expect("resolve").join("mnt");
    assert!(is_mounted(&moved));
    kill_process(daemon, Signal::TERM).expect("send a signal");
    let deadline = std::time::Instant::now() + LIMIT;
    while rustix::process::test_kill_process(daemon).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the daemon stays");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let left = is_mounted(&moved);
    clear(&moved);
    assert!(!left, "a dead mount is left");
}

#[test]
fn where_descriptors_run_out_mount_says_so_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let model = model();
    for place in [&[][..], &["--foreground"]] {
        let mountpoint = TempDir::new().expect("make a mountpoint");
        let mut command = Command::new("prlimit");
        command
            .args([
                "--nofile=40:40",
                built::program(),
                "mount",
                "--threads",
                "60",
            ])
            .args(place)
            .arg("--public-key")
            .arg(public_key())
            .arg("--index-dir")
            .arg(host.store())
            .arg(model.path())
            .arg(mountpoint.path());
        let finished = finish(&mut command, LIMIT);
        let left = is_mounted(mountpoint.path());
        clear(mountpoint.path());
        assert!(!left, "something is left mounted: {finished}");
        let finished = finished.expect_code(1, "mount");
        assert!(finished.stderr.contains("the limit is 40"), "{finished}");
        assert!(finished.stderr.contains("ulimit -n"), "{finished}");
    }
}

#[test]
fn a_mount_whose_descriptors_are_used_up_goes_on_and_can_be_ended() {
    let Some(host) = Host::new() else { return };
    let model = Model::new((0..80).map(|index| (format!("file-{index}"), 70_000)));
    model.sign(BLAKE3);
    let mountpoint = TempDir::new().expect("make a mountpoint");
    let mut command = Command::new("prlimit");
    command
        .args([
            "--nofile=64:64",
            built::program(),
            "mount",
            "--threads",
            "2",
        ])
        .args(["--foreground", "--public-key"])
        .arg(public_key())
        .arg("--index-dir")
        .arg(host.store())
        .arg(model.path())
        .arg(mountpoint.path());
    let mut mount = Mount::of(command, mountpoint);
    let files: Vec<_> = (0..80)
        .map(|index| File::open(mount.file(&format!("file-{index}"))))
        .collect();
    assert!(files.iter().any(Result::is_ok));
    assert!(files.iter().any(Result::is_err), "descriptors are left");
    // Longer than it takes to find a thread missing.
    std::thread::sleep(std::time::Duration::from_secs(15));
    fs::read_dir(mount.path()).expect("it is served");
    kill_process(mount.pid(), Signal::TERM).expect("send a signal");
    let deadline = std::time::Instant::now() + LIMIT;
    while is_mounted(mount.path()) {
        assert!(std::time::Instant::now() < deadline, "{}", mount.stderr());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(files);
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

/// The source of one mount is another mount, whose daemon is stopped: it answers nothing.
#[test]
fn a_mount_whose_source_hangs_ends_when_it_is_asked_to() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("big", 64 << 20)]);
    model.sign(BLAKE3);
    let slow = host.mount(&model.path(), &[]);
    let reader = Host::anywhere();
    let mut mount = reader.mount(slow.path(), &[]);
    let file = open(&mount.file("big"), Mode::Direct).expect("open");
    // The full pass has filled the page cache of the slow mount.
    let source = File::open(slow.file("big")).expect("open");
    rustix::fs::fadvise(&source, 0, None, rustix::fs::Advice::DontNeed).expect("advise");
    drop(source);
    let stopped = Stopped::new(slow.pid());
    let answered = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // Dropped before the readers are waited for, even if an assertion fails.
        let stopped = stopped;
        for index in 0..64 {
            let (file, answered) = (&file, &answered);
            scope.spawn(move || {
                let _ = pread(file, index << 20, 4096);
                answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        let before = answered.load(std::sync::atomic::Ordering::Relaxed);
        assert!(before < 64, "nothing hangs");
        let asked = std::time::Instant::now();
        kill_process(mount.pid(), Signal::TERM).expect("send a signal");
        assert_eq!(mount.wait(), Some(1), "{}", mount.stderr());
        // Not after the grace period, which is for files that are served.
        let said = mount.stderr();
        assert!(said.contains("none is answered"), "{said}");
        // It takes less than five seconds; a busy machine may need more.
        assert!(asked.elapsed().as_secs() < 20, "{:?}", asked.elapsed());
        drop(stopped);
    });
    drop(file);
    slow.unmount();
}

#[test]
fn files_that_are_open_when_the_end_is_asked_for_are_served() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    let held = open(&mount.file("weights"), Mode::Direct).expect("open");
    kill_process(mount.pid(), Signal::TERM).expect("send a signal");
    while is_mounted(mount.path()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let found = pread(&held, 0, 1 << 20).expect("read from a mount that is going");
    assert_same(&found, model.bytes("weights"), "an open file");
    drop(held);
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

#[test]
fn a_mount_with_another_inside_is_not_unmounted() {
    let Some(host) = Host::new() else { return };
    if !have(Need::Root) {
        return;
    }
    let model = Model::new([("weights", 600_000), ("dir/config.json", 100)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    let held = File::open(mount.file("weights")).expect("open");
    // By whom, and what becomes of it where no mount is inside, is tested with operations.
    let inside = mount.file("dir");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "inside"])
        .arg(&inside)
        .status();
    assert!(mounted.expect("mount").success());
    let mut umount = host.command("umount");
    let failed = host.run(umount.arg(mount.path())).expect_code(1, "umount");
    assert!(failed.stderr.starts_with("error: "), "{failed}");
    assert!(is_mounted(mount.path()) && is_mounted(&inside));
    finish(Command::new("umount").arg(&inside), LIMIT).expect("umount");
    drop(held);
    mount.unmount();
}

#[test]
fn a_second_mount_on_the_same_point_is_refused() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &[]);
    let mut second = host.on_model("mount", &model.path(), &[]);
    second.arg("--").arg(mount.path());
    let failed = host.run(&mut second).expect_code(1, "mount");
    assert!(failed.stderr.contains("model-fs umount"), "{failed}");
    // The first mount still works.
    let found = fs::read(mount.file("weights")).expect("read");
    assert_same(&found, model.bytes("weights"), "the first mount");
    mount.unmount();
}

#[test]
fn the_dead_mount_of_a_killed_daemon_is_cleared() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    kill_process(mount.pid(), Signal::KILL).expect("kill");
    mount.wait();
    assert!(is_mounted(mount.path()), "a dead mount stays");
    let mut status = host.command("status");
    let failed = host.run(status.arg(mount.path())).expect_code(1, "status");
    assert!(failed.stderr.contains("dead"), "{failed}");
    // The error of mounting over it says what to do.
    let mut again = host.on_model("mount", &model.path(), &[]);
    again.arg("--").arg(mount.path());
    let failed = host.run(&mut again).expect_code(1, "mount");
    assert!(failed.stderr.contains("model-fs umount"), "{failed}");
    finish(
        Command::new(built::program())
            .arg("umount")
            .arg(mount.path()),
        LIMIT,
    )
    .expect("umount");
    assert!(!is_mounted(mount.path()));
}

#[test]
fn only_what_is_mounted_by_us_is_unmounted() {
    let host = Host::anywhere();
    let plain = TempDir::new().expect("make a folder");
    for path in [plain.path(), "/proc".as_ref(), "/nothing/there".as_ref()] {
        let mut umount = host.command("umount");
        let failed = host.run(umount.arg(path)).expect_code(1, "umount");
        assert!(failed.stderr.starts_with("error: "), "{failed}");
    }
    assert!(is_mounted("/proc".as_ref()));
}

#[test]
fn a_mountpoint_that_cannot_be_one_is_refused() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let (file, missing) = (model.beside("file"), model.beside("missing"));
    fs::write(&file, b"x").expect("write");
    let inside = model.path();
    for mountpoint in [&file, &missing, &inside] {
        let mut mount = host.command("mount");
        mount.arg(model.path()).arg(mountpoint);
        mount.arg("--public-key").arg(public_key());
        let failed = host.run(&mut mount).expect_code(1, "mount");
        assert!(failed.stderr.starts_with("error: "), "{failed}");
        assert!(!is_mounted(mountpoint), "{failed}");
    }
}
