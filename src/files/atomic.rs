//! Files that others see whole or not at all.
//!
//! Guarantees: opening a file that is written here gives the old one or all of the new one, after a
//! crash too, but for a [passing](Directory::write_passing_file) one; where writing fails the old
//! one stays. A process that is asked to end can leave nothing that is on its way
//! ([`abandon_files`]). Doesn't: see to it that the new one is there after a crash, for which its
//! directory has to be synchronised; or follow a link that has the name, which is replaced.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{Directory, component, parent_of};

/// How often a name is made up for a temporary file.
const MAX_NAMES: u32 = 64;

/// Temporary files of this process that have a name. Whoever gives one a name, or takes it away,
/// holds the lock.
static UNDER_WAY: Mutex<Vec<(Directory, String)>> = Mutex::new(Vec::new());

fn under_way() -> MutexGuard<'static, Vec<(Directory, String)>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all that is on its way to its name, for a process that ends now, wherever its threads
/// are: what writes, or begins to, waits for that end.
pub fn abandon_files() {
    let mut files = under_way();
    for (directory, name) in files.drain(..) {
        // If it can't be removed, its name tells what it was.
        let _ = directory.remove_file(OsStr::new(&name));
    }
    std::mem::forget(files);
}

/// Writes a file with these permission bits, less those of the umask, in place of what is there.
///
/// # Errors
/// What the file system or `write` says.
pub fn write_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = Directory::open(parent_of(path))?;
    directory.write_file(path.file_name().unwrap_or_default(), mode, write)
}

impl Directory {
    /// Writes a file with these permission bits, less those of the umask, in place of what has the
    /// name. A link is replaced, not followed.
    ///
    /// # Errors
    /// What the file system or `write` says.
    pub fn write_file(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.write_temporary(mode, write)?;
        temporary.file.sync_data()?;
        temporary.rename(component(name)?)
    }

    /// The same without waiting for the disk, for what is worth nothing after a crash of the host:
    /// then the file may be empty.
    ///
    /// # Errors
    /// As for [`write_file`](Self::write_file).
    pub fn write_passing_file(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_temporary(mode, write)?.rename(component(name)?)
    }

    /// The same as [`write_file`](Self::write_file) where nothing has the name yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something has; else what the file system or `write`
    /// says.
    pub fn create_file(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.write_temporary(mode, write)?;
        temporary.file.sync_data()?;
        let (from, to) = (&temporary.name, component(name)?);
        // The name that it had goes with `temporary`.
        Ok(rustix::fs::linkat(self, from, self, to, AtFlags::empty())?)
    }

    fn write_temporary(
        &self,
        mode: u32,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<Temporary<'_>> {
        let temporary = Temporary::new(self, mode)?;
        let mut out = BufWriter::with_capacity(1 << 20, &temporary.file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        Ok(temporary)
    }

    /// Finds out whether files can be made here, and leaves none.
    ///
    /// # Errors
    /// Why not.
    pub fn check_writable(&self) -> io::Result<()> {
        // A file that never has a name (open(2)), where the file system has such files.
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(self, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => Ok(()),
            Err(_) => Temporary::new(self, 0o600).map(drop),
        }
    }
}

/// A file on its way to its name. Goes when it is dropped before.
pub(super) struct Temporary<'a> {
    directory: &'a Directory,
    name: String,
    file: File,
}

impl<'a> Temporary<'a> {
    pub(super) fn new(directory: &'a Directory, mode: u32) -> io::Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut attempts = 0;
        loop {
            let mut random = [0; 8];
            aws_lc_rs::rand::fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            let name = format!(".model-fs-{}", hex::encode(random));
            let mut files = under_way();
            match rustix::fs::openat(directory, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(fd) => {
                    files.push((directory.clone(), name.clone()));
                    return Ok(Self {
                        directory,
                        name,
                        file: fd.into(),
                    });
                }
                Err(Errno::EXIST) if attempts < MAX_NAMES => attempts += 1,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn rename(mut self, name: &OsStr) -> io::Result<()> {
        let (directory, mut files) = (self.directory, under_way());
        rustix::fs::renameat(directory, &self.name, directory, name)?;
        files.retain(|(_, other)| *other != self.name);
        self.name.clear();
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let mut files = under_way();
            files.retain(|(_, other)| *other != self.name);
            // If it can't be removed, its name tells what it was.
            let _ = self.directory.remove_file(OsStr::new(&self.name));
        }
    }
}
