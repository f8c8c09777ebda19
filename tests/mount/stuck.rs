//! Sources that don't answer, for some files.

use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_support::built;
use test_support::process::finish;

use crate::passes::Stopped;
use crate::support::{
    BLAKE3, Host, LIMIT, Mode, Model, Mount, assert_same, open, pread, private_key, read_range,
};

const FILES: usize = 64;
const READERS: usize = 16;
const LEN: u64 = 2 << 20;

/// A time limit that tells what hangs from what is just slow.
const GUARD: Duration = Duration::from_secs(20);

/// A model of which each file but one, `intact`, lies on another mount, whose daemon can be
/// stopped.
struct Hanging {
    names: Vec<String>,
    /// Where the files that can hang lie.
    source: Model,
    model: Model,
    slow: Mount,
    mount: Mount,
}

impl Hanging {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        let names: Vec<_> = (0..FILES).map(|index| index.to_string()).collect();
        let hanging = Model::new(names.iter().map(|name| (name, LEN)));
        hanging.sign(BLAKE3);
        let model = Model::new([("intact", LEN)]);
        // What is signed is read from the disk, so that the mount below keeps nothing of it.
        for name in &names {
            symlink(hanging.file(name), model.file(name)).expect("link");
        }
        let mut sign = host.command("sign");
        sign.arg(model.path()).args(BLAKE3).arg("--allow-symlinks");
        sign.arg("--private-key").arg(private_key());
        host.run(&mut sign).expect("sign");
        let slow = host.mount(&hanging.path(), &[]);
        for name in &names {
            model.remove(name);
            symlink(slow.file(name), model.file(name)).expect("link");
        }
        let mount = Host::anywhere().mount(&model.path(), &[]);
        Some(Self {
            names,
            source: hanging,
            model,
            slow,
            mount,
        })
    }
}

#[test]
fn readers_of_many_files_that_hang_hold_up_nobody_else() {
    let Some(Hanging {
        source: hanging,
        model,
        slow,
        mount,
        ..
    }) = Hanging::new()
    else {
        return;
    };
    // Half of them hang in an open, the others in a read.
    let opened: Vec<_> = (FILES / 2..FILES)
        .map(|index| open(&mount.file(&index.to_string()), Mode::Direct).expect("open"))
        .collect();
    let stopped = Stopped::new(slow.pid());
    let (done, hung) = channel();
    let (sender, intact) = channel();
    std::thread::scope(|scope| {
        for index in 0..FILES {
            for turn in 0..READERS {
                let (done, opened, mount) = (done.clone(), &opened, &mount);
                scope.spawn(move || {
                    let offset = (turn * 100_000) as u64;
                    let found = match index.checked_sub(FILES / 2) {
                        Some(index) => pread(&opened[index], offset, 50_000),
                        None => read_range(
                            &mount.file(&index.to_string()),
                            Mode::Direct,
                            offset,
                            50_000,
                        ),
                    };
                    done.send((index, offset, found))
                        .expect("the receiver waits");
                });
            }
        }
        // Not on this thread, which has to release the others.
        let mount = &mount;
        scope.spawn(move || {
            for mode in [Mode::Direct, Mode::Cached] {
                let begin = Instant::now();
                let found = read_range(&mount.file("intact"), mode, 0, 6 << 20);
                // The test may have given up.
                let _ = sender.send((mode, found, begin.elapsed()));
            }
        });
        for _ in 0..2 {
            match intact.recv_timeout(GUARD) {
                Ok((mode, found, taken)) => {
                    assert_same(
                        &found.expect("read"),
                        model.bytes("intact"),
                        "the intact file",
                    );
                    eprintln!("{mode:?}: opened and read in {taken:?} beside hanging ones");
                }
                Err(RecvTimeoutError::Timeout) => panic!("the intact file hangs, too"),
                Err(RecvTimeoutError::Disconnected) => panic!("nobody reads the intact file"),
            }
        }
        assert!(matches!(hung.try_recv(), Err(TryRecvError::Empty)));
        drop(stopped);
        for _ in 0..FILES * READERS {
            let (index, offset, found) = hung.recv().expect("every reader answers");
            let name = index.to_string();
            let signed = crate::support::part(hanging.bytes(&name), offset, 50_000);
            assert_same(&found.expect("read"), signed, &name);
        }
    });
    drop(opened);
    mount.unmount();
    slow.unmount();
}

/// Half of the files hang in an open, half in a read, and each has four readers, processes of their
/// own.
#[test]
fn neither_readers_nor_the_daemon_outlive_a_signal_though_all_files_hang() {
    for how in ["umount", "SIGTERM"] {
        let Some(mut it) = Hanging::new() else { return };
        // Proved and open: what follows hangs in reads.
        let held: Vec<_> = it.names[FILES / 2..]
            .iter()
            .map(|name| open(&it.mount.file(name), Mode::Cached).expect("open"))
            .collect();
        drop(held);
        let stopped = Stopped::new(it.slow.pid());
        let mut readers: Vec<Child> = Vec::new();
        for name in &it.names {
            for _ in 0..4 {
                let mut cat = Command::new("cat");
                cat.arg(it.mount.file(name)).stdout(Stdio::null());
                readers.push(cat.stderr(Stdio::null()).spawn().expect("start cat"));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        if how == "umount" {
            for reader in &readers {
                kill_process(Pid::from_child(reader), Signal::KILL).expect("kill");
            }
            let begin = Instant::now();
            for reader in &mut readers {
                reader.wait().expect("wait for a reader");
            }
            eprintln!("killed readers ended in {:?}", begin.elapsed());
            let mut umount = Command::new(built::program());
            umount.arg("umount").arg(it.mount.path());
            finish(&mut umount, LIMIT).expect("umount");
        } else {
            kill_process(it.mount.pid(), Signal::TERM).expect("signal");
        }
        let begin = Instant::now();
        it.mount.wait();
        eprintln!("the daemon ended {:?} after {how}", begin.elapsed());
        assert!(begin.elapsed() < GUARD, "{how}: the daemon hangs, too");
        drop(stopped);
        for reader in &mut readers {
            reader.wait().expect("wait for a reader");
        }
    }
}
