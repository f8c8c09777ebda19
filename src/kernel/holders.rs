//! Who uses a mount: processes that have files open in it, map them, or stand in it.
//!
//! Guarantees: nothing is asked of the mounted file system, so it works beside a stuck one; names
//! of processes are escaped. Doesn't: see processes of other users without the right to look at
//! them, those of another PID namespace, or the kernel's own uses.

use std::fmt;
use std::path::Path;

use super::mountinfo::{DeviceId, mount_in_fdinfo};
use crate::name::Escaped;

/// Holders that are named.
const NAMED: usize = 8;

/// Processes that use a mount, as far as this user can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders(Vec<Holder>);

/// A process that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    pid: u32,
    command: Escaped,
}

impl Holders {
    /// Those of the mount with this number, of this file system, which is seen at `mountpoint`.
    pub(super) fn of(mount: u64, device: DeviceId, mountpoint: &Path) -> Self {
        let own = std::process::id();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut holders: Vec<Holder> = processes
            .filter_map(|process| {
                let pid = process.file_name().to_str()?.parse().ok()?;
                let process = process.path();
                let holds = pid != own
                    && (stands_in(&process, mountpoint)
                        || has_open(&process, mount)
                        || std::fs::read(process.join("maps"))
                            .is_ok_and(|maps| maps_device(&maps, device)));
                holds.then(|| Holder {
                    pid,
                    command: command(&process),
                })
            })
            .collect();
        holders.sort_by_key(|holder| holder.pid);
        Self(holders)
    }

    /// Whether none was found, which doesn't mean that there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Holder { pid, command }) in self.0.iter().take(NAMED).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{command} (process {pid})")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn command(process: &Path) -> Escaped {
    let name = std::fs::read(process.join("comm")).unwrap_or_default();
    Escaped::bounded(String::from_utf8_lossy(name.trim_ascii_end()).as_ref())
}

/// Whether its working directory, root or program lies there, by the paths that the kernel tells.
fn stands_in(process: &Path, mountpoint: &Path) -> bool {
    ["cwd", "root", "exe"].iter().any(|link| {
        std::fs::read_link(process.join(link)).is_ok_and(|to| to.starts_with(mountpoint))
    })
}

fn has_open(process: &Path, mount: u64) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fdinfo")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        std::fs::read_to_string(descriptor.path())
            .is_ok_and(|info| mount_in_fdinfo(&info) == Some(mount))
    })
}

/// Whether a file of this file system is mapped (proc(5): `range permissions offset maj:min …`, the
/// numbers in hexadecimal).
fn maps_device(maps: &[u8], device: DeviceId) -> bool {
    let wanted = format!("{:02x}:{:02x}", device.major, device.minor);
    maps.split(|byte| *byte == b'\n').any(|line| {
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        words.nth(3).is_some_and(|word| word == wanted.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::super::mountinfo::MountTable;
    use super::*;

    #[test]
    fn mapped_files_are_known_by_their_device() {
        let maps = b"7f00-7f01 r--p 00000000 00:33 12    /mnt/00:34\n\
            7f02-7f03 rw-p 00000000 00:00 0 \n";
        let device = |minor| DeviceId { major: 0, minor };
        assert!(maps_device(maps, device(0x33)));
        assert!(!maps_device(maps, device(0x34)));
        assert!(!maps_device(b"", device(0)));
    }

    #[test]
    fn a_process_that_stands_in_a_mount_holds_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .current_dir("/proc")
            .spawn()
            .unwrap();
        let table = MountTable::read().unwrap();
        let entry = table.at(Path::new("/proc")).unwrap();
        let shown = format!("sleep (process {})", child.id());
        // It becomes another program first.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !Holders::of(entry.id, entry.device, &entry.mountpoint)
            .0
            .into_iter()
            .filter(|it| it.pid == child.id())
            .map(|it| Holders(vec![it]))
            .collect::<Vec<_>>()
            .first()
            .cloned()
            .unwrap_or_default()
            .to_string()
            .contains(&shown)
        {
            assert!(std::time::Instant::now() < deadline);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn only_some_are_named() {
        let holder = |pid| Holder {
            pid,
            command: Escaped::bounded("a\nb"),
        };
        let few = Holders(vec![holder(1), holder(2)]);
        assert_eq!(
            few.to_string(),
            "a\\u{a}b (process 1), a\\u{a}b (process 2)"
        );
        let many = Holders((0..10).map(holder).collect());
        assert!(
            many.to_string().ends_with("(process 7) and 2 more"),
            "{many}"
        );
        assert!(Holders::default().is_empty());
    }
}
