//! Mounting where a daemon was killed: the dead mount is replaced, and nothing beneath it is seen.
//!
//! Needs root and Linux 6.5; elsewhere the dead mount stays, which is tested too.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model_fs::kernel::FS_TYPE;
use model_fs::kernel::control::{Address, Asking};
use model_fs::kernel::mountinfo::MountTable;
use model_fs::kernel::pages::PAGES_FS_TYPE;
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::{clear, is_mounted};
use test_support::process::{Finished, finish};

use crate::background::daemon_of;
use crate::passes::Stopped;
use crate::support::{BLAKE3, Host, LIMIT, Model, assert_same, has_pages, public_key, tool};

fn model() -> Model {
    let model = Model::new([("weights", 600_000), ("dir/config.json", 100)]);
    model.sign(BLAKE3);
    model
}

/// A directory that isn't empty, on which mounts come and go.
struct Mountpoint(TempDir);

impl Mountpoint {
    fn new() -> Self {
        let folder = TempDir::new().expect("make a mountpoint");
        for name in ["weights", "unsigned"] {
            fs::write(folder.path().join(name), b"nobody signed this").expect("write");
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Mounts of ours at this very place, by number, from the table.
    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("read the table");
        let place = self.path().to_str().expect("text");
        table
            .lines()
            .filter(|line| line.contains(FS_TYPE) || line.contains(" - erofs "))
            .filter(|line| line.split(' ').nth(4) == Some(place))
            .map(|line| line.split(' ').next().expect("a number").to_owned())
            .collect()
    }

    fn command(&self, host: &Host, model: &Model, options: &[&str]) -> Command {
        let mut command = host.on_model("mount", &model.path(), options);
        command.arg("--").arg(self.path());
        command
    }

    /// Mounts there, which must work.
    #[track_caller]
    fn mount(&self, host: &Host, model: &Model) -> Finished {
        host.run(&mut self.command(host, model, &[]))
            .expect("mount")
    }

    /// Reads a file through the mount, which has what was signed.
    #[track_caller]
    fn is_read(&self, model: &Model, what: &str) {
        let found = fs::read(self.file("weights")).expect("read");
        assert_same(&found, model.bytes("weights"), what);
    }

    /// Leaves a dead mount there.
    #[track_caller]
    fn kill(&self) {
        let daemon = daemon_of(self.path());
        kill_process(daemon, Signal::KILL).expect("kill");
        let deadline = std::time::Instant::now() + LIMIT;
        while !self.is_dead() {
            assert!(std::time::Instant::now() < deadline, "it doesn't die");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn is_dead(&self) -> bool {
        let table = MountTable::read().expect("read the table");
        let entry = table.at(self.path()).expect("something is mounted");
        if entry.fs_type == PAGES_FS_TYPE {
            let address = Address::of(entry).expect("it has one");
            let asked = Asking::new(address);
            return asked.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        }
        rustix::fs::statfs(self.path()).err() == Some(rustix::io::Errno::NOTCONN)
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        while is_mounted(self.path()) {
            clear(self.path());
        }
    }
}

/// Whether a dead mount can be replaced here.
fn can_replace() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().ok());
    let version: (Option<u32>, Option<u32>) = (numbers.next().flatten(), numbers.next().flatten());
    let able = version >= (Some(6), Some(5)) && rustix::process::geteuid().is_root();
    if !able {
        eprintln!("NOT TESTED: dead mounts are replaced as root, since Linux 6.5");
    }
    able
}

#[test]
fn a_dead_mount_is_replaced_and_nobody_sees_what_lies_beneath() {
    let Some(host) = Host::new() else { return };
    if !can_replace() {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    place.mount(&host, &model);
    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    looks.fetch_add(1, Ordering::Relaxed);
                    assert!(fs::read(place.file("unsigned")).is_err(), "seen beneath");
                    if let Ok(found) = fs::read(place.file("weights")) {
                        assert_same(&found, model.bytes("weights"), "a reader");
                    }
                    if let Ok(mut entries) = fs::read_dir(place.path()) {
                        let unsigned = |entry: std::io::Result<fs::DirEntry>| {
                            entry.is_ok_and(|entry| entry.file_name() == "unsigned")
                        };
                        assert!(!entries.any(unsigned), "listed beneath");
                    }
                }
            });
        }
        let ended = scope.spawn(|| {
            for _ in 0..25 {
                place.kill();
                let said = place.mount(&host, &model);
                assert!(said.stderr.contains("replaced a dead mount"), "{said}");
                assert_eq!(place.mounts().len(), 1, "one mount, the new one");
                place.is_read(&model, "the new mount");
            }
        });
        let ended = ended.join();
        done.store(true, Ordering::Relaxed);
        assert!(ended.is_ok());
    });
    assert!(looks.load(Ordering::Relaxed) > 100);
    // And it is unmounted as any other, to the directory that it lies on.
    finish(
        Command::new(built::program())
            .arg("umount")
            .arg(place.path()),
        LIMIT,
    )
    .expect("umount");
    assert_eq!(place.mounts().len(), 0);
    assert!(place.file("unsigned").exists());
}

#[test]
fn a_dead_mount_of_either_lane_is_replaced_by_one_of_either() {
    let Some(host) = Host::new() else { return };
    if !can_replace() || !has_pages() {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    for lane in ["pages", "fuse", "pages", "pages"] {
        if is_mounted(place.path()) {
            place.kill();
        }
        let options = ["--lane", lane];
        host.run(&mut place.command(&host, &model, &options))
            .expect("mount");
        let table = MountTable::read().expect("read the table");
        let entry = table.at(place.path()).expect("it is mounted");
        assert_eq!(entry.fs_type == PAGES_FS_TYPE, lane == "pages", "{entry:?}");
        assert_eq!(place.mounts().len(), 1);
        place.is_read(&model, "the new mount");
    }
}

#[test]
fn of_many_that_mount_on_a_dead_one_at_a_time_one_does() {
    let Some(host) = Host::new() else { return };
    if !can_replace() {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    place.mount(&host, &model);
    for _ in 0..5 {
        place.kill();
        let start = || {
            let mut command = place.command(&host, &model, &[]);
            let command = command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null()).spawn().expect("start")
        };
        let started: Vec<Child> = (0..6).map(|_| start()).collect();
        let codes: Vec<_> = started
            .into_iter()
            .map(|mut child| child.wait().expect("wait").code())
            .collect();
        let done = codes.iter().filter(|code| **code == Some(0)).count();
        let refused = codes.iter().filter(|code| **code == Some(1)).count();
        assert_eq!((done, refused), (1, 5), "{codes:?}");
        assert_eq!(place.mounts().len(), 1);
        place.is_read(&model, "the mount that was first");
    }
}

#[test]
fn what_fails_on_the_way_leaves_the_dead_mount_as_it_was() {
    let Some(host) = Host::new() else { return };
    if !can_replace() {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    place.mount(&host, &model);
    place.kill();
    let before = place.mounts();
    // It comes as far as the connection with the kernel, and then threads and descriptors run out.
    let mut short = Command::new("prlimit");
    short.args([
        "--nofile=40:40",
        built::program(),
        "mount",
        "--threads",
        "60",
    ]);
    short.arg("--public-key").arg(public_key());
    short.arg("--index-dir").arg(host.store());
    short.arg(model.path()).arg(place.path());
    let failed = finish(&mut short, LIMIT).expect_code(1, "mount");
    assert!(failed.stderr.contains("the limit is 40"), "{failed}");
    assert_eq!(place.mounts(), before);
    assert!(place.is_dead());
    // And before that: the model is signed by another.
    let mut untrusted = host.command("mount");
    untrusted
        .arg(model.path())
        .arg(place.path())
        .arg("--public-key");
    untrusted.arg(test_support::keys::path("p384-pub.pem"));
    host.run(&mut untrusted).expect_code(3, "mount");
    assert_eq!(place.mounts(), before);
    assert!(place.is_dead());
    // And last of all: the pid file was taken by another process meanwhile, as was the port.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = taken.local_addr().expect("an address").to_string();
    let running = model.beside("running");
    fs::write(&running, format!("{}\n", std::process::id())).expect("write");
    for late in [
        ["--metrics-listen", &port],
        ["--pid-file", running.to_str().expect("text")],
    ] {
        host.run(&mut place.command(&host, &model, &late))
            .expect_code(1, "mount");
        assert_eq!(place.mounts(), before);
        assert!(place.is_dead());
    }
    // The process that waits for the mount is gone when it is there: nothing can be told.
    let mut child = place
        .command(&host, &model, &[])
        .env("MODEL_FS_BACKGROUND_PARENT", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .expect("open"),
        )
        .stderr(Stdio::null())
        .spawn()
        .expect("start");
    assert_eq!(child.wait().expect("wait").code(), Some(1));
    assert!(place.is_dead(), "what failed in its place is dead as well");
    assert_eq!(place.mounts().len(), 1);
    place.mount(&host, &model);
    place.is_read(&model, "the mount in its place");
}

#[test]
fn what_is_mounted_inside_of_a_dead_mount_keeps_it() {
    let Some(host) = Host::new() else { return };
    if !can_replace() {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    place.mount(&host, &model);
    let inside = place.file("dir");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "inside"])
        .arg(&inside)
        .status();
    assert!(mounted.expect("mount").success());
    place.kill();
    let before = place.mounts();
    let failed = host
        .run(&mut place.command(&host, &model, &[]))
        .expect_code(1, "mount");
    assert!(failed.stderr.contains("hint: umount "), "{failed}");
    assert_eq!(place.mounts(), before);
    assert!(is_mounted(&inside), "the mount inside is there still");
    tool("umount", [&inside]).expect("umount");
    place.mount(&host, &model);
    assert_eq!(place.mounts().len(), 1);
}

#[test]
fn a_mount_that_is_stopped_or_covered_is_not_replaced() {
    let Some(host) = Host::new() else { return };
    if !have(Need::Root) {
        return;
    }
    let (model, place) = (model(), Mountpoint::new());
    place.mount(&host, &model);
    let before = place.mounts();
    let stopped = Stopped::new(daemon_of(place.path()));
    let failed = host.run(&mut place.command(&host, &model, &[]));
    drop(stopped);
    let failed = failed.expect_code(1, "mount");
    assert!(failed.stderr.contains("already mounted"), "{failed}");
    assert_eq!(place.mounts(), before);
    place.is_read(&model, "the mount that was stopped");
}
