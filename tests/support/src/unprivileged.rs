//! Running a program as an ordinary user.
//!
//! Guarantees: the program runs as uid and gid 65534 with no other group, no capability and none
//! of root's environment; its home, configuration, state and temporary files lie in a fresh folder
//! of its own. The program is copied there first, because that user may not be able to reach the
//! place where it was built (`/root` is closed to others).
//!
//! Tests that don't run as root are ordinary users already: the program then runs as it is, with
//! the same fresh folders.
//!
//! Needs `setpriv` (util-linux) and, for mounts, a `fusermount3` with the set-uid bit (Debian's
//! package `fuse3`).

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::missing::{Need, have};

const NOBODY: u32 = 65534;

/// A user without privileges, with a home of its own that is removed when this is dropped.
pub struct OrdinaryUser {
    home: TempDir,
}

impl OrdinaryUser {
    /// A user who can mount through `fusermount3`; `None` only where the tests were switched off.
    #[track_caller]
    pub fn new() -> Option<Self> {
        if !have(Need::Fusermount3) {
            return None;
        }
        // In the system's temporary folder: each folder above a home must let its user pass.
        let home = tempfile::Builder::new()
            .prefix("ordinary-user-")
            .tempdir()
            .expect("make a home for an ordinary user");
        let user = Self { home };
        Self::give(user.home.path());
        for name in ["run", "tmp"] {
            user.folder(name);
        }
        Some(user)
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A new folder in the user's home, the user's own.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.home().join(name);
        fs::create_dir(&folder).unwrap_or_else(|e| panic!("create {}: {e}", folder.display()));
        Self::give(&folder);
        folder
    }

    /// A copy of a file in the user's home, the user's own.
    pub fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let copy = self.home().join(name);
        fs::copy(from, &copy).unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
        Self::give(&copy);
        copy
    }

    /// Makes an ordinary user the owner of one file or folder, and the only one to enter it.
    pub fn give(path: &Path) {
        let folder = path.is_dir();
        let mode = if folder { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set permissions");
        if rustix::process::geteuid().is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("change the owner");
        }
    }

    /// The command that runs a copy of `program` as this user.
    pub fn command_as_nobody(&self, program: &Path) -> Command {
        let name = program.file_name().expect("a program has a name");
        let copy = self.home().join(name);
        if !copy.exists() {
            fs::copy(program, &copy).unwrap_or_else(|e| panic!("copy {}: {e}", program.display()));
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("set permissions");
        }
        self.command(&copy)
    }

    /// The command that runs a program of the system, such as `cmp`, as this user.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command;
        if rustix::process::geteuid().is_root() {
            command = Command::new("setpriv");
            command
                .arg(format!("--reuid={NOBODY}"))
                .arg(format!("--regid={NOBODY}"))
                .args(["--clear-groups", "--inh-caps=-all", "--"])
                .arg(program);
        } else {
            command = Command::new(program);
        }
        let home = self.home();
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", home)
            .env("TMPDIR", home.join("tmp"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .current_dir(home);
        command
    }
}
