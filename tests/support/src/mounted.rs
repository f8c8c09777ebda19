//! Mounts that end with the test, even with one that fails.
//!
//! Guarantees: when a [`Mounted`] is dropped, its mount goes too, also in a test that panics and
//! also when the daemon is stuck or dead. Nothing here touches the file system behind the
//! mountpoint from this process: what waits for a stuck daemon is a child, and a child has a time
//! limit.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::built;
use crate::process::{Finished, finish};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs one verb of the program under test.
pub fn model_fs<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    finish(Command::new(built::program()).args(arguments), LIMIT)
}

/// A scratch folder on the disk that holds the target folder; `/tmp` may be small or in memory.
pub fn scratch() -> TempDir {
    TempDir::new_in(built::scratch()).expect("make a scratch folder")
}

/// A mounted model.
pub struct Mounted {
    mountpoint: TempDir,
}

impl Mounted {
    /// Mounts a model that must mount.
    #[track_caller]
    pub fn new(model: &Path, public_key: &Path, index: &Path) -> Self {
        Self::with(model, public_key, index, &[])
    }

    /// The same with more options.
    #[track_caller]
    pub fn with(model: &Path, public_key: &Path, index: &Path, more: &[&OsStr]) -> Self {
        let mountpoint = TempDir::new().expect("make a mountpoint");
        // Made first, so that it cleans up even when the command below fails halfway.
        let mounted = Self { mountpoint };
        let arguments = [
            OsStr::new("mount"),
            model.as_os_str(),
            mounted.path().as_os_str(),
            OsStr::new("--public-key"),
            public_key.as_os_str(),
            OsStr::new("--index-dir"),
            index.as_os_str(),
        ];
        model_fs(arguments.iter().chain(more)).expect("mount a model");
        assert!(
            is_mounted(mounted.path()),
            "mount returned, but nothing is mounted on {}",
            mounted.path().display()
        );
        mounted
    }

    /// The mountpoint.
    pub fn path(&self) -> &Path {
        self.mountpoint.path()
    }

    /// Unmounts, which must work.
    #[track_caller]
    pub fn unmount(self) {
        model_fs([OsStr::new("umount"), self.path().as_os_str()]).expect("unmount");
        assert!(
            !is_mounted(self.path()),
            "umount returned, but {} is still mounted",
            self.path().display()
        );
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        clear(self.path());
    }
}

/// Unmounts what is mounted there, gently at first, then by force.
pub fn clear(mountpoint: &Path) {
    let ways: [&[&str]; 3] = [
        &[built::program(), "umount"],
        &["fusermount3", "-u", "-z", "--"],
        &["umount", "--lazy", "--"],
    ];
    for way in ways {
        if !is_mounted(mountpoint) {
            return;
        }
        // `env` turns a program that isn't there into an exit status.
        let mut command = Command::new("env");
        command.args(way).arg(mountpoint);
        finish(&mut command, Duration::from_secs(20));
    }
}

/// Whether something is mounted there. Asks the kernel's list, never the file system itself.
pub fn is_mounted(mountpoint: &Path) -> bool {
    let list = std::fs::read("/proc/self/mountinfo").expect("read the list of mounts");
    // The fifth field is the mountpoint. Scratch paths hold nothing that the kernel would escape.
    list.split(|byte| *byte == b'\n').any(|line| {
        line.split(|byte| *byte == b' ').nth(4) == Some(mountpoint.as_os_str().as_bytes())
    })
}

/// Changes one bit of one byte of a file, in place. Doing it twice undoes it.
pub fn flip(file: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap_or_else(|error| panic!("open {}: {error}", file.display()));
    let mut byte = [0];
    opened
        .read_exact_at(&mut byte, offset)
        .expect("read a byte");
    opened
        .write_all_at(&[byte[0] ^ 0x10], offset)
        .expect("change a byte");
}
