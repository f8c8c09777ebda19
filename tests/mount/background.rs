//! Mounts that go to the background.

use std::ffi::OsStr;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::mounted::{Mounted, is_mounted, model_fs};
use crate::support::{BLAKE3, Host, Model, SHA256, public_key, tool};

/// The process that serves a mount: the one that has the mountpoint among its arguments.
fn daemon_of(mountpoint: &Path) -> Pid {
    let mountpoint = mountpoint.as_os_str().as_encoded_bytes();
    let found = std::fs::read_dir("/proc")
        .expect("list processes")
        .flatten()
        .find_map(|process| {
            let arguments = std::fs::read(process.path().join("cmdline")).ok()?;
            arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument == mountpoint)
                .then(|| process.file_name().to_str()?.parse().ok())?
        });
    found
        .and_then(Pid::from_raw)
        .expect("a daemon serves the mount")
}

#[test]
fn mount_returns_once_files_can_be_read_and_leaves_nothing_behind_when_unmounted() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    for signal in [None, Some(Signal::TERM), Some(Signal::INT)] {
        let mount = Mounted::new(&model.path(), &public_key(), &host.store());
        let weights = mount.path().join("weights");
        tool("cmp", [model.golden("weights"), weights]).expect("cmp");
        let daemon = daemon_of(mount.path());
        // It is tied to no terminal and no directory.
        let directory = std::fs::read_link(format!("/proc/{}/cwd", daemon.as_raw_pid()));
        assert_eq!(directory.expect("look"), Path::new("/"));
        for descriptor in 0..3 {
            let link = format!("/proc/{}/fd/{descriptor}", daemon.as_raw_pid());
            assert_eq!(
                std::fs::read_link(link).expect("look"),
                Path::new("/dev/null")
            );
        }
        match signal {
            None => mount.unmount(),
            Some(signal) => {
                kill_process(daemon, signal).expect("send a signal");
                while is_mounted(mount.path()) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
        let patience = std::time::Instant::now() + crate::support::LIMIT;
        while test_kill_process(daemon).is_ok() {
            assert!(std::time::Instant::now() < patience, "the daemon stays");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn a_relative_index_directory_is_that_of_who_mounts() {
    let Some(_host) = Host::new() else { return };
    let model = Model::new([("weights", 3 << 20)]);
    model.sign(SHA256);
    let here = tempfile::tempdir().expect("make a directory");
    let mountpoint = here.path().join("mnt");
    std::fs::create_dir(&mountpoint).expect("make a mountpoint");
    let run = |arguments: &[&OsStr]| {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_model-fs"))
            .args(arguments)
            .current_dir(here.path())
            .status();
        assert!(status.expect("run").success(), "{arguments:?}");
    };
    let (path, key) = (model.path(), public_key());
    run(&[
        "mount".as_ref(),
        path.as_ref(),
        "mnt".as_ref(),
        "--public-key".as_ref(),
        key.as_ref(),
        "--index-dir".as_ref(),
        "index".as_ref(),
    ]);
    // The daemon has left for `/` by now, and keeps here what this makes it prove.
    let read = std::fs::read(mountpoint.join("weights"));
    run(&["umount".as_ref(), "mnt".as_ref()]);
    assert_eq!(read.expect("read").len(), 3 << 20);
    let kept = std::fs::read_dir(here.path().join("index/v1")).expect("a table is kept");
    assert_eq!(kept.count(), 1);
}

#[test]
fn a_mount_that_fails_in_the_background_says_why_and_with_which_code() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    model.remove("weights");
    let failed = host.mount_fails(&model.path(), &[], 4);
    assert!(failed.stderr.contains("weights"), "{failed}");
    assert_eq!(failed.stdout, "");
    let plain = tempfile::TempDir::new().expect("make a folder");
    model_fs(["status".as_ref(), plain.path().as_os_str()]).expect_code(1, "status");
}
