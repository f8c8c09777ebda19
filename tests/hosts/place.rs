//! What is missing around the program: `/proc`, a home, a place to write.

use crate::support::Newcomer;

#[test]
fn there_is_no_proc() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    for foreground in ["", "--foreground"] {
        newcomer.fails(&format!(
            "without_proc; chroot \"$SCRATCH\" \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" \
             --public-key \"$KEY\" {foreground}"
        ));
    }
}

#[test]
fn there_is_no_system_log() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let served = newcomer.serves("bare_dev; mknod -m 666 /dev/fuse c 10 229; mnt && served");
    if let Some(served) = served {
        newcomer.warns(&served, "no system log");
    }
}

#[test]
fn the_root_directory_is_read_only() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let served = newcomer.serves(
        "without_proc; mount -t proc proc \"$SCRATCH/proc\" || exit 90
         mount -o remount,bind,ro \"$SCRATCH\" || exit 90
         chroot \"$SCRATCH\" \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key \"$KEY\" &&
         chroot \"$SCRATCH\" cmp \"$MODEL/weights\" \"$MOUNTPOINT/weights\" &&
         chroot \"$SCRATCH\" \"$PROGRAM\" umount \"$MOUNTPOINT\" && echo served",
    );
    if let Some(served) = served {
        newcomer.warns(&served, "no index store");
    }
}

#[test]
fn there_is_no_home() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("unset HOME; \"$PROGRAM\" trust add --public-key \"$KEY\"");
    newcomer.serves(
        "unset HOME; mount -t tmpfs tmpfs /var/cache || exit 90
         mnt && served && test -d /var/cache/model-fs/index",
    );
    let served = newcomer.serves("USER_HOME=/nonexistent; user_mnt && served user");
    if let Some(served) = served {
        newcomer.warns(&served, "no index store");
    }
}

#[test]
fn the_disk_of_the_table_store_is_full() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let full = "mount -t tmpfs -o size=4k tmpfs \"$SCRATCH\" || exit 90
                head -c 4096 /dev/zero > \"$SCRATCH/all\" || exit 90";
    newcomer.fails(&format!("{full}; mnt --index-dir \"$SCRATCH/index\""));
    // The usual place is no condition.
    let served = newcomer.serves(&format!(
        "{full}; mkdir \"$HOME/.cache\" && mount --bind \"$SCRATCH\" \"$HOME/.cache\" || exit 90
         mnt && served"
    ));
    if let Some(served) = served {
        newcomer.warns(&served, "no index store");
    }
    // It is full only when there is something to keep.
    let served = newcomer.serves(
        "mount -t tmpfs -o size=16k tmpfs \"$SCRATCH\" || exit 90
         mkdir \"$SCRATCH/index\"
         mnt --index-dir \"$SCRATCH/index\" --log-file \"$HOME/log\" || exit 92
         head -c 16384 /dev/zero > \"$SCRATCH/index/all\"
         served; code=$?; cat \"$HOME/log\" >&2; exit $code",
    );
    if let Some(served) = served {
        newcomer.warns(&served, "chunk table not kept");
    }
}
