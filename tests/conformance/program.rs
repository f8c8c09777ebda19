//! The program under test, in a home of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use test_support::built;
use test_support::missing::{Need, have};
use test_support::mounted::{clear, is_mounted, scratch};
use test_support::process::{Finished, finish};

const LIMIT: Duration = Duration::from_secs(120);

/// A home: trust store and index store, both empty at first.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(scratch())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in [
            "HOME",
            "XDG_CONFIG_HOME",
            "XDG_STATE_HOME",
            "XDG_CACHE_HOME",
        ] {
            command.env(variable, self.path());
        }
        command
    }

    /// Runs one verb.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        finish(self.command(built::program()).args(arguments), LIMIT)
    }

    /// Runs one verb whose results go to `stdout`.
    pub(crate) fn run_into<S: AsRef<OsStr>>(
        &self,
        stdout: impl Into<Stdio>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        let mut command = self.command(built::program());
        command.args(arguments).stdin(Stdio::null()).stdout(stdout);
        command.stderr(Stdio::piped());
        let child = command.spawn().expect("start the program");
        child.wait_with_output().expect("wait for the program")
    }

    /// Runs one verb in at most so many bytes of memory (all that it maps counts, its code too) and
    /// seconds of processor time.
    pub(crate) fn run_within<S: AsRef<OsStr>>(
        &self,
        (bytes, seconds): (u64, u32),
        arguments: impl IntoIterator<Item = S>,
    ) -> Finished {
        let mut command = self.command("prlimit");
        command
            .arg(format!("--as={bytes}"))
            .arg(format!("--cpu={seconds}"));
        command.arg("--").arg(built::program());
        finish(command.args(arguments), LIMIT)
    }

    /// Runs a line of shell, in which `model-fs` is the program under test.
    pub(crate) fn shell(&self, line: &str) -> Finished {
        let mut command = self.command("sh");
        let folder = Path::new(built::program())
            .parent()
            .expect("programs lie in a folder");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).expect("a search path"));
        finish(command.args(["-c", line]), LIMIT)
    }

    /// Mounts, which must work, shows the mountpoint, and unmounts. Does nothing where tests of
    /// mounts are left out.
    #[track_caller]
    pub(crate) fn mounted(&self, model: &Path, trust: &[String], look: impl FnOnce(&Path)) {
        struct Unmount(PathBuf);
        impl Drop for Unmount {
            fn drop(&mut self) {
                clear(&self.0);
            }
        }

        if !have(Need::Fuse) {
            return;
        }
        let mountpoint = TempDir::new().expect("make a mountpoint");
        let guard = Unmount(mountpoint.path().to_owned());
        let words = [
            "mount".as_ref(),
            model.as_os_str(),
            mountpoint.path().as_os_str(),
        ];
        let words = words.into_iter().chain(trust.iter().map(OsStr::new));
        self.run(words).expect("mount");
        look(mountpoint.path());
        self.run(["umount".as_ref(), mountpoint.path().as_os_str()])
            .expect("unmount");
        assert!(!is_mounted(mountpoint.path()));
        drop(guard);
    }
}
