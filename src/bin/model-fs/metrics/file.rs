//! Metrics in a file, as the textfile collector of Prometheus' node exporter reads them.
//!
//! Guarantees: the file is whole at any time; nothing is replaced but a regular file; the last
//! numbers are written when the mount has ended. Doesn't: remove the file, so that a mount that
//! ended is told from one that never was (`model_fs_up`).

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model_fs::files::{Directory, parent_of};
use model_fs::name::Escaped;
use rustix::fs::{AtFlags, FileType};
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
}

impl MetricsFile {
    /// Looks whether it can be written.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot write metrics to {}", Escaped::path(path));
        let file = Self {
            directory: Directory::open(parent_of(path)).with_context(failed)?,
            name: path.file_name().with_context(failed)?.to_owned(),
            path: path.to_owned(),
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
        let mut written = String::new();
        let turns = Periodic::new("metrics-file", INTERVAL, move || {
            let text = told.text();
            if text == written {
                return;
            }
            match file.write(&text) {
                Ok(()) => (failed, written) = (false, text),
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
        self.directory.write_file(&self.name, 0o644, write)
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
        if let Err(error) = self.file.write(&self.metrics.text()) {
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
}
