//! What tools make of a mount: the same as of any read-only file system, as squashfs is one.

use std::path::Path;

use test_support::missing::{Need, have};
use test_support::process::Finished;

use crate::machine::Machine;

/// A machine on which a model is mounted on `mnt`.
fn mounted() -> Option<Machine> {
    let machine = Machine::new()?.with_a_signed_model();
    machine.mount("fsname=the-model");
    Some(machine)
}

/// The command with the path of `mnt` in the place of `@`.
fn of_mount(machine: &Machine, line: &str) -> Finished {
    machine.words(&line.replace('@', machine.path("mnt").to_str().expect("a plain path")))
}

#[track_caller]
fn told(machine: &Machine, line: &str) -> String {
    of_mount(machine, line).expect(line).stdout
}

#[test]
fn findmnt_shows_source_type_and_options() {
    let Some(machine) = mounted() else { return };
    let shown = told(&machine, "findmnt -nro SOURCE,FSTYPE,VFS-OPTIONS @");
    assert_eq!(shown, "the-model fuse.model-fs ro,nosuid,nodev,noatime\n");
    let by_type = told(&machine, "findmnt -nro TARGET -t fuse.model-fs");
    assert_eq!(Path::new(by_type.trim()), machine.path("mnt"));
    machine.unmount();
}

#[test]
fn df_shows_the_models_size_and_alerts_nobody() {
    let Some(machine) = mounted() else { return };
    // Sizes that are signed count from the start.
    let shown = told(
        &machine,
        "df --output=source,fstype,size,avail,pcent --block-size=1 @",
    );
    let line = shown.lines().nth(1).expect("a line");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[..2], ["the-model", "fuse.model-fs"]);
    let size: u64 = fields[2].parse().expect("a number");
    assert!((300_000..400_000).contains(&size), "{shown}");
    assert_eq!(fields[3..], [fields[2], "0%"], "{shown}");
    let inodes = told(&machine, "df --output=itotal,iavail @");
    // The root, a directory, two files and the signature.
    assert_eq!(
        inodes.lines().nth(1).map(str::trim),
        Some("5     5"),
        "{inodes}"
    );
    machine.unmount();
}

#[test]
fn lsof_and_fuser_name_the_readers_and_a_busy_mount_stays() {
    if ![Need::Lsof, Need::Fuser].into_iter().all(have) {
        return;
    }
    let Some(machine) = mounted() else { return };
    let out = machine.script(
        "cd \"$1\"; exec 7< weights; cd /
        echo pid $$; lsof -Fpf -- \"$1\" || true
        fuser -m \"$1\" 2>/dev/null; echo
        umount \"$1\" 2>&1 && exit 9 || echo busy",
        [machine.path("mnt")],
    );
    let pid = out
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("pid "))
        .expect("a number");
    assert!(out.lines().any(|line| line == format!("p{pid}")), "{out}");
    assert!(out.lines().any(|line| line == "f7"), "{out}");
    assert!(
        out.lines()
            .any(|line| line.split_whitespace().any(|it| it == pid)),
        "{out}"
    );
    assert!(out.contains("busy"), "{out}");
    machine.unmount();
}

#[test]
fn root_unmounts_with_fusermount3_too() {
    let Some(machine) = mounted() else { return };
    told(&machine, "fusermount3 -u @");
    assert_eq!(machine.mounted("mnt"), None);
}

#[test]
fn a_remount_keeps_what_every_mount_has_and_changes_noexec() {
    let Some(machine) = mounted() else { return };
    let options = || told(&machine, "findmnt -nro VFS-OPTIONS @");
    assert_eq!(
        of_mount(&machine, "mount -o remount,ro @")
            .expect("remount")
            .stderr,
        ""
    );
    assert_eq!(options(), "ro,nosuid,nodev,noatime\n");
    told(&machine, "mount -o remount,ro,noexec @");
    assert_eq!(options(), "ro,nosuid,nodev,noexec,noatime\n");
    let done = of_mount(&machine, "mount -o remount,rw,suid,dev,exec @").expect("remount");
    assert!(done.stderr.contains("read-only"), "{done}");
    assert_eq!(options(), "ro,nosuid,nodev,noatime\n");
    // Whom to trust isn't changed by a remount, and that is said.
    let done = of_mount(&machine, "mount -o remount,ro,public_key=/nothing @").expect("remount");
    assert!(
        done.stderr.contains("unmount it and mount it again"),
        "{done}"
    );
    told(&machine, "cat @/weights");
    machine.unmount();
}

#[test]
fn a_bind_mount_shows_the_same_and_outlives_the_mount() {
    let Some(machine) = mounted() else { return };
    let place = machine.path("");
    machine.script(
        "cd \"$1\"; mkdir bound; mount --bind mnt/dir bound
        cmp bound/config.json model/dir/config.json
        test \"$(findmnt -no FSTYPE bound)\" = fuse.model-fs
        umount mnt
        cmp bound/config.json model/dir/config.json
        umount bound",
        [&place],
    );
    assert_eq!(machine.mounted("mnt"), None);
}

#[test]
fn copies_by_cp_tar_and_rsync_are_the_model() {
    let Some(machine) = mounted() else { return };
    let place = machine.path("");
    machine.script(
        "cd \"$1\"; cp -a mnt copied; diff -r -x .model-fs model copied
        tar -cf model.tar -C mnt .; mkdir untarred; tar -xf model.tar -C untarred
        diff -r -x .model-fs model untarred
        test \"$(stat -c '%Y %a' copied/weights)\" = \"$(stat -c '%Y %a' mnt/weights)\"",
        [&place],
    );
    if have(Need::Rsync) {
        let out = machine.script(
            "cd \"$1\"; rsync -a mnt/ synced/; diff -r -x .model-fs model synced
            rsync -a --itemize-changes mnt/ synced/",
            [&place],
        );
        assert_eq!(out, "", "a second run finds nothing to do");
    }
    machine.unmount();
}

#[test]
fn find_stays_on_its_side_and_du_counts_the_models_bytes() {
    let Some(machine) = mounted() else { return };
    let place = machine.path("");
    let below = machine.script("cd \"$1\"; find . -xdev -path './mnt/*'", [&place]);
    assert_eq!(below, "", "-xdev doesn't enter the mount");
    let found = machine.script("cd \"$1\"; find mnt -xdev -type f | sort", [&place]);
    assert_eq!(found, "mnt/dir/config.json\nmnt/model.sig\nmnt/weights\n");
    let apparent = machine.script("cd \"$1\"; du -sb mnt/weights | cut -f1", [&place]);
    assert_eq!(apparent, "300000\n");
    let used = machine.script("cd \"$1\"; du -k mnt/weights | cut -f1", [&place]);
    let used: u64 = used.trim().parse().expect("a number");
    assert!((293..=296).contains(&used), "{used}");
    let listed = machine.script("cd \"$1\"; du -x .", [&place]);
    assert!(
        !listed.contains("./mnt"),
        "-x doesn't count the mount: {listed}"
    );
    machine.unmount();
}

#[test]
fn nothing_can_be_written() {
    let Some(machine) = mounted() else { return };
    for line in [
        "touch @/new",
        "rm @/weights",
        "chmod 600 @/weights",
        "mv @/weights @/other",
        "mkdir @/d",
        "truncate -s 0 @/weights",
    ] {
        let refused = of_mount(&machine, line);
        assert!(
            refused.stderr.contains("Read-only file system"),
            "{refused}"
        );
    }
    machine.unmount();
}
