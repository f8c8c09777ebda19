//! The pid file of a mount: the number of the process that serves it.
//!
//! Guarantees: others see the file whole or not at all; a link is neither followed nor replaced;
//! nothing is replaced but the pid file of a process that is gone; and at the end only that very
//! file is removed which this process wrote. Doesn't: lock anything. Of two processes that replace
//! the same file at a time, the last one has it.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use model_fs::files::{Directory, parent_of};
use model_fs::name::Escaped;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// Bytes of a pid file, at most: a number and the end of its line, with room.
const MOST_BYTES: usize = 32;

/// A place for a pid file that may be written.
#[derive(Debug)]
pub(crate) struct PidFile {
    directory: Directory,
    name: OsString,
    /// As given, for messages.
    path: PathBuf,
    /// The file that this process wrote, held open so that no other gets its number.
    written: Option<(Identity, OwnedFd)>,
}

/// Which file it is.
type Identity = (u64, u64);

impl PidFile {
    /// Looks whether a pid file may be written at `path`, and writes none.
    pub(crate) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let shown = Escaped::path(path);
        let directory = Directory::open(parent_of(path));
        let prepared = Self {
            directory: directory.with_context(|| format!("cannot write pid file {shown}"))?,
            name: path
                .file_name()
                .map(OsStr::to_owned)
                .with_context(|| format!("pid file {shown} has no name"))?,
            path: path.to_owned(),
            written: None,
        };
        prepared
            .directory
            .check_writable()
            .with_context(|| prepared.failed())?;
        prepared.may_replace()?;
        Ok(prepared)
    }

    /// Writes the number of this process.
    pub(crate) fn write(&mut self) -> anyhow::Result<()> {
        let pid = format!("{}\n", std::process::id());
        let there = self.may_replace()?;
        let mut identity = None;
        let write = |out: &mut io::BufWriter<&std::fs::File>| {
            identity = Some(identity_of(&out.get_ref().metadata()?));
            out.write_all(pid.as_bytes())
        };
        let written = if there {
            self.directory.write_file(&self.name, 0o644, write)
        } else {
            self.directory.create_file(&self.name, 0o644, write)
        };
        written.with_context(|| self.failed())?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty());
        self.written = identity.zip(held.ok());
        Ok(())
    }

    fn failed(&self) -> String {
        format!("cannot write pid file {}", Escaped::path(&self.path))
    }

    /// Whether a pid file of a process that is gone is there; an error if anything else is.
    fn may_replace(&self) -> anyhow::Result<bool> {
        let shown = Escaped::path(&self.path);
        let said = match self.read() {
            Ok((_, said)) => said,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::LOOP) => bail!("pid file {shown} is a link; it is left alone: name another"),
            Err(errno) => {
                return Err(errno).with_context(|| format!("cannot look at pid file {shown}"));
            }
        };
        let Some(pid) = said else {
            bail!(
                "{shown} is there and isn't a pid file; it is left alone: remove it, or name \
                 another"
            );
        };
        let own = rustix::process::getpid();
        // After a restart of a container, this process may well have the number of the last one.
        if pid != own && is_running(pid) {
            bail!(
                "pid file {shown} is that of process {}, which is running; if that is another \
                 program, remove the file",
                pid.as_raw_pid()
            );
        }
        Ok(true)
    }

    /// What is there, and the number in it if it is a pid file.
    fn read(&self) -> Result<(Identity, Option<Pid>), Errno> {
        // Not to wait for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        let file = std::fs::File::from(file);
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let found = file.metadata().map_err(errno)?;
        if !found.is_file() {
            return Ok((identity_of(&found), None));
        }
        let mut bytes = Vec::new();
        let limit = MOST_BYTES as u64 + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(errno)?;
        Ok((identity_of(&found), pid_in(&bytes)))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Some((written, _)) = &self.written else {
            return;
        };
        let own = rustix::process::getpid();
        let is_ours = |(identity, said)| identity == *written && said == Some(own);
        if self.read().is_ok_and(is_ours)
            && let Err(error) = self.directory.remove_file(&self.name)
        {
            let path = Escaped::path(&self.path);
            tracing::warn!(%path, %error, "the pid file can't be removed");
        }
    }
}

/// Whether there is such a process, and one that hasn't ended: its number stays for as long as its
/// parent doesn't ask for its exit code, and some never do.
fn is_running(pid: Pid) -> bool {
    if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid()));
    // proc(5): `pid (name) state …`, and the name may hold anything.
    let state = stat.ok().and_then(|stat| {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        stat.get(end + 2).copied()
    });
    !matches!(state, Some(b'Z' | b'X'))
}

fn identity_of(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// The number in a pid file; `None` if it is none.
fn pid_in(bytes: &[u8]) -> Option<Pid> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number = text.strip_suffix('\n').unwrap_or(text);
    let digits = number.len() <= MOST_BYTES && number.bytes().all(|byte| byte.is_ascii_digit());
    Pid::from_raw(digits.then(|| number.parse().ok())??)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_pid_file_is_written_and_removed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut file = PidFile::prepare(&path).unwrap();
        assert!(!path.exists());
        file.write().unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_pid_file_of_a_process_that_is_gone_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        // Nobody asks for its exit code yet.
        let gone_pid = Pid::from_child(&gone);
        while is_running(gone_pid) {
            std::thread::yield_now();
        }
        let unasked = PidFile::prepare(&path).and_then(|mut file| {
            fs::write(&path, format!("{}\n", gone.id()))?;
            file.write()
        });
        unasked.unwrap();
        gone.wait().unwrap();
        let running = std::os::unix::process::parent_id();
        for (text, replaced) in [
            (format!("{}\n", gone.id()), true),
            (gone.id().to_string(), true),
            (format!("{}\n", std::process::id()), true),
            (format!("{running}\n"), false),
            ("1\n".to_owned(), false),
            (String::new(), false),
            ("0\n".to_owned(), false),
            ("-1\n".to_owned(), false),
            (format!("{}\n\n", gone.id()), false),
            ("notes of mine\n".to_owned(), false),
            ("9".repeat(100), false),
        ] {
            fs::write(&path, &text).unwrap();
            let result = PidFile::prepare(&path).and_then(|mut file| file.write().map(|()| file));
            assert_eq!(result.is_ok(), replaced, "{text:?}: {result:?}");
            if !replaced {
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }
    }

    #[test]
    fn links_folders_and_pipes_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("pid"), folder.path().join("target"));
        fs::write(&target, "4194304\n").unwrap();
        symlink(&target, &path).unwrap();
        let refused = PidFile::prepare(&path).unwrap_err();
        assert!(refused.to_string().contains("link"), "{refused}");
        fs::remove_file(&path).unwrap();
        symlink("missing", &path).unwrap();
        PidFile::prepare(&path).unwrap_err();
        assert!(!folder.path().join("missing").exists());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        PidFile::prepare(&path).unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "4194304\n");
        PidFile::prepare(&folder.path().join("no/such/folder")).unwrap_err();
    }

    #[test]
    fn what_is_no_longer_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut file = PidFile::prepare(&path).unwrap();
        file.write().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "7\n").unwrap();
        fs::rename(&other, &path).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
        // Removed and made again, or written in place: it may get the same number.
        for removed in [true, false] {
            fs::write(&path, "4194304\n").unwrap();
            let mut file = PidFile::prepare(&path).unwrap();
            file.write().unwrap();
            if removed {
                fs::remove_file(&path).unwrap();
            }
            fs::write(&path, "7\n").unwrap();
            drop(file);
            assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
            fs::remove_file(&path).unwrap();
        }
    }
}
