//! Who may mount.

use crate::support::Newcomer;

#[test]
fn the_usual_host_serves_root_and_an_ordinary_user() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.serves("mnt && served");
    newcomer.serves("user_mnt && served user");
}

#[test]
fn no_new_privileges_for_an_ordinary_user() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails(
        "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --no-new-privs -- \
         \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key \"$KEY\"",
    );
}

#[test]
fn no_fusermount3() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let without = "own_programs; rm -f /usr/bin/fusermount3 /usr/bin/fusermount";
    newcomer.fails(&format!("{without}; user_mnt"));
    // A folder of the path that is closed to the user changes nothing.
    newcomer.fails(&format!(
        "{without}; mkdir -m 700 \"$SCRATCH/closed\"; PATH=$SCRATCH/closed:$PATH; user_mnt"
    ));
    // Root doesn't need it.
    newcomer.serves(&format!("{without}; mnt && served"));
}

#[test]
fn fusermount3_without_its_rights() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("own_programs; chmod u-s /usr/bin/fusermount3; user_mnt");
    newcomer.fails(
        "mount --bind /usr/bin /usr/bin && mount -o remount,bind,nosuid /usr/bin || exit 90
         user_mnt",
    );
    newcomer.fails("own_programs; chmod 700 /usr/bin/fusermount3; user_mnt");
}

/// As in a container without `--cap-add SYS_ADMIN`, with and without the package fuse3 in it.
#[test]
fn root_without_the_capability() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let without = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin --";
    let mount =
        format!("{without} \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key $KEY");
    newcomer.fails(&mount);
    newcomer.fails(&format!(
        "own_programs; rm -f /usr/bin/fusermount3 /usr/bin/fusermount; {mount}"
    ));
}

#[test]
fn user_namespaces() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let mount = "\"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key \"$KEY\"";
    newcomer.fails(&format!("user unshare --map-root-user {mount}"));
    newcomer.fails(&format!("user unshare --user {mount}"));
    // With a mount namespace of its own, an ordinary user needs neither root nor fusermount3.
    let inside = format!(
        "{mount} && cmp \"$MODEL/weights\" \"$MOUNTPOINT/weights\" &&
         \"$PROGRAM\" umount \"$MOUNTPOINT\" && echo served"
    );
    newcomer.serves(&format!(
        "user unshare --map-root-user --mount sh -c '{inside}'"
    ));
    newcomer.fails(&format!(
        "chown -R 0 \"$USER_HOME\"; unshare --map-root-user {mount}"
    ));
}

/// A stand-in: the kernel says what it says when a security module refuses.
#[test]
fn a_security_module_refuses() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let refused = "python3 \"$REFUSE\" 13";
    let mount = "\"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key \"$KEY\"";
    newcomer.fails(&format!("{refused} {mount}"));
    newcomer.fails(&format!(
        "{refused} setpriv --reuid=65534 --regid=65534 --clear-groups -- {mount}"
    ));
    newcomer.fails(&format!(
        "own_programs; rm -f /usr/bin/fusermount3 /usr/bin/fusermount; {refused} {mount}"
    ));
}

#[test]
fn other_users_without_the_consent_of_the_administrator() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails(
        "mount --bind /dev/null /etc/fuse.conf || exit 90
         user_mnt --allow-other",
    );
}
