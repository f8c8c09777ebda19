//! Units of systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use test_support::built;
use test_support::missing::{Need, have, not_tested};
use test_support::mounted::scratch;
use test_support::process::{Finished, finish};

use crate::boot::System;

/// `systemd-analyze` on copies of the units that name the program where it was built.
#[track_caller]
fn analyze(arguments: &[&str], unit: &str, as_name: &str) -> Finished {
    let folder: TempDir = scratch();
    let text = fs::read_to_string(source(unit)).expect("read a unit");
    let text = text.replace("/usr/bin/model-fs", built::program());
    let copy = folder.path().join(as_name);
    fs::write(&copy, text).expect("write a copy");
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(copy);
    finish(&mut command, Duration::from_secs(60))
}

fn source(unit: &str) -> PathBuf {
    built::repository("packaging/systemd").join(unit)
}

#[test]
fn the_units_are_well_formed() {
    if !have(Need::Systemd) {
        return;
    }
    for (unit, name) in [
        ("model-fs@.service", "model-fs@llm.service"),
        ("mnt-llm.mount", "mnt-llm.mount"),
    ] {
        let finished = analyze(&["verify", "--man=no"], unit, name).expect("verify");
        // What it doesn't know it ignores, with a warning.
        assert_eq!(finished.stderr, "", "{finished}");
    }
}

#[test]
fn the_service_is_confined_as_far_as_a_mount_for_others_can_be() {
    if !have(Need::Systemd) {
        return;
    }
    let arguments = ["security", "--offline=true", "--threshold=43"];
    let finished = analyze(&arguments, "model-fs@.service", "model-fs@llm.service");
    finished.expect("an exposure of 4.3 at most");
}

#[test]
fn the_service_serves_is_started_again_and_ends() {
    let Some(system) = System::new() else {
        return;
    };
    system.without(" --keep-alive");
    system.shows(
        "systemctl start model-fs@llm.service
         systemctl is-active model-fs@llm.service
         # Other units and other users see the mount; its user could not read the model otherwise.
         cmp /srv/models/llm/weights /mnt/llm/weights
         setpriv --reuid=65533 --regid=65533 --clear-groups cat /mnt/llm/weights > /dev/null
         fails setpriv --reuid=65533 --regid=65533 --clear-groups cat /srv/models/llm/weights
         findmnt --types fuse.model-fs /mnt/llm
         systemctl status model-fs@llm.service | grep 'Status: .*violations: 0'
         # The store is in the cache directory.
         test -d /var/cache/model-fs/index

         systemctl reload model-fs@llm.service
         systemctl is-active model-fs@llm.service

         # What lies beneath, and nobody signed, shows at no moment of a new start.
         ( set +x
           while sleep 0.002; do
               if seen=$(ls /mnt/llm); then echo seen: $seen; fi
           done > /show/seen 2> /dev/null ) &
         looks=$!
         first=$(systemctl show --property=MainPID --value model-fs@llm.service)
         kill -KILL \"$first\"
         until cmp /srv/models/llm/weights /mnt/llm/weights; do sleep 0.1; done
         kill $looks
         case $(uname -r) in [1-5].*|6.[0-4].*|6.[0-4]-*) ;; *)
             grep -q weights /show/seen
             fails grep -x seen: /show/seen ;;
         esac
         test \"$(systemctl show --property=NRestarts --value model-fs@llm.service)\" = 1
         test \"$(findmnt --noheadings --types fuse.model-fs | wc -l)\" = 1

         systemctl stop model-fs@llm.service
         fails findmnt /mnt/llm
         test \"$(systemctl show --property=Result --value model-fs@llm.service)\" = success",
    );
}

#[test]
fn a_killed_server_is_replaced_beneath_its_readers() {
    let Some(system) = System::new() else {
        return;
    };
    system.shows(
        "systemctl start model-fs@llm.service
         show() { systemctl show --value --property=\"$1\" model-fs@llm.service; }
         keeper=$(show MainPID)
         server=$(cat \"/proc/$keeper/task/$keeper/children\")
         exec 3< /mnt/llm/weights
         kill -KILL $server
         cmp /srv/models/llm/weights /mnt/llm/weights
         cmp /srv/models/llm/weights - <&3
         exec 3<&-
         test \"$(show NRestarts)\" = 0
         systemctl is-active model-fs@llm.service
         systemctl stop model-fs@llm.service
         test \"$(show Result)\" = success
         fails findmnt /mnt/llm",
    );
}

#[test]
fn a_service_whose_signature_does_not_hold_is_not_started_again() {
    let Some(system) = System::new() else {
        return;
    };
    system.shows(
        "printf x > /srv/models/llm/model.sig
         fails systemctl start model-fs@llm.service
         systemctl is-failed model-fs@llm.service
         show() { systemctl show --value --property=\"$1\" model-fs@llm.service; }
         test \"$(show ExecMainStatus)\" = 3
         test \"$(show NRestarts)\" = 0
         fails findmnt /mnt/llm",
    );
}

#[test]
fn the_service_can_have_a_user_of_its_own() {
    let Some(system) = System::new() else {
        return;
    };
    // To whom the model belongs.
    system.drop_in("[Service]\nUser=65534\nAmbientCapabilities=CAP_SYS_ADMIN\n");
    system.shows(
        "systemctl start model-fs@llm.service
         cmp /srv/models/llm/weights /mnt/llm/weights
         test \"$(stat --format=%u /mnt/llm/weights)\" = 65534
         systemctl stop model-fs@llm.service
         fails findmnt /mnt/llm",
    );
}

#[test]
fn a_mount_unit_serves_and_a_line_of_fstab_makes_one() {
    let Some(system) = System::new() else {
        return;
    };
    system.shows(
        "systemctl start mnt-llm.mount
         systemctl is-active mnt-llm.mount
         cmp /srv/models/llm/weights /mnt/llm/weights
         findmnt --types fuse.model-fs --options allow_other,nosuid,nodev /mnt/llm
         systemctl stop mnt-llm.mount
         fails findmnt /mnt/llm

         options=nofail,_netdev,noauto,user,x-systemd.device-timeout=1
         key=public_key=/etc/model-fs/signer.pem
         echo \"/srv/models/llm /mnt/other fuse.model-fs $options,$key 0 0\" > /etc/fstab
         systemctl daemon-reload
         systemctl start mnt-other.mount
         cmp /srv/models/llm/weights /mnt/other/weights
         # As others do it, beside systemd.
         umount /mnt/other
         until systemctl is-active mnt-other.mount | grep inactive; do sleep 0.1; done
         mount /mnt/other
         cmp /srv/models/llm/weights /mnt/other/weights
         # It learns of that mount a moment later.
         until systemctl is-active mnt-other.mount; do sleep 0.1; done
         systemctl stop mnt-other.mount
         fails findmnt /mnt/other",
    );
}

#[test]
fn the_first_look_mounts_what_fstab_has_for_automount() {
    let Some(system) = System::new() else {
        return;
    };
    if !Path::new("/dev/autofs").exists() {
        not_tested("x-systemd.automount: the kernel has no /dev/autofs");
        return;
    }
    system.shows(
        "options=ro,noauto,x-systemd.automount,public_key=/etc/model-fs/signer.pem
         echo \"/srv/models/llm /mnt/later fuse.model-fs $options 0 0\" > /etc/fstab
         systemctl daemon-reload
         systemctl start mnt-later.automount
         fails systemctl is-active mnt-later.mount
         cmp /srv/models/llm/weights /mnt/later/weights
         systemctl is-active mnt-later.mount
         findmnt --types fuse.model-fs /mnt/later",
    );
}

#[test]
fn a_service_that_is_killed_takes_no_mount_of_another_away() {
    let Some(system) = System::new() else {
        return;
    };
    system.shows(
        "systemctl start model-fs@llm.service
         # Another one for the same place, which waits for its key before it mounts anything.
         mkfifo /show/key
         sed 's|--public-key [^ ]*|--public-key /show/key|; s|--keep-alive||' \
             /etc/model-fs/llm.conf > /show/two.conf
         mkdir -p /run/systemd/system/model-fs@two.service.d
         printf '[Unit]\\nAssertPathExists=\\n[Service]\\nEnvironmentFile=\\n%s\\n' \
             EnvironmentFile=/show/two.conf > /run/systemd/system/model-fs@two.service.d/two.conf
         systemctl daemon-reload
         systemctl start --no-block model-fs@two.service
         until systemctl show --property=MainPID --value model-fs@two.service | grep -v '^0$'; do
             sleep 0.1
         done
         systemctl kill --signal=KILL model-fs@two.service
         until systemctl show --property=NRestarts --value model-fs@two.service | grep -v '^0$'; do
             sleep 0.1
         done
         cmp /srv/models/llm/weights /mnt/llm/weights
         systemctl is-active model-fs@llm.service
         systemctl stop model-fs@two.service model-fs@llm.service",
    );
}

#[test]
fn options_with_a_list_and_names_like_flags_do_not_take_the_model() {
    let Some(system) = System::new() else {
        return;
    };
    system.shows(
        "mkdir /srv/-m
         cp /srv/models/llm/weights /srv/models/llm/model.sig /srv/-m/
         mkdir -p /run/systemd/system/model-fs@llm.service.d
         printf '[Service]\\nEnvironment=\\nWorkingDirectory=/srv\\nEnvironmentFile=/show/more\\n' \
             > /run/systemd/system/model-fs@llm.service.d/more.conf
         {
             echo MODEL=-m
             echo OPTIONS=--allow-other --public-key /etc/model-fs/signer.pem --ignore-paths nothing
         } > /show/more
         systemctl daemon-reload
         systemctl start model-fs@llm.service
         cmp /srv/models/llm/weights /mnt/llm/weights
         systemctl stop model-fs@llm.service",
    );
}

/// Why the unit has none of these: the mount would be there, and seen by nobody else.
#[test]
fn a_mount_namespace_of_the_service_hides_the_mount() {
    let Some(system) = System::new() else {
        return;
    };
    system.drop_in("[Service]\nPrivateMounts=yes\n");
    system.shows(
        "systemctl start model-fs@llm.service
         fails findmnt /mnt/llm
         pid=$(systemctl show --property=MainPID --value model-fs@llm.service)
         grep fuse.model-fs \"/proc/$pid/mountinfo\"",
    );
}
