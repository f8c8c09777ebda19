//! Mounts of the page-cache lane: whom they let in, and ends that aren't as they should be.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use test_support::mounted::is_mounted;
use test_support::process::finish;

use crate::support::{BLAKE3, Host, LIMIT, Mode, Model, Mount, in_pages, read_range, tool};

fn mounted(host: &Host, options: &[&str]) -> Option<(Model, Mount)> {
    if !in_pages() {
        return None;
    }
    let model = Model::new([("dir/weights", 6 << 20)]);
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), options);
    assert_eq!(mount.facts().lane, "pages");
    Some((model, mount))
}

#[test]
fn owner_group_and_permissions_are_as_asked_for() {
    let Some(host) = Host::new() else { return };
    let asked = "uid=1234,gid=567,umask=027";
    let Some((_model, mount)) = mounted(&host, &["--allow-other", "-o", asked]) else {
        return;
    };
    for (name, mode) in [("", 0o750), ("dir", 0o750), ("dir/weights", 0o640)] {
        let found = fs::metadata(mount.file(name)).expect("stat");
        let seen = (found.uid(), found.gid(), found.mode() & 0o7777);
        assert_eq!(seen, (1234, 567, mode), "{name}");
    }
    let by = |user: &str| {
        let path = mount.file("dir/weights");
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups", "cat"]);
        finish(command.arg(path), LIMIT)
    };
    by("1234").expect("the owner reads");
    assert!(by("1235").stderr.contains("Permission denied"));
    mount.unmount();
    // Without --allow-other nobody but who mounted is let in, whoever owns what is shown.
    let (_model, mount) = mounted(&host, &["-o", asked]).expect("as before");
    let root = fs::metadata(mount.path()).expect("stat");
    assert_eq!((root.uid(), root.mode() & 0o7777), (0, 0o700));
    mount.unmount();
}

#[test]
fn a_mount_that_something_lies_over_is_known_when_it_is_dead() {
    let Some(host) = Host::new() else { return };
    let Some((_model, mut mount)) = mounted(&host, &[]) else {
        return;
    };
    let over = [
        "-t",
        "tmpfs",
        "tmpfs",
        mount.path().to_str().expect("UTF-8"),
    ];
    tool("mount", over).expect("mount over it");
    kill_process(mount.pid(), Signal::TERM).expect("end it");
    mount.wait();
    tool("umount", [mount.path()]).expect("take away what lies over it");
    assert!(is_mounted(mount.path()));
    let mut status = host.command("status");
    let said = host.run(status.arg(mount.path()));
    assert!(said.stderr.contains("is dead"), "{said}");
    let mut umount = host.command("umount");
    host.run(umount.arg(mount.path())).expect("umount");
    assert!(!is_mounted(mount.path()));
}

#[test]
fn a_daemon_that_is_stopped_keeps_nobody_waiting_for_ever() {
    let Some(host) = Host::new() else { return };
    let Some((_model, mut mount)) = mounted(&host, &[]) else {
        return;
    };
    kill_process(mount.pid(), Signal::STOP).expect("stop it");
    let mut status = host.command("status");
    let said = host.run(status.arg(mount.path()));
    assert!(said.stderr.contains("doesn't answer"), "{said}");
    let mut umount = host.command("umount");
    let said = host.run(umount.arg(mount.path()));
    assert!(said.status.is_some(), "umount waits for ever: {said}");
    assert!(!is_mounted(mount.path()));
    kill_process(mount.pid(), Signal::CONT).expect("go on");
    assert_eq!(mount.wait(), Some(0), "{}", mount.stderr());
}

#[test]
fn a_status_is_told_again_when_there_are_descriptors_again() {
    let Some(host) = Host::new() else { return };
    let Some((_model, mount)) = mounted(&host, &[]) else {
        return;
    };
    let limit = |most: &str| {
        let process = mount.pid().as_raw_pid().to_string();
        let most = format!("--nofile={most}");
        tool("prlimit", ["--pid", &process, &most]).expect("set a limit");
    };
    let ask = || {
        let mut status = host.command("status");
        host.run(status.arg(mount.path()))
    };
    limit("3:");
    // Who waits for the next to be let in may have the descriptor for that already.
    let refused = (0..2).any(|_| !ask().succeeded());
    assert!(refused, "a status was told without a descriptor");
    limit("256:");
    ask().expect("status");
    mount.unmount();
}

#[test]
fn a_long_path_of_a_model_is_no_reason_for_the_other_lane() {
    let Some(host) = Host::new() else { return };
    if !in_pages() {
        return;
    }
    let model = Model::new([("weights", 100_000)]);
    model.sign(BLAKE3);
    let mut long = model.beside("long");
    for _ in 0..3 {
        long.push("x".repeat(120));
    }
    fs::create_dir_all(&long).expect("mkdir");
    let moved = long.join("model");
    fs::rename(model.path(), &moved).expect("rename");
    let mount = host.mount(&moved, &[]);
    assert_eq!(mount.facts().lane, "pages");
    read_range(&mount.file("weights"), Mode::Cached, 0, 4096).expect("read");
    mount.unmount();
    fs::rename(&moved, model.path()).expect("rename");
}

#[test]
fn remount_knows_it_and_changes_exec_alone() {
    let Some(host) = Host::new() else { return };
    let Some((_model, mount)) = mounted(&host, &[]) else {
        return;
    };
    let helper = host.home().join("mount.model-fs");
    std::os::unix::fs::symlink(test_support::built::program(), &helper).expect("link");
    let mut command = Command::new(&helper);
    let (source, place) = (mount.facts().source, mount.path());
    command
        .arg(source)
        .arg(place)
        .args(["-o", "remount,ro,noexec"]);
    finish(&mut command, LIMIT).expect("remount");
    let options = tool(
        "findmnt",
        ["-no", "VFS-OPTIONS", place.to_str().expect("UTF-8")],
    );
    assert!(
        options
            .expect("findmnt")
            .stdout
            .contains("ro,nosuid,nodev,noexec")
    );
    mount.unmount();
}
