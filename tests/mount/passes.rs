//! Full passes: who waits for them, and who doesn't.

use std::fs::{self, File};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use test_support::mounted::flip;

use crate::support::{
    Host, Mode, Model, SHA256, assert_eio, assert_same, only_fuse, open, pread, read_range,
};

const LEN: u64 = 5 << 20;

/// A process that is stopped until this is dropped.
pub(crate) struct Stopped(Pid);

impl Stopped {
    /// Returns once every thread is stopped. A thread that still took in a request would keep it,
    /// and then no signal could end the process that waits for the answer.
    pub(crate) fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).expect("stop a process");
        let stopped = Self(pid);
        while !stopped.is_still() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stopped
    }

    /// Whether all threads are stopped (`proc_pid_stat(5)`).
    fn is_still(&self) -> bool {
        let threads = format!("/proc/{}/task", self.0.as_raw_pid());
        fs::read_dir(threads).expect("list threads").all(|thread| {
            let stat = fs::read_to_string(thread.expect("list").path().join("stat"));
            // A thread may have ended meanwhile.
            stat.is_ok_and(|stat| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|it| it.starts_with('T'))
            })
        })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// The source of one mount is another mount, whose daemon is stopped: a source that answers nothing
/// for as long as the test likes.
#[test]
fn while_one_file_waits_for_its_full_pass_everything_else_goes_on() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let mut model = Model::new([("big", LEN), ("big too", LEN), ("other", LEN)]);
    for index in 0..300 {
        model.add(&format!("dir/{index}"), vec![7; 10]);
    }
    model.sign(SHA256);
    let slow = host.mount(&model.path(), &[]);
    let reader = Host::anywhere();
    let mount = reader.mount(slow.path(), &[]);
    // Proved, open, and in the page cache of the first mount.
    let other = open(&mount.file("other"), Mode::Direct).expect("open");
    fs::read(slow.file("other")).expect("fill the page cache");
    // What was proved once stays known, even while the source doesn't answer.
    assert_eq!(fs::metadata(mount.file("dir/7")).expect("stat").len(), 10);

    let stopped = Stopped::new(slow.pid());
    let (done, waiting) = channel();
    std::thread::scope(|scope| {
        for name in ["big", "big", "big too"] {
            let (done, path) = (done.clone(), mount.file(name));
            scope.spawn(move || {
                let found = read_range(&path, Mode::Cached, 0, 6 << 20);
                done.send((name, found)).expect("the receiver waits");
            });
        }
        for _ in 0..20 {
            for (offset, len) in [(0, 4096), (3_000_001, 70_000), (LEN - 5, 100)] {
                let found = pread(&other, offset, len).expect("read another file");
                let signed = crate::support::part(model.bytes("other"), offset, len);
                assert_same(&found, signed, "another file");
            }
            assert_eq!(fs::metadata(mount.file("other")).expect("stat").len(), LEN);
            assert_eq!(fs::metadata(mount.file("dir/7")).expect("stat").len(), 10);
            assert_eq!(fs::read_dir(mount.file("dir")).expect("list").count(), 300);
            assert!(fs::metadata(mount.file("nothing")).is_err());
            fs::read(mount.file("model.sig")).expect("read the signature");
            assert_eq!(mount.stats().violations, 0);
        }
        assert!(matches!(waiting.try_recv(), Err(TryRecvError::Empty)));
        drop(stopped);
        for _ in 0..3 {
            let (name, found) = waiting.recv().expect("every reader answers");
            assert_same(&found.expect("read"), model.bytes(name), name);
        }
    });
    // Two readers of one file have waited for one pass.
    assert_eq!(mount.stats().full_passes, 3);
    drop(other);
    mount.unmount();
    slow.unmount();
}

/// `cat`, which waits in its open until that is answered or a signal ends it.
struct Opener(std::process::Child);

impl Opener {
    fn new(path: &std::path::Path) -> Self {
        let mut cat = std::process::Command::new("cat");
        cat.arg(path).stdout(std::process::Stdio::null());
        let child = cat.stderr(std::process::Stdio::null()).spawn();
        Self(child.expect("start cat"))
    }

    /// Whether it is waiting in the kernel (`proc_pid_stat(5)`).
    fn waits(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("read");
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        matches!(state, Some('D' | 'S'))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("signal");
    }

    /// Waits for its end.
    #[track_caller]
    fn ends(mut self) {
        let deadline = std::time::Instant::now() + crate::support::LIMIT;
        while self.0.try_wait().expect("wait").is_none() {
            assert!(std::time::Instant::now() < deadline, "no signal ends it");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// While an open is being served, the kernel keeps the thread that waits for it, no matter which
/// signal the thread gets.
#[test]
fn an_interrupted_opener_is_let_go_and_nothing_is_hashed_for_it() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let model = Model::new([("big", LEN), ("small", 100)]);
    model.sign(SHA256);
    let slow = host.mount(&model.path(), &[]);
    let reader = Host::anywhere();
    let mount = reader.mount(slow.path(), &[]);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let stopped = Stopped::new(slow.pid());
        // One waits until its length has been looked at, the other for a proof.
        let openers = ["big", "small"].map(|name| Opener::new(&mount.file(name)));
        while !openers.iter().all(Opener::waits) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        for opener in openers {
            opener.signal(signal);
            opener.ends();
        }
        drop(stopped);
    }
    assert_eq!(mount.stats().full_passes, 0);
    for name in ["big", "small"] {
        let found = read_range(&mount.file(name), Mode::Cached, 0, 6 << 20);
        assert_same(&found.expect("read"), model.bytes(name), name);
    }
    assert_eq!(mount.stats().full_passes, 1);
    mount.unmount();
    slow.unmount();
}

/// A full pass over a file that was replaced doesn't keep readers from the right bytes.
#[test]
fn a_pass_begins_anew_when_its_file_is_replaced() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let model = Model::new([("big", LEN)]);
    model.sign(SHA256);
    // Hashing this takes hours.
    let file = File::options().write(true).open(model.file("big"));
    file.expect("open").set_len(4 << 40).expect("lengthen");
    let mount = host.mount(&model.path(), &[]);
    let golden = model.golden("big");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (mount, golden) = (&mount, &golden);
                scope.spawn(move || {
                    crate::support::tool("cmp", [&mount.file("big"), golden]).expect("cmp");
                })
            })
            .collect();
        while mount.stats().full_pass_bytes == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let restored = model.file("restored");
        fs::copy(&golden, &restored).expect("copy");
        fs::rename(restored, model.file("big")).expect("rename");
        for reader in readers {
            reader.join().expect("the right bytes");
        }
    });
    assert_eq!(mount.stats().full_passes, 1);
    mount.unmount();
}

#[test]
fn no_byte_of_a_file_comes_before_the_proof_of_all_of_it() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    for shards in [&[][..], &["--shard-size", "4194305"]] {
        let model = Model::new([("big", LEN), ("other", LEN)]);
        model.sign(&[SHA256, shards].concat());
        flip(&model.file("big"), LEN - 1);
        let mount = host.mount(&model.path(), &[]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert_eio(File::open(mount.file("big")), "open a changed file");
                });
            }
            let found = read_range(&mount.file("other"), Mode::Cached, 0, 6 << 20);
            assert_same(&found.expect("read"), model.bytes("other"), "another file");
        });
        assert!(mount.stats().violations > 0);
        flip(&model.file("big"), LEN - 1);
        let found = read_range(&mount.file("big"), Mode::Cached, 0, 6 << 20);
        assert_same(
            &found.expect("read"),
            model.bytes("big"),
            "the right bytes again",
        );
        mount.unmount();
    }
}

#[test]
fn many_files_are_proved_side_by_side_and_each_once() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let names: Vec<_> = (0..12).map(|index| format!("shard-{index}")).collect();
    let model = Model::new(names.iter().map(|name| (name, (2 << 20) + 1)));
    model.sign(SHA256);
    let mount = host.mount(&model.path(), &[]);
    std::thread::scope(|scope| {
        for turn in 0..3 {
            for name in &names {
                let (mount, model) = (&mount, &model);
                scope.spawn(move || {
                    let found = read_range(&mount.file(name), Mode::Direct, 0, 4 << 20);
                    let found = found.unwrap_or_else(|e| panic!("{name}, turn {turn}: {e}"));
                    assert_same(&found, model.bytes(name), name);
                });
            }
        }
    });
    assert_eq!(mount.stats().full_passes, 12);
    assert_eq!(mount.stats().full_pass_bytes, 12 * ((2 << 20) + 1));
    mount.unmount();
}

#[test]
fn a_mount_that_ends_during_a_full_pass_is_gone_at_once_and_ends_with_the_pass() {
    if !only_fuse("full passes that an open waits for") {
        return;
    }
    let Some(host) = Host::new() else { return };
    let model = Model::new([("big", LEN)]);
    model.sign(SHA256);
    let slow = host.mount(&model.path(), &[]);
    let reader = Host::anywhere();
    let mut mount = reader.mount(slow.path(), &[]);
    let stopped = Stopped::new(slow.pid());
    std::thread::scope(|scope| {
        let path = mount.file("big");
        // Right, or an error, depending on which side is faster.
        let model = &model;
        scope.spawn(move || {
            if let Ok(found) = read_range(&path, Mode::Cached, 0, 6 << 20) {
                assert_same(&found, model.bytes("big"), "a file of an ending mount");
            }
        });
        kill_process(mount.pid(), Signal::TERM).expect("ask for the end");
        while test_support::mounted::is_mounted(mount.path()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stopped);
        // A file may still have been open, which is said.
        let code = mount.wait();
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {}", mount.stderr());
    });
    drop(mount);
    slow.unmount();
}
