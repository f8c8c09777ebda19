//! An ordinary user, who mounts through `fusermount3`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model_fs::kernel::mountinfo::MountTable;
use test_support::built;
use test_support::mounted::{clear, flip, is_mounted};
use test_support::process::{Finished, finish};
use test_support::unprivileged::OrdinaryUser;

use crate::support::{BLAKE3, Host, LIMIT, SHA256, noise, private_key, public_key};

/// Removes a mount that another user made.
pub(crate) struct Clear(pub(crate) PathBuf);

impl Drop for Clear {
    fn drop(&mut self) {
        clear(&self.0);
    }
}

/// Lets every user use FUSE, as udev does on ordinary systems. Minimal systems leave the device to
/// root.
pub(crate) fn open_fuse_to_all() {
    if rustix::process::geteuid().is_root() {
        fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666))
            .expect("open /dev/fuse to all");
    }
}

pub(crate) fn run(user: &OrdinaryUser, program: &str, arguments: &[&str]) -> Finished {
    let mut command = if program == built::program() {
        user.command_as_nobody(Path::new(program))
    } else {
        user.command(program)
    };
    let finished = finish(command.args(arguments), LIMIT);
    assert!(!finished.stderr.contains("panicked"), "{finished}");
    finished
}

#[test]
fn an_ordinary_user_signs_mounts_reads_and_unmounts() {
    let Some(_) = Host::new() else { return };
    open_fuse_to_all();
    let Some(user) = OrdinaryUser::new() else {
        return;
    };
    user.copy(&private_key(), "key.pem");
    user.copy(&public_key(), "public.pem");
    let (model, mountpoint) = (user.folder("model"), user.folder("mnt"));
    let weights = model.join("weights");
    fs::write(&weights, noise("weights", 3 << 20)).expect("write");
    OrdinaryUser::give(&weights);
    let _clear = Clear(mountpoint.clone());
    for options in [BLAKE3, SHA256] {
        let sign = [&["sign", "model", "--private-key", "key.pem"], options].concat();
        run(&user, built::program(), &sign).expect("sign");
        let mount = ["mount", "model", "mnt", "--public-key", "public.pem"];
        // No room for chunks: what is read below comes from the source.
        run(
            &user,
            built::program(),
            &[&mount[..], &["--cache-size", "1"]].concat(),
        )
        .expect("mount");
        assert!(is_mounted(&mountpoint));
        run(&user, "cmp", &["model/weights", "mnt/weights"]).expect("cmp");
        let status = run(&user, built::program(), &["status", "mnt"]);
        assert!(status.succeeded(), "{status}");
        // Options that only an administrator may use.
        assert!(status.stdout.contains("sudo tee"), "{status}");

        flip(&weights, 1_500_000);
        let dd = |skip: &str| {
            let skip = format!("skip={skip}");
            let arguments = [
                "if=mnt/weights",
                "of=/dev/null",
                "bs=4096",
                "count=1",
                "iflag=direct",
                &skip,
            ];
            run(&user, "dd", &arguments)
        };
        let failed = dd("366");
        assert!(failed.stderr.contains("Input/output error"), "{failed}");
        dd("100").expect("read another chunk");
        flip(&weights, 1_500_000);
        dd("366").expect("read the right bytes again");

        run(&user, built::program(), &["umount", "mnt"]).expect("umount");
        assert!(!is_mounted(&mountpoint));
    }
}

/// An ordinary user who has signed a small model.
pub(crate) fn user_with_a_signed_model() -> Option<OrdinaryUser> {
    Host::new()?;
    open_fuse_to_all();
    let user = OrdinaryUser::new()?;
    user.copy(&private_key(), "key.pem");
    user.copy(&public_key(), "public.pem");
    let model = user.folder("model");
    fs::write(model.join("weights"), noise("weights", 100_000)).expect("write");
    OrdinaryUser::give(&model.join("weights"));
    let sign = ["sign", "model", "--private-key", "key.pem"];
    run(&user, built::program(), &sign).expect("sign");
    Some(user)
}

#[test]
fn a_mount_of_an_ordinary_user_is_taken_away_also_after_it_was_renamed() {
    let Some(user) = user_with_a_signed_model() else {
        return;
    };
    user.folder("before");
    let mountpoint = user.folder("before/mnt");
    let moved = user.home().join("after/mnt");
    let _clear = (Clear(mountpoint.clone()), Clear(moved.clone()));
    let mount = ["mount", "model", "before/mnt", "--public-key", "public.pem"];
    run(&user, built::program(), &mount).expect("mount");
    assert!(is_mounted(&mountpoint));
    let daemon = crate::background::daemon_of(Path::new("before/mnt"));
    fs::rename(user.home().join("before"), user.home().join("after")).expect("rename");
    assert!(is_mounted(&moved));
    rustix::process::kill_process(daemon, rustix::process::Signal::TERM).expect("end it");
    let deadline = std::time::Instant::now() + LIMIT;
    while rustix::process::test_kill_process(daemon).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the daemon stays");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!is_mounted(&moved), "a dead mount is left");
}

#[test]
fn an_ordinary_user_is_told_of_a_dead_mount_and_takes_one_away_that_is_in_use() {
    let Some(user) = user_with_a_signed_model() else {
        return;
    };
    let mountpoint = user.folder("dead-or-alive");
    let _clear = Clear(mountpoint.clone());
    let mount = [
        "mount",
        "model",
        "dead-or-alive",
        "--public-key",
        "public.pem",
    ];
    run(&user, built::program(), &mount).expect("mount");
    let daemon = crate::background::daemon_of(Path::new("dead-or-alive"));
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).expect("kill");
    // Only root can attach a mount beneath another.
    let failed = run(&user, built::program(), &mount).expect_code(1, "mount");
    assert!(failed.stderr.contains("holds a dead mount"), "{failed}");
    assert!(failed.stderr.contains("hint: model-fs umount "), "{failed}");
    assert!(is_mounted(&mountpoint));
    run(&user, built::program(), &["umount", "dead-or-alive"]).expect("umount");
    assert!(!is_mounted(&mountpoint));

    run(&user, built::program(), &mount).expect("mount");
    // Its directory is there for as long as the shell stands in it.
    let script = "cd dead-or-alive && ../model-fs umount \"$HOME\"/dead-or-alive && cmp weights \
                  \"$HOME\"/model/weights";
    let done = run(&user, "sh", &["-c", script]).expect("umount from within");
    assert!(done.stderr.contains("was in use by sh (process "), "{done}");
    assert!(!is_mounted(&mountpoint));
}

/// Mounts get the numbers of those that went away a moment before: of the mount, and of the file
/// system.
#[test]
fn a_mount_that_gets_the_numbers_of_one_that_goes_away_is_known() {
    let Some(user) = user_with_a_signed_model() else {
        return;
    };
    let [first, second] = ["first", "second"].map(|name| user.folder(name));
    let _clear = (Clear(first.clone()), Clear(second.clone()));
    let mount = |name| ["mount", "model", name, "--public-key", "public.pem"];
    run(&user, built::program(), &mount("first")).expect("mount");
    let table = MountTable::read().expect("read");
    let before = table.at(&first).expect("it is there").clone();
    // Found first: takes the other mount away, and then does what it is asked for.
    let tools = user.folder("tools");
    let helper = tools.join("fusermount3");
    let script = "#!/bin/sh\nPATH=/usr/local/bin:/usr/bin:/bin\n\
                  fusermount3 -u \"$HOME/first\" && exec fusermount3 \"$@\"\n";
    fs::write(tools.join("script"), script).expect("write");
    // By a process that nobody forks from meanwhile.
    let mut copy = user.command("cp");
    finish(copy.args(["tools/script", "tools/fusermount3"]), LIMIT).expect("cp");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut command = user.command_as_nobody(Path::new(built::program()));
    let path = format!("{}:/usr/bin:/bin", tools.display());
    finish(command.env("PATH", path).args(mount("second")), LIMIT).expect("mount");
    let table = MountTable::read().expect("read");
    assert!(table.at(&first).is_none_or(|entry| entry.id != before.id));
    let after = table.at(&second).expect("it is there");
    // Other tests may have got them.
    if (before.id, before.device) != (after.id, after.device) {
        eprintln!("the kernel gave it other numbers");
    }
    run(&user, "cmp", &["model/weights", "second/weights"]).expect("cmp");
    run(&user, built::program(), &["umount", "second"]).expect("umount");
}
