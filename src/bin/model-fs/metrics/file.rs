//! Metrics in a file, as the textfile collector of Prometheus' node exporter reads them.
//!
//! Guarantees: the file is whole at any time; at the beginning nothing but a regular file is
//! replaced; the last numbers are written when the mount has ended. Once another process has
//! written there, as a later mount of the same model does, this one doesn't any more. Doesn't:
//! remove the file, so that a mount that ended is told from one that never was (`model_fs_up`).

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model_fs::files::{Directory, parent_of};
use model_fs::name::Escaped;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::text::Exposition;
use crate::periodic::Periodic;

/// How often the file is written. Prometheus asks every 15 s to 60 s.
const INTERVAL: Duration = Duration::from_secs(5);

/// A place for metrics that may be written.
#[derive(Debug, Clone)]
pub(super) struct MetricsFile {
    directory: Directory,
    name: OsString,
    /// As given, for messages.
    path: PathBuf,
    /// What was written last.
    last: Arc<Mutex<String>>,
}

/// The largest file that is read to see whose it is, in bytes.
const MOST_BYTES: u64 = 1 << 20;

impl MetricsFile {
    /// Looks whether it can be written.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot write metrics to {}", Escaped::path(path));
        let file = Self {
            directory: Directory::open(parent_of(path)).with_context(failed)?,
            name: path.file_name().with_context(failed)?.to_owned(),
            path: path.to_owned(),
            last: Arc::default(),
        };
        file.directory.check_writable().with_context(failed)?;
        let found = rustix::fs::statat(&file.directory, &file.name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {}
            Err(Errno::NOENT) => {}
            Ok(_) => bail!(
                "cannot write metrics to {}: it is not a regular file",
                Escaped::path(path)
            ),
            Err(errno) => return Err(errno).with_context(failed),
        }
        Ok(file)
    }

    /// Writes until it is dropped, and once more then.
    pub(super) fn start(self, metrics: Arc<Exposition>) -> anyhow::Result<Writing> {
        // What can't be written at the beginning is an error; later, a warning.
        self.write(&metrics.text())
            .with_context(|| format!("cannot write metrics to {}", Escaped::path(&self.path)))?;
        let (file, told) = (self.clone(), Arc::clone(&metrics));
        let mut failed = false;
        let turns = Periodic::new("metrics-file", INTERVAL, move || {
            // Also where nothing has changed: the time of the file tells that the mount lives.
            match file.write_again(&told.text()) {
                Ok(()) => failed = false,
                Err(error) => {
                    if !failed {
                        let path = Escaped::path(&file.path);
                        tracing::warn!(%path, %error, "metrics can't be written");
                    }
                    failed = true;
                }
            }
        })?;
        Ok(Writing {
            turns: Some(turns),
            file: self,
            metrics,
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let write = |out: &mut io::BufWriter<&std::fs::File>| out.write_all(text.as_bytes());
        // Every few seconds, on whatever disk that is.
        self.directory
            .write_passing_file(&self.name, 0o644, write)?;
        text.clone_into(&mut self.last());
        Ok(())
    }

    fn last(&self) -> MutexGuard<'_, String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless another process has written there since.
    fn write_again(&self, text: &str) -> io::Result<()> {
        match self.read() {
            Ok(there) if there == *self.last() => self.write(text),
            Ok(_) => Err(io::Error::other("another process writes there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(text),
            Err(error) => Err(error),
        }
    }

    fn read(&self) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        let mut text = String::new();
        let file = std::fs::File::from(file);
        file.take(MOST_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Metrics that are written.
#[derive(Debug)]
pub(super) struct Writing {
    turns: Option<Periodic>,
    file: MetricsFile,
    metrics: Arc<Exposition>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.turns = None;
        if let Err(error) = self.file.write_again(&self.metrics.text()) {
            let path = Escaped::path(&self.file.path);
            tracing::warn!(%path, %error, "metrics can't be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        for name in ["file", "new"] {
            let file = MetricsFile::prepare(&path(name)).unwrap();
            file.write("text\n").unwrap();
            assert_eq!(std::fs::read_to_string(path(name)).unwrap(), "text\n");
        }
        for name in ["link", "folder", "none/file"] {
            assert!(MetricsFile::prepare(&path(name)).is_err(), "{name}");
        }
        assert!(MetricsFile::prepare(Path::new("/dev/null")).is_err());
    }

    /// A process that outlives its mount, since files are open in it, leaves the numbers of the
    /// next mount alone.
    #[test]
    fn what_another_process_has_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let [first, second] = [1, 2].map(|_| MetricsFile::prepare(&path).unwrap());
        first.write("first\n").unwrap();
        first.write_again("first, later\n").unwrap();
        second.write("second\n").unwrap();
        assert!(first.write_again("first, at the end\n").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        second.write_again("second, later\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        second.write_again("second, again\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second, again\n");
    }
}
