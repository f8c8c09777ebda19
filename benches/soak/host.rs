//! What there is of processes, mounts and memory.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

/// What a mount of ours would leave behind on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    pub(crate) processes: usize,
    pub(crate) mounts: usize,
    pub(crate) connections: usize,
    pub(crate) sockets: usize,
}

impl Left {
    /// What there is now.
    pub(crate) fn now() -> io::Result<Self> {
        let is_ours = |pid: &str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim_end() == "model-fs"
        };
        let all = |path: &str| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.collect()
        };
        let is_number = |name: &&String| name.bytes().all(|byte| byte.is_ascii_digit());
        let sockets = all("/run/model-fs");
        Ok(Self {
            processes: all("/proc")
                .iter()
                .filter(is_number)
                .filter(|pid| is_ours(pid))
                .count(),
            mounts: fs::read_to_string("/proc/self/mountinfo")?.lines().count(),
            connections: all("/sys/fs/fuse/connections").len(),
            sockets: sockets.iter().filter(|name| *name != "lock").count(),
        })
    }
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Serialize)]
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
