//! Little of everything: descriptors, processes, memory.

use std::fs;
use std::path::{Path, PathBuf};

use test_support::missing::not_tested;

use crate::support::Newcomer;

#[test]
fn few_open_files() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails("ulimit -n 16; mnt");
    newcomer.serves("ulimit -n 64; mnt && served");
}

#[test]
fn few_processes() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    newcomer.fails(
        "user prlimit --nproc=1 \
         \"$PROGRAM\" mount \"$MODEL\" \"$MOUNTPOINT\" --public-key \"$KEY\"",
    );
}

/// A control group with little memory, as that of a container.
struct LittleMemory(PathBuf);

impl LittleMemory {
    /// `None` where there are no control groups for memory of version 1.
    fn new(bytes: u64) -> Option<Self> {
        let groups = Path::new("/sys/fs/cgroup/memory");
        if !groups.join("tasks").exists() {
            not_tested("little memory: no control groups of version 1 here");
            return None;
        }
        let group = groups.join(format!("model-fs-test-{}", std::process::id()));
        fs::create_dir(&group).expect("make a control group");
        let group = Self(group);
        let limit = group.0.join("memory.limit_in_bytes");
        fs::write(limit, bytes.to_string()).expect("limit the memory");
        Some(group)
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        // An error means that something of a failed test is left in it.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The cache may grow to 256 MiB, but never takes what it doesn't need.
#[test]
fn little_memory_is_enough() {
    let Some(newcomer) = Newcomer::new() else {
        return;
    };
    let Some(group) = LittleMemory::new(32 << 20) else {
        return;
    };
    newcomer.serves(&format!(
        "echo $$ > {}/tasks || exit 90; mnt && served",
        group.0.display()
    ));
}
