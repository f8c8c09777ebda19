//! Mountpoints that can't be used, and those that can.

use crate::support::Newcomer;

#[test]
fn it_is_missing_or_no_directory() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("rmdir \"$MOUNTPOINT\"; mnt");
    newcomer.fails("> \"$MOUNTPOINT\"; mnt");
}

#[test]
fn it_belongs_to_another_user_or_is_closed() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("chown 0 \"$MOUNTPOINT\"; user_mnt");
    newcomer.fails("chmod 711 \"$MOUNTPOINT\"; chown 0 \"$MOUNTPOINT\"; user_mnt");
    newcomer.fails(
        "chown 65534 \"$MOUNTPOINT\"; mkdir -m 700 \"$HOME/closed\" \"$HOME/closed/in\"
         mount --bind \"$HOME/closed\" \"$MOUNTPOINT\" || exit 90
         MOUNTPOINT=$MOUNTPOINT/in; user_mnt",
    );
}

#[test]
fn it_is_not_empty() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.serves("echo beneath > \"$MOUNTPOINT/weights\"; mnt && served");
}

#[test]
fn there_is_a_model_already() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("mnt; mnt; code=$?; \"$PROGRAM\" umount \"$MOUNTPOINT\"; exit $code");
}

#[test]
fn there_is_a_dead_mount_of_a_user() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails(
        "user_mnt --pid-file \"$USER_HOME/pid\" && kill -KILL \"$(cat \"$USER_HOME/pid\")\"
         while user stat \"$MOUNTPOINT\" > /dev/null 2>&1; do sleep 0.01; done
         user_mnt; code=$?; user \"$PROGRAM\" umount \"$MOUNTPOINT\"; exit $code",
    );
}

/// A directory of one mounted model as the mountpoint of another.
#[test]
fn it_lies_in_a_fuse_file_system() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.serves(
        "mkdir -p \"$HOME/outer/inner\" \"$HOME/mnt\"; cp \"$MODEL/weights\" \"$HOME/outer/inner\"
         \"$PROGRAM\" sign \"$HOME/outer\" --private-key \"$PRIVATE\" >&2 &&
         \"$PROGRAM\" mount \"$HOME/outer\" \"$HOME/mnt\" --public-key \"$KEY\" || exit 92
         MOUNTPOINT=$HOME/mnt/inner; mnt && served && \"$PROGRAM\" umount \"$HOME/mnt\" &&
         echo served",
    );
}
