//! An ordinary user, whom the administrator lets mount by `user` in `/etc/fstab`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use test_support::missing::not_tested;

use crate::machine::{Machine, said};

/// A machine whose users may mount the model on `mnt`; `None` where mount(8) may not help them.
fn machine() -> Option<Machine> {
    let machine = Machine::new()?.with_a_signed_model();
    let mount = fs::metadata("/usr/bin/mount").or_else(|_| fs::metadata("/bin/mount"));
    if mount.is_ok_and(|mount| mount.mode() & 0o4000 == 0) {
        not_tested("mount(8) for ordinary users: it has no set-uid bit here");
        return None;
    }
    machine.script("chown 65534:65534 \"$1\"", [machine.path("mnt")]);
    machine.fstab(
        "@/model @/mnt fuse.model-fs ro,public_key=@/key.pub,index_dir=@/home/tables,noauto,user,\
         nofail,_netdev,x-systemd.automount 0 0",
    );
    Some(machine)
}

#[test]
fn an_ordinary_user_mounts_and_unmounts_by_fstab() {
    let Some(machine) = machine() else { return };
    let mnt = machine.path("mnt").display().to_string();
    for unmount in ["umount", "fusermount3 -u", "model-fs umount"] {
        let done = machine
            .words_as_user(&format!("mount {mnt}"))
            .expect("mount");
        assert_eq!((&*done.stdout, &*said(&done)), ("", ""));
        let mounted = machine.mounted("mnt").expect("it is mounted");
        for option in ["ro,nosuid,nodev,noexec,noatime", "user_id=65534"] {
            assert!(mounted.contains(option), "{option}: {mounted}");
        }
        machine
            .words_as_user(&format!("cat {mnt}/weights"))
            .expect("read");
        machine
            .words_as_user(&format!("{unmount} {mnt}"))
            .expect(unmount);
        assert_eq!(machine.mounted("mnt"), None, "{unmount}");
    }
}

#[test]
fn an_ordinary_user_mounts_nothing_that_fstab_does_not_offer() {
    let Some(machine) = machine() else { return };
    let mnt = machine.path("mnt").display().to_string();
    let model = machine.path("model").display().to_string();
    for line in [
        format!("mount -t fuse.model-fs {model} {mnt}"),
        format!("mount -o allow_other {mnt}"),
        format!("mount -o remount,exec {mnt}"),
    ] {
        let refused = machine.words_as_user(&line);
        assert!(!refused.succeeded(), "{refused}");
        assert_eq!(machine.mounted("mnt"), None, "{line}");
    }
}
