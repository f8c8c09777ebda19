//! The mount table of this process, `/proc/self/mountinfo`.
//!
//! Guarantees: reading it asks nothing of any mounted file system, so it works beside dead and
//! stuck ones; paths come back as the bytes they are. Doesn't: stay true after the call returns.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The number of a mounted file system, `st_dev` of everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// Zero for file systems without a block device, and so for FUSE.
    pub major: u32,
    /// Distinct for each of them.
    pub minor: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// One line of the table: a file system attached somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount, reused after it is gone.
    pub id: u64,
    /// Number of the mount that this one is attached to.
    pub parent: u64,
    /// The file system.
    pub device: DeviceId,
    /// Where it is attached, as seen from the root of this process.
    pub mountpoint: PathBuf,
    /// Its type, for instance `ext4` or [`FS_TYPE`](super::FS_TYPE).
    pub fs_type: String,
    /// What was mounted, `fsname` of a FUSE file system.
    pub source: OsString,
    /// Of a FUSE file system: the user who mounted it, and whose process answers for it, as the
    /// kernel knows (`user_id`).
    pub user: Option<u32>,
}

impl MountEntry {
    /// Reads one line; `None` if it isn't one (proc(5): `id parent maj:min root mountpoint options
    /// [tag…] - type source options`).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
        let _root = fields.next()?;
        let mountpoint = unescape(fields.next()?).into();
        let _options = fields.next()?;
        // Any number of optional fields, ended by a lone hyphen.
        fields.find(|field| field == b"-")?;
        let fs_type = std::str::from_utf8(fields.next()?).ok()?.to_owned();
        let source = unescape(fields.next()?);
        let user = fields.next().and_then(user_of);
        Some(Self {
            id,
            parent,
            device: DeviceId {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            },
            mountpoint,
            fs_type,
            source,
            user,
        })
    }
}

/// The option `user_id` of FUSE. The kernel writes it itself, before whatever a daemon may choose.
fn user_of(options: &[u8]) -> Option<u32> {
    let mut options = options.split(|&byte| byte == b',');
    let value = options.find_map(|option| option.strip_prefix(b"user_id="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the kernel's octal escapes (`\040` for a space; also tab, newline, backslash and `#`).
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let [
            b'\\',
            a @ b'0'..=b'3',
            b @ b'0'..=b'7',
            c @ b'0'..=b'7',
            after @ ..,
        ] = rest
        {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(out)
}

/// The number of the mount that something open lies in, from its `fdinfo` (proc(5)). The kernel
/// knows it without a question to the file system.
pub fn mount_in_fdinfo(info: &str) -> Option<u64> {
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    id.trim().parse().ok()
}

/// The same of something open here.
pub fn mount_id(file: impl AsFd) -> io::Result<Option<u64>> {
    let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    Ok(mount_in_fdinfo(&std::fs::read_to_string(path)?))
}

/// The mount table at one moment.
#[derive(Debug, Clone, Default)]
pub struct MountTable(Vec<MountEntry>);

impl MountTable {
    /// Reads the table of this process.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Parses the table as the kernel writes it. Lines of no known form are left out.
    pub fn parse(text: &[u8]) -> Self {
        Self(
            text.split(|&byte| byte == b'\n')
                .filter_map(MountEntry::parse)
                .collect(),
        )
    }

    /// The file system that a look at `mountpoint` meets: the uppermost of those attached exactly
    /// there.
    pub fn at(&self, mountpoint: &Path) -> Option<&MountEntry> {
        let here = |entry: &&MountEntry| entry.mountpoint == mountpoint;
        // The table is not ordered by stacking everywhere, but each mount names the one below it.
        let mut here = self.0.iter().filter(here);
        here.rfind(|entry| !self.is_covered(entry))
    }

    /// All of it, in the order of the table.
    pub fn entries(&self) -> &[MountEntry] {
        &self.0
    }

    /// The mount of this number.
    pub fn by_id(&self, id: u64) -> Option<&MountEntry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    /// Something that is mounted inside of `entry`, at another place than its own.
    pub fn inside(&self, entry: &MountEntry) -> Option<&MountEntry> {
        self.0.iter().find(|other| {
            other.parent == entry.id && other.id != entry.id && other.mountpoint != entry.mountpoint
        })
    }

    /// Whether something is mounted over `entry`, at the same place.
    pub fn is_covered(&self, entry: &MountEntry) -> bool {
        self.0.iter().any(|other| {
            other.parent == entry.id && other.id != entry.id && other.mountpoint == entry.mountpoint
        })
    }

    /// What wasn't there `before`, as it is now. Where another mount went away meanwhile, the
    /// kernel gives both of its numbers to the next one, so all that the table says is compared.
    pub(super) fn since(&self, before: &Self) -> impl Iterator<Item = &MountEntry> {
        self.0
            .iter()
            .filter(|entry| before.by_id(entry.id) != Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn reads_every_form_of_line() {
        let table = MountTable::parse(
            b"22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
              30 22 0:44 / /mnt/a\\040b\\011\\134c ro,nosuid shared:7 master:1 - fuse.model-fs \
              /m\\043x ro,user_id=0\n\
              garbage\n\
              31 22 0:x / /mnt/bad ro - ext4 s ro\n\
              32 22 0:45 / /no/dash ro shared:2 ext4 s ro\n\
              \n",
        );
        assert_eq!(table.0.len(), 2);
        let entry = table.at(Path::new("/mnt/a b\t\\c")).unwrap();
        assert_eq!(entry.fs_type, "fuse.model-fs");
        assert_eq!(entry.source, "/m#x");
        assert_eq!(entry.user, Some(0));
        assert_eq!(table.by_id(30), Some(entry));
        assert_eq!(table.by_id(22).unwrap().user, None);
        assert!(table.by_id(31).is_none());
        assert_eq!(
            entry.device,
            DeviceId {
                major: 0,
                minor: 44
            }
        );
        assert!(table.at(Path::new("/mnt")).is_none());
    }

    #[test]
    fn escapes_are_octal_and_complete() {
        for (from, to) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"\\040", b" "),
            (b"a\\134040", b"a\\040"),
            (b"\\303\\274", "ü".as_bytes()),
            (b"\\04", b"\\04"),
            (b"\\", b"\\"),
            (b"\\400", b"\\400"),
            (b"\\09a", b"\\09a"),
        ] {
            assert_eq!(unescape(from).as_bytes(), to);
        }
    }

    #[test]
    fn the_uppermost_of_stacked_mounts_is_found_in_any_order() {
        let below = "40 22 0:50 / /mnt ro - fuse.model-fs lower ro\n";
        let above = "41 40 0:51 / /mnt ro - tmpfs upper ro\n";
        for text in [[below, above].concat(), [above, below].concat()] {
            let table = MountTable::parse(text.as_bytes());
            assert_eq!(table.at(Path::new("/mnt")).unwrap().source, "upper");
        }
    }

    #[test]
    fn a_mount_that_got_the_numbers_of_one_that_went_away_is_new() {
        let stays = "22 1 254:0 / / rw - ext4 /dev/root rw\n";
        let gone = "40 22 0:50 / /a ro - fuse.model-fs model ro,user_id=7\n";
        let came = "40 22 0:50 / /b ro - fuse.model-fs model ro,user_id=7\n";
        let [before, now] =
            [gone, came].map(|last| MountTable::parse([stays, last].concat().as_bytes()));
        let new: Vec<_> = now.since(&before).map(|entry| &*entry.mountpoint).collect();
        assert_eq!(new, [Path::new("/b")]);
        assert_eq!(now.since(&now).count(), 0);
    }

    #[test]
    fn the_table_of_this_process_has_a_root() {
        let table = MountTable::read().unwrap();
        assert!(table.at(Path::new("/")).is_some());
    }
}
