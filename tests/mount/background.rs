//! Mounts that go to the background.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use test_support::built;
use test_support::mounted::{Mounted, clear, is_mounted, model_fs};
use test_support::process::finish;

use crate::support::{BLAKE3, Host, LIMIT, Model, SHA256, public_key, tool};

/// Removes a mount, also after a failed test.
struct Clear(PathBuf);

impl Drop for Clear {
    fn drop(&mut self) {
        clear(&self.0);
    }
}

/// The process that serves a mount: the one that has the mountpoint among its arguments.
pub(crate) fn daemon_of(mountpoint: &Path) -> Pid {
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
        // The daemon is tied to no terminal and no directory.
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
fn the_daemon_keeps_nothing_of_who_started_it_and_has_a_name() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    let lock = model.beside("lock");
    std::fs::write(&lock, b"").expect("write");
    let mountpoint = tempfile::tempdir().expect("make a mountpoint");
    let _clear = Clear(mountpoint.path().to_owned());
    // The key comes through a descriptor, as a shell's `<(…)` gives it.
    let script = "exec 8<\"$LOCK\" 9<\"$KEY\"; \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" \
                  --public-key /dev/fd/9 --index-dir \"$STORE\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env("LOCK", &lock)
        .env("KEY", public_key())
        .env("PROGRAM", built::program())
        .env("MODEL", model.path())
        .env("MOUNTPOINT", mountpoint.path())
        .env("STORE", host.store());
    finish(&mut command, LIMIT).expect("mount");
    let daemon = format!("/proc/{}", daemon_of(mountpoint.path()).as_raw_pid());
    let open: Vec<_> = std::fs::read_dir(format!("{daemon}/fd"))
        .expect("list descriptors")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .collect();
    let key = public_key();
    assert!(!open.contains(&lock) && !open.contains(&key), "{open:?}");
    let read = |name: &str| std::fs::read_to_string(format!("{daemon}/{name}")).expect("look");
    assert_eq!(read("comm"), "model-fs\n");
    let arguments = read("cmdline").replace('\0', " ");
    assert!(!arguments.contains("background"), "{arguments}");
    model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("umount");
}

/// What the user names may be a stream, in the background too.
#[test]
fn a_key_may_come_through_standard_input() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    let mountpoint = tempfile::TempDir::new().expect("make a mountpoint");
    let _clear = Clear(mountpoint.path().to_owned());
    // `finish` gives its children no standard input.
    let script = "exec \"$1\" mount \"$2\" \"$3\" --public-key /dev/stdin < \"$4\"";
    let mut mount = Command::new("sh");
    mount.env("HOME", host.home()).env_remove("XDG_CACHE_HOME");
    mount.args(["-c", script, "sh", built::program()]);
    mount.args([model.path().as_path(), mountpoint.path(), &public_key()]);
    host.run(&mut mount).expect("mount");
    let weights = mountpoint.path().join("weights");
    tool("cmp", [model.golden("weights"), weights]).expect("cmp");
    model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("umount");
}

#[test]
fn a_variable_alone_makes_no_mount_leave_its_caller() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    // The number of a process that isn't the parent.
    let mountpoint = tempfile::tempdir().expect("make a mountpoint");
    let _clear = Clear(mountpoint.path().to_owned());
    let mut command = host.on_model("mount", &model.path(), &[]);
    command
        .env("MODEL_FS_BACKGROUND_PARENT", "1")
        .arg("--")
        .arg(mountpoint.path());
    let finished = host.run(&mut command).expect("mount");
    assert_eq!(finished.stdout, "");
    model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("umount");
}

#[test]
fn where_no_log_takes_what_happens_mount_says_so() {
    let Some(host) = Host::new() else { return };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    let system_log = ["/dev/log", "/run/systemd/journal/dev-log"]
        .iter()
        .any(|name| {
            let socket = std::os::unix::net::UnixDatagram::unbound().expect("make a socket");
            socket.connect(name).is_ok()
        });
    let log = model.beside("log");
    for file in [None, Some(&log)] {
        let mountpoint = tempfile::tempdir().expect("make a mountpoint");
        let _clear = Clear(mountpoint.path().to_owned());
        let mut command = host.on_model("mount", &model.path(), &[]);
        if let Some(file) = file {
            command.arg("--log-file").arg(file);
        }
        let finished = host.run(command.arg("--").arg(mountpoint.path()));
        let finished = finished.expect("mount");
        let warned = finished.stderr.contains("--log-file");
        assert_eq!(warned, file.is_none() && !system_log, "{finished}");
        model_fs(["umount".as_ref(), mountpoint.path().as_os_str()]).expect("umount");
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
        let status = std::process::Command::new(built::program())
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
    let kept = std::fs::read_dir(here.path().join("index/v2")).expect("a table is kept");
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
