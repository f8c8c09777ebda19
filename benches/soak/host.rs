//! What there is of processes, mounts and memory.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a mount of ours would leave behind on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) processes: usize,
    pub(crate) mounts: usize,
}

impl Left {
    /// What there is now of processes whose command line names `folder`, and of mounts in it.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let folder = folder.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let own = std::process::id().to_string();
        let is_ours = |pid: &str| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            pid != own && String::from_utf8_lossy(&words).contains(folder)
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self {
            processes: fs::read_dir("/proc")?
                .flatten()
                .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
                .count(),
            mounts: mounts.lines().filter(|line| line.contains(folder)).count(),
        })
    }
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// Memory that isn't backed by a file (`RssAnon`, proc(5)), in KiB.
    pub(crate) memory_kib: u64,
}

impl Taken {
    /// What the process takes now.
    pub(crate) fn by(process: u32) -> io::Result<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let status = fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let number = |name: &str| field(name).ok_or_else(|| io::Error::other(name.to_owned()));
        Ok(Self {
            descriptors: fs::read_dir(folder.join("fd"))?.count(),
            threads: number("Threads:")?,
            memory_kib: number("RssAnon:")?,
        })
    }
}
