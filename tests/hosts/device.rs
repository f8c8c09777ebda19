//! `/dev/fuse`.

use std::fs;
use std::path::{Path, PathBuf};

use test_support::missing::not_tested;

use crate::support::Newcomer;

#[test]
fn there_is_no_device() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("bare_dev; mnt");
    newcomer.fails("bare_dev; user_mnt");
}

#[test]
fn something_else_has_the_name_of_the_device() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    // What a container engine makes of `--volume /dev/fuse:/dev/fuse` where the host has none.
    newcomer.fails("bare_dev; mkdir /dev/fuse; mnt");
    newcomer.fails("bare_dev; mknod -m 666 /dev/fuse c 1 3; mnt");
}

#[test]
fn the_device_is_closed_by_its_bits_or_its_file_system() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("bare_dev; mknod -m 600 /dev/fuse c 10 229; user_mnt");
    newcomer.fails(
        "mount -t tmpfs -o nodev tmpfs \"$SCRATCH\" && mknod -m 666 \"$SCRATCH/fuse\" c 10 229 &&
         mount --bind \"$SCRATCH/fuse\" /dev/fuse || exit 90
         mnt",
    );
}

/// A control group in which the FUSE device can't be used, as that of a container.
struct WithoutFuse(PathBuf);

impl WithoutFuse {
    /// `None` where there are no control groups for devices of version 1.
    fn new() -> Option<Self> {
        let groups = Path::new("/sys/fs/cgroup/devices");
        if !groups.join("devices.deny").exists() && !groups.join("tasks").exists() {
            not_tested("a rule for devices: no control groups of version 1 here");
            return None;
        }
        let group = groups.join(format!("model-fs-test-{}", std::process::id()));
        fs::create_dir(&group).expect("make a control group");
        let group = Self(group);
        fs::write(group.0.join("devices.deny"), "c 10:229 rwm").expect("deny the device");
        Some(group)
    }
}

impl Drop for WithoutFuse {
    fn drop(&mut self) {
        // An error means that something of a failed test is left in it.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_rule_of_the_container_forbids_the_device() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let Some(group) = WithoutFuse::new() else {
        return;
    };
    let tasks = group.0.join("tasks");
    newcomer.fails(&format!("echo $$ > {} || exit 90; mnt", tasks.display()));
}
