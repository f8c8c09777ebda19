//! Signals that come at the wrong moment: nothing is left half done, and no mount is lost.
//!
//! A command waits for the other end of a pipe, which is one of its arguments, while it is
//! signalled: so each knows when the other is there, and nothing is timed.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::built;
use test_support::mounted::{clear, is_mounted, model_fs, scratch};
use test_support::process::finish;

use crate::support::{Host, LIMIT, Model, private_key, public_key};

fn model() -> Model {
    let model = Model::new([("weights", 600_000)]);
    model.sign(&[]);
    model
}

/// A named pipe with nothing in it.
fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("make a pipe");
}

/// Tries until it works.
#[track_caller]
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The writing end of a pipe, once something has opened the other.
#[track_caller]
fn other_end(pipe: &Path) -> File {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let end = until("nothing reads the pipe", || {
        open(pipe, flags, Mode::empty()).ok()
    });
    end.into()
}

/// A child that doesn't outlive its test.
struct Started(Child);

impl Started {
    fn new(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.process_group(0).spawn().expect("start the program"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("send a signal");
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        until("it doesn't end", || {
            self.0.try_wait().expect("wait for a child")
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn files(folder: &Path) -> BTreeSet<String> {
    let listed = finish(Command::new("find").arg(folder), LIMIT).expect("list");
    listed.stdout.lines().map(str::to_owned).collect()
}

/// A shell says 130 of Ctrl-C, since the signal ended the command.
#[test]
fn what_is_interrupted_ends_by_the_signal_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let (model, mountpoint) = (model(), TempDir::new().expect("make a mountpoint"));
    let stream = model.beside("stream");
    pipe(&stream);
    let (path, point) = (model.path(), mountpoint.path());
    let private = private_key();
    let before = files(path.parent().expect("it has one"));
    for words in [
        &[
            "sign".as_ref(),
            path.as_path(),
            "--private-key".as_ref(),
            &private,
            "--password-file".as_ref(),
        ][..],
        &["verify".as_ref(), &path, "--public-key".as_ref()],
        &["index".as_ref(), &path, "--public-key".as_ref()],
        &["trust".as_ref(), "add".as_ref(), "--public-key".as_ref()],
        &["mount".as_ref(), &path, point, "--public-key".as_ref()],
        &[
            "mount".as_ref(),
            &path,
            point,
            "--foreground".as_ref(),
            "--public-key".as_ref(),
        ],
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut command = host.command(words[0].to_str().expect("a verb"));
            let mut started = Started::new(command.args(&words[1..]).arg(&stream));
            let end = other_end(&stream);
            started.signal(signal);
            let status = started.end();
            assert_eq!(status.signal(), Some(signal.as_raw()), "{words:?} {status}");
            drop(end);
            assert!(!is_mounted(point), "{words:?}");
            assert_eq!(
                files(path.parent().expect("it has one")),
                before,
                "{words:?}"
            );
            let left = files(host.home())
                .into_iter()
                .find(|it| it.contains("/.model-fs-"));
            assert_eq!(left, None, "{words:?}");
        }
    }
}

/// Where `mount` has just begun, and has no answer to a signal yet.
#[test]
fn a_mount_is_not_ended_by_signals_that_come_too_early_or_that_it_has_no_answer_to() {
    let Some(host) = Host::new() else { return };
    let (model, mountpoint) = (model(), TempDir::new().expect("make a mountpoint"));
    let stream = model.beside("stream");
    pipe(&stream);
    let mut command = host.on_model("mount", &model.path(), &["--foreground"]);
    command
        .arg("--log-file")
        .arg(&stream)
        .arg(mountpoint.path());
    let mut started = Started::new(&mut command);
    // It waits for a reader of its log, before anything else is done, and holds signals back.
    let status = format!("/proc/{}/status", started.0.id());
    let hup = 1_u64 << (Signal::HUP.as_raw() - 1);
    until("signals aren't held back", || {
        let status = std::fs::read_to_string(&status).expect("look at a process");
        let blocked = status.lines().find_map(|it| it.strip_prefix("SigBlk:\t"))?;
        (u64::from_str_radix(blocked, 16).expect("a mask") & hup != 0).then_some(())
    });
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        started.signal(signal);
    }
    let log = open(&stream, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("read");
    until("nothing is mounted", || {
        is_mounted(mountpoint.path()).then_some(())
    });
    let weights = mountpoint.path().join("weights");
    started.signal(Signal::USR2);
    assert_eq!(
        std::fs::read(&weights).expect("read"),
        model.bytes("weights")
    );
    model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("umount");
    assert_eq!(started.end().code(), Some(0));
    drop(log);
}

/// `stty tostop` stops a process in the background that writes to the terminal.
#[test]
fn a_terminal_that_stops_background_output_stops_no_mount() {
    let Some(host) = Host::new() else { return };
    let (model, folder) = (model(), scratch());
    let mountpoint = TempDir::new().expect("make a mountpoint");
    // `script` gives the shell a terminal of its own, and the mount is one of its jobs. Each looks
    // whether the mount has what it shows, has it end, and says with which code it did.
    let shell = "set -m; stty tostop; \"$PROGRAM\" -v mount \"$MODEL\" \"$MOUNTPOINT\" \
                 --foreground $KEEP --public-key \"$KEY\" & \
                 until cmp -s \"$MODEL/weights\" \"$MOUNTPOINT/weights\"; do \
                 kill -0 $! || exit 7; sleep 0.01; done; \
                 \"$PROGRAM\" umount \"$MOUNTPOINT\"; wait $!; exit $?";
    for keep in ["", "--keep-alive"] {
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", shell])
            .arg(folder.path().join("typescript"))
            .env("SHELL", "/bin/bash")
            .env("PROGRAM", built::program())
            .env("MODEL", model.path())
            .env("MOUNTPOINT", mountpoint.path())
            .env("KEEP", keep)
            .env("KEY", public_key())
            .env("HOME", host.home());
        let finished = finish(&mut command, LIMIT);
        clear(mountpoint.path());
        finished.expect("mount");
    }
}
