//! Whether the memory that this process may use is enough for the page cache of a whole model.
//!
//! The kernel charges a page to the memory control group of the process that has it read for the
//! first time. A page that is pushed is charged to the daemon's group. In a small container it
//! would push other pages of the model out, which have to be verified again: so [`room_for`] asks
//! for all of the model to fit.
//!
//! Guarantees: every control group that this process is in counts, with those above it, in versions
//! 1 and 2. Doesn't: see groups that a container hides; they have room, as far as is known here.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the hierarchy of control groups is mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The groups that this process is in (`cgroups(7)`).
const OWN_CGROUPS: &str = "/proc/self/cgroup";

/// Whether so much page cache can be charged to this process. `bytes` is asked for only where there
/// is a limit, since counting the bytes of a million files takes time.
///
/// # Errors
/// [`NoRoom`].
pub fn room_for(bytes: impl FnOnce() -> u64) -> Result<(), NoRoom> {
    let groups = fs::read_to_string(OWN_CGROUPS).unwrap_or_default();
    let Some(limit) = smallest_limit(Path::new(CGROUPS), &groups) else {
        return Ok(());
    };
    let bytes = bytes();
    // As much again is left for everything else.
    if limit / 2 < bytes {
        return Err(NoRoom { bytes, limit });
    }
    Ok(())
}

/// A model that is too large for the memory control groups that this process is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "pages aren't read ahead into the kernel's cache: {bytes} bytes of model don't fit twice into \
     the {limit} bytes of memory that this control group may use"
)]
pub struct NoRoom {
    /// Of the model.
    pub bytes: u64,
    /// The smallest limit, in bytes.
    pub limit: u64,
}

/// The smallest limit of the memory control groups in `groups` and of those above them.
fn smallest_limit(root: &Path, groups: &str) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (root, file) = if controllers.is_empty() {
                (root.to_owned(), "memory.max")
            } else if controllers.split(',').any(|name| name == "memory") {
                (root.join("memory"), "memory.limit_in_bytes")
            } else {
                return None;
            };
            limits(&root, path, file).min()
        })
        .min()
}

fn limits(root: &Path, path: &str, file: &str) -> impl Iterator<Item = u64> {
    let below = Path::new(path.trim_start_matches('/'));
    let groups: Vec<PathBuf> = below.ancestors().map(|group| root.join(group)).collect();
    // In a container, the path may be that of the host, and only the root can be seen.
    groups.into_iter().filter_map(move |group| {
        let text = fs::read_to_string(group.join(file)).ok()?;
        // "max" is no number, and version 1 has a very large one for no limit.
        text.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pod/memory.max", "500\n");
        write("pod/container/memory.max", "max\n");
        write("pod/small/memory.max", "100\n");
        write("memory/user/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups| smallest_limit(root.path(), groups);
        assert_eq!(limit("0::/pod/container\n"), Some(500));
        assert_eq!(limit("0::/pod/small\n"), Some(100));
        assert_eq!(limit("0::/pod\n"), Some(500));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/../elsewhere\n"), None);
        assert_eq!(limit("4:cpu,cpuacct:/user\n"), None);
        assert_eq!(
            limit("4:cpu:/\n9:memory:/user\n"),
            Some(i64::MAX as u64 / 4096 * 4096)
        );
        assert_eq!(limit(""), None);
        assert_eq!(limit("nonsense\n\n::\n"), None);
        write("memory.max", "70\n");
        assert_eq!(limit("0::/pod/container\n"), Some(70));
    }

    #[test]
    fn a_model_of_no_bytes_has_room() {
        assert_eq!(room_for(|| 0), Ok(()));
    }
}
