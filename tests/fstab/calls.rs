//! What mount(8) asks for, as root.

use crate::machine::{Machine, said};

fn machine() -> Option<Machine> {
    Machine::new().map(Machine::with_a_signed_model)
}

#[test]
fn both_types_mount_what_fstab_says_and_umount_takes_it_away() {
    let Some(machine) = machine() else { return };
    for kind in ["fuse.model-fs", "model-fs"] {
        machine.fstab(&format!(
            "@/model @/mnt {kind} ro,public_key=@/key.pub,_netdev,nofail,x-systemd.automount,user \
             0 0"
        ));
        let done = machine.words("mount -a").expect("mount -a");
        assert_eq!((&*done.stdout, &*said(&done)), ("", ""));
        let mounted = machine.mounted("mnt").expect("it is mounted");
        assert!(mounted.starts_with("fuse.model-fs"), "{mounted}");
        for option in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(mounted.contains(option), "{option}: {mounted}");
        }
        machine.script(
            "cmp \"$1/model/weights\" \"$1/mnt/weights\"",
            [machine.path("")],
        );
        // The table store is that of root, whose home mount(8) doesn't tell.
        machine.script("test -e ~root/.cache/model-fs/index", [""]);
        // What is mounted already is passed over.
        let again = machine.words("mount -a").expect("mount -a");
        assert_eq!((&*again.stdout, &*said(&again)), ("", ""));
        machine.unmount();
    }
}

#[test]
fn mount_fuse3_finds_the_program_where_it_has_no_other_name() {
    let Some(machine) = machine() else { return };
    machine.script("rm /sbin/mount.model-fs /sbin/mount.fuse.model-fs", [""]);
    machine.fstab("@/model @/mnt fuse.model-fs ro,public_key=@/key.pub,noauto,user,exec 0 0");
    machine.words("mount -a").expect("mount -a");
    assert_eq!(machine.mounted("mnt"), None);
    let mnt = machine.path("mnt");
    let done = machine
        .run(["mount".as_ref(), mnt.as_os_str()])
        .expect("mount");
    assert_eq!(said(&done), "");
    let mounted = machine.mounted("mnt").expect("it is mounted");
    assert!(
        mounted.contains("nosuid") && !mounted.contains("noexec"),
        "{mounted}"
    );
    machine.unmount();
    // Options that are wrong are told there too, with an exit code of mount(8).
    machine.fstab("@/model @/mnt fuse.model-fs publik_key=@/key.pub 0 0");
    let failed = machine.words("mount -a");
    assert!(
        failed.stderr.contains("did you mean public_key?"),
        "{failed}"
    );
    assert_eq!(failed.code(), Some(32), "{failed}");
}

#[test]
fn spaces_and_commas_arrive_as_fstab_writes_them() {
    let Some(machine) = machine() else { return };
    machine.script(
        "cd \"$1\"; mv model 'the model'; mv key.pub 'a,b c.pub'; mv mnt 'm n t'",
        [machine.path("")],
    );
    machine.fstab(
        "@/the\\040model @/m\\040n\\040t model-fs \
         ro,public_key=\"@/a,b\\040c.pub\",fsname=x,umask=077 0 0",
    );
    machine.words("mount -a").expect("mount -a");
    let stat = machine.script("stat -c %a \"$1\"", [machine.path("m n t/weights")]);
    assert_eq!(stat, "600\n");
    machine
        .run(["umount".as_ref(), machine.path("m n t").as_os_str()])
        .expect("umount");
}

#[test]
fn a_mount_that_fails_says_why_and_has_an_exit_code_of_mount() {
    let Some(machine) = machine() else { return };
    let place = machine.path("");
    let place = place.to_str().expect("a plain path");
    machine.script(
        "cp -r \"$1/model\" \"$1/other\"; echo x >> \"$1/other/model.sig\"",
        [place],
    );
    machine.script(
        "cp -r \"$1/model\" \"$1/less\"; rm \"$1/less/weights\"",
        [place],
    );
    let key = "ro,public_key=@/key.pub";
    for (model, options, code, said) in [
        ("model", "ro,publik_key=@/key.pub", 1, "\"publik_key\""),
        ("model", "ro,public_key", 1, "public_key=PEM"),
        ("model", "ro,uid=me,public_key=@/key.pub", 1, "uid"),
        ("model", "ro,public_key=@/nothing.pub", 32, "nothing.pub"),
        ("nothing", key, 32, "nothing"),
        ("other", key, 32, "signature"),
        ("less", key, 32, "weights"),
        ("model", "remount,ro", 32, "no model is mounted"),
    ] {
        let line = format!("mount -t fuse.model-fs -o {options} @/{model} @/mnt");
        let failed = machine.words(&line.replace('@', place));
        assert_eq!(failed.code(), Some(code), "{line}: {failed}");
        assert!(failed.stderr.starts_with("error: "), "{failed}");
        assert!(failed.stderr.contains(said), "{line}: {failed}");
        assert_eq!(machine.mounted("mnt"), None, "{line}");
    }
    // Pretending mounts nothing, and still knows a wrong option.
    let pretend = format!("mount -f -t model-fs -o ro {place}/model {place}/mnt");
    machine.words(&pretend).expect("mount -f");
    machine
        .words(&pretend.replace("ro", "rx"))
        .expect_code(1, "mount -f");
    assert_eq!(machine.mounted("mnt"), None);
    // Sloppy: what can't be a misspelling is passed over.
    let sloppy = format!("mount -s -t model-fs -o KEY,OPTION {place}/model {place}/mnt");
    let sloppy = sloppy.replace("KEY", &key.replace('@', place));
    machine
        .words(&sloppy.replace("OPTION", "publik_key=k"))
        .expect_code(1, "mount -s");
    let done = machine
        .words(&sloppy.replace("OPTION", "frobnicate=1"))
        .expect("mount -s");
    assert!(done.stderr.contains("frobnicate"), "{done}");
    machine.unmount();
}

#[test]
fn who_does_not_ask_for_ro_is_warned_and_gets_it() {
    let Some(machine) = machine() else { return };
    machine.fstab("@/model @/mnt model-fs defaults,suid,dev,public_key=@/key.pub 0 0");
    let done = machine.words("mount -a").expect("mount -a");
    assert_eq!(said(&done).lines().count(), 1, "{done}");
    assert!(done.stderr.contains("mounted read-only"), "{done}");
    let mounted = machine.mounted("mnt").expect("it is mounted");
    assert!(mounted.contains("ro,nosuid,nodev"), "{mounted}");
    machine.unmount();
}

#[test]
fn owner_group_and_permissions_are_shown_as_asked_for() {
    let Some(machine) = machine() else { return };
    machine.mount("allow_other,uid=1234,gid=65534,umask=027");
    let stat = |name: &str| {
        let path = machine.path(name);
        machine.script("stat -c '%u %g %a' \"$1\"", [path])
    };
    assert_eq!(stat("mnt/weights"), "1234 65534 640\n");
    assert_eq!(stat("mnt/dir"), "1234 65534 750\n");
    // The kernel goes by them: this user is of the group.
    let key = machine.path("mnt/weights");
    let read = format!("cat {}", key.display());
    machine
        .words_as_user(&read)
        .expect("read as one of the group");
    machine.unmount();
    machine.mount("allow_other,uid=1234,gid=1234,umask=027");
    let refused = machine.words_as_user(&read);
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
    // The status is for who mounted, whatever is shown.
    let status = format!("model-fs status --json {}", machine.path("mnt").display());
    let told = machine.words(&status).expect("status");
    assert!(told.stdout.contains("\"mounted_by\": 0"), "{told}");
    assert!(told.stdout.contains("verified_bytes"), "{told}");
    machine.unmount();
}
