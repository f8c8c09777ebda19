//! Mount options.
//!
//! Guarantees: every mount is read-only, without set-user-id files, devices and access times, and
//! with the kernel's permission checks; no option given by a user takes that away. Doesn't: check
//! what the machine allows; the mount itself says so. How a list is written:
//! [`option_list`].

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::name::Escaped;

use super::mount_error::Overlap;
use super::{SUBTYPE, option_list};

/// How long open files are served after a stop was asked for, if not told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Longest device name given to the kernel, in bytes. The kernel refuses whole pages.
const MAX_DEVICE_NAME: usize = 1024;

/// The kernel's smallest `max_read`: one page of the smallest machine.
const MIN_MAX_READ: u32 = 4096;

/// Session threads if not told otherwise: they only hand requests on, so a few suffice.
const DEFAULT_THREADS: usize = 4;

/// Names of the options, for messages: each is taken by [`MountOptions::parse`].
pub const OPTION_NAMES: [&str; 16] = [
    "ro",
    "nosuid",
    "nodev",
    "noatime",
    "default_permissions",
    "defaults",
    "noexec",
    "exec",
    "allow_other",
    "allow_root",
    "uid",
    "gid",
    "umask",
    "fsname",
    "subtype",
    "max_read",
];

/// Which users may look into the mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// The user who mounted it.
    #[default]
    Owner,
    /// The user who mounted it, and root.
    OwnerAndRoot,
    /// All users, within the modes of the files.
    Everybody,
}

/// By which file system of the kernel a model is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lane {
    /// As is best here. For now that is FUSE.
    #[default]
    Auto,
    /// FUSE.
    Fuse,
    /// EROFS, whose page cache is faster, where that can be: see [`pages`](super::pages). Full
    /// passes that lengths take are made before the mount is there.
    Pages,
}

/// What a mount is to be like.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// The model that is served; a mountpoint inside or above it is refused.
    pub source: PathBuf,
    /// Which users may look into the mount.
    pub access: Access,
    /// Nothing in the mount can be executed.
    pub noexec: bool,
    /// Owner that everything is shown with, instead of the user who mounts.
    pub uid: Option<u32>,
    /// Group that everything is shown with, instead of the group of the user who mounts.
    pub gid: Option<u32>,
    /// Permissions that nothing is shown with. The kernel checks those that are left.
    pub umask: u16,
    /// Upper bound for one read request, in bytes.
    pub max_read: Option<u32>,
    /// Name shown in the device column of the mount table instead of the source's path.
    pub device_name: Option<String>,
    /// Threads that take requests from the kernel.
    pub threads: NonZeroUsize,
    /// How long open files are served after a stop was asked for.
    pub grace: Duration,
    /// By which file system of the kernel the model is shown.
    pub lane: Lane,
}

impl MountOptions {
    /// The options of a plain mount of `source`.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            access: Access::default(),
            noexec: false,
            uid: None,
            gid: None,
            umask: 0,
            max_read: None,
            device_name: None,
            threads: NonZeroUsize::new(DEFAULT_THREADS).unwrap_or(NonZeroUsize::MIN),
            grace: DEFAULT_GRACE,
            lane: Lane::default(),
        }
    }

    /// Lets all users look into the mount, as the option `allow_other` does.
    pub fn allow_other(&mut self) -> Result<(), OptionError> {
        self.set_access(Access::Everybody)
    }

    /// Takes in a list of options as mount(8) has it, `name,name=value,…`.
    pub fn parse(&mut self, list: &str) -> Result<(), OptionError> {
        let options = option_list::split(list.as_bytes())?;
        options.into_iter().try_for_each(|option| {
            let option = String::from_utf8(option).map_err(|error| OptionError::Unknown {
                option: Escaped::bounded(&String::from_utf8_lossy(error.as_bytes())),
            })?;
            self.parse_one(&option)
        })
    }

    fn parse_one(&mut self, option: &str) -> Result<(), OptionError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            // What every mount has anyway.
            ("ro" | "nosuid" | "nodev" | "noatime" | "default_permissions" | "defaults", None)
            | ("subtype", Some(SUBTYPE)) => {}
            // Of two the last counts, as with mount(8): `user`, say, brings a `noexec`.
            ("noexec", None) => self.noexec = true,
            ("exec", None) => self.noexec = false,
            ("allow_other", None) => self.set_access(Access::Everybody)?,
            ("allow_root", None) => self.set_access(Access::OwnerAndRoot)?,
            ("fsname", Some(value)) if !value.is_empty() => {
                self.device_name = Some(value.to_owned());
            }
            ("uid", Some(value)) => self.uid = Some(parse_id(option, value)?),
            ("gid", Some(value)) => self.gid = Some(parse_id(option, value)?),
            ("umask", Some(value)) => self.umask = parse_umask(value)?,
            ("max_read", Some(value)) => {
                let bytes = value.parse().ok().filter(|&bytes| bytes >= MIN_MAX_READ);
                self.max_read = Some(bytes.ok_or_else(|| OptionError::MaxRead {
                    found: Escaped::bounded(value),
                })?);
            }
            ("rw" | "suid" | "dev" | "atime" | "relatime" | "strictatime", None) => {
                return Err(OptionError::Weakens {
                    option: Escaped::bounded(option),
                });
            }
            _ => {
                return Err(OptionError::Unknown {
                    option: Escaped::bounded(option),
                });
            }
        }
        Ok(())
    }

    fn set_access(&mut self, access: Access) -> Result<(), OptionError> {
        // Whichever came last would win silently, and one of them is much wider.
        if self.access != Access::Owner && self.access != access {
            return Err(OptionError::TwoAccesses);
        }
        self.access = access;
        Ok(())
    }

    /// The name in the device column of the mount table.
    ///
    /// Commas separate options on their way to the kernel, and the table is read by people, so what
    /// isn't plain is written as `%` and two hexadecimal digits a byte.
    pub(super) fn encoded_device_name(&self) -> String {
        let name = match &self.device_name {
            Some(name) => name.as_bytes(),
            None => self.source.as_os_str().as_bytes(),
        };
        let mut out = String::with_capacity(name.len());
        for run in name.utf8_chunks() {
            for c in run.valid().chars() {
                let mut buffer = [0; 4];
                let text = c.encode_utf8(&mut buffer);
                if matches!(c, ',' | '%' | '\\') || Escaped::new(text).to_string() != *text {
                    percent(&mut out, text.as_bytes());
                } else {
                    out.push(c);
                }
            }
            percent(&mut out, run.invalid());
        }
        if out.len() > MAX_DEVICE_NAME {
            // The end of a path tells more than its beginning.
            let mut start = out.len() - MAX_DEVICE_NAME;
            while !out.is_char_boundary(start) {
                start += 1;
            }
            out.replace_range(..start, "…");
        }
        out
    }

    /// Flags for `mount(2)`.
    pub(super) fn flags(&self) -> MountFlags {
        let fixed =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        if self.noexec {
            fixed | MountFlags::NOEXEC
        } else {
            fixed
        }
    }

    /// Options that the FUSE kernel module takes, for either way of mounting.
    pub(super) fn kernel_options(&self) -> String {
        let mut options = String::from("default_permissions");
        // The kernel knows no `allow_root`: all users are let in, and fuser turns away the others.
        if self.access != Access::Owner {
            options.push_str(",allow_other");
        }
        if let Some(bytes) = self.max_read {
            let _ = write!(options, ",max_read={bytes}");
        }
        options
    }

    /// The `-o` argument for `fusermount3`.
    pub(super) fn fusermount_options(&self) -> String {
        format!(
            "ro,nosuid,nodev,noatime{},{},subtype={SUBTYPE},fsname={}",
            if self.noexec { ",noexec" } else { "" },
            self.kernel_options(),
            self.encoded_device_name(),
        )
    }

    pub(super) fn acl(&self) -> fuser::SessionACL {
        match self.access {
            Access::Owner => fuser::SessionACL::Owner,
            Access::OwnerAndRoot => fuser::SessionACL::RootAndOwner,
            Access::Everybody => fuser::SessionACL::All,
        }
    }

    /// How `mountpoint` lies to the model (both free of links), where one is inside the other. Then
    /// the daemon would read through its own mount, and wait for itself.
    pub(super) fn overlap(&self, mountpoint: &Path) -> Option<Overlap> {
        let source = self.source.canonicalize().ok()?;
        if source == mountpoint {
            Some(Overlap::Same)
        } else if mountpoint.starts_with(&source) {
            Some(Overlap::Inside)
        } else {
            source.starts_with(mountpoint).then_some(Overlap::Contains)
        }
    }
}

/// A number of a user or group. The largest means "none" to the kernel.
fn parse_id(option: &str, value: &str) -> Result<u32, OptionError> {
    let id = value.parse().ok().filter(|&id| id != u32::MAX);
    id.ok_or_else(|| OptionError::Id {
        option: Escaped::bounded(option),
    })
}

fn parse_umask(value: &str) -> Result<u16, OptionError> {
    let bits = u16::from_str_radix(value, 8).ok();
    bits.filter(|&bits| bits <= 0o777)
        .ok_or_else(|| OptionError::Umask {
            found: Escaped::bounded(value),
        })
}

fn percent(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "%{byte:02X}");
    }
}

/// An `-o` option that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Not an option of ours.
    #[error(
        "unknown mount option \"{option}\" (known: ro, nosuid, nodev, noatime, noexec, \
         exec, default_permissions, allow_other, allow_root, uid=N, gid=N, umask=OCTAL, \
         fsname=NAME, max_read=BYTES)"
    )]
    Unknown {
        /// The option, escaped.
        option: Escaped,
    },
    /// Takes away what every mount has.
    #[error(
        "mount option \"{option}\" is refused: a mount is always ro, nosuid, nodev and noatime"
    )]
    Weakens {
        /// The option, escaped.
        option: Escaped,
    },
    /// A list that ends within quotes.
    #[error(transparent)]
    OpenQuote(#[from] option_list::OpenQuote),
    /// `allow_other` and `allow_root` together.
    #[error("mount options \"allow_other\" and \"allow_root\" exclude each other")]
    TwoAccesses,
    /// Not the number of a user or group.
    #[error("mount option \"{option}\": uid and gid take a number")]
    Id {
        /// The option, escaped.
        option: Escaped,
    },
    /// Not permissions in octal.
    #[error("mount option \"umask\" takes permissions in octal, like 027, not \"{found}\"")]
    Umask {
        /// The value, escaped.
        found: Escaped,
    },
    /// No number, or too small.
    #[error(
        "mount option \"max_read\" takes a number of bytes, at least {MIN_MAX_READ}, \
         not \"{found}\""
    )]
    MaxRead {
        /// The value, escaped.
        found: Escaped,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> Result<MountOptions, OptionError> {
        let mut options = MountOptions::new("/models/m");
        options.parse(list)?;
        Ok(options)
    }

    #[test]
    fn known_options_are_taken_in() {
        let options =
            parsed("ro,nosuid,nodev,noatime,,noexec,allow_other,fsname=x=y,max_read=4096").unwrap();
        assert!(options.noexec);
        assert_eq!(options.access, Access::Everybody);
        assert_eq!(options.device_name.as_deref(), Some("x=y"));
        assert_eq!(options.max_read, Some(4096));
        assert!(
            options
                .flags()
                .contains(MountFlags::NOEXEC | MountFlags::RDONLY)
        );
        assert_eq!(parsed("allow_root").unwrap().access, Access::OwnerAndRoot);
        assert_eq!(parsed("").unwrap().access, Access::Owner);
    }

    #[test]
    fn nothing_takes_protection_away() {
        for option in ["rw", "suid", "dev", "atime"] {
            assert!(
                matches!(parsed(option), Err(OptionError::Weakens { .. })),
                "{option}"
            );
        }
        for option in [
            "RW",
            "ro=1",
            "fsname",
            "fsname=",
            "subtype=ext4",
            "fd=3",
            "user_id=0",
            "rootmode=0",
            "auto_unmount",
            "blkdev",
            "x\u{1b}[2J",
        ] {
            assert!(
                matches!(parsed(option), Err(OptionError::Unknown { .. })),
                "{option}"
            );
        }
        let text = parsed("x\u{1b}[2J").unwrap_err().to_string();
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn every_name_is_one_of_an_option() {
        for name in OPTION_NAMES {
            let values = ["", "=8192", "=027", "=model-fs"];
            let taken = values.map(|value| parsed(&format!("{name}{value}")).is_ok());
            assert!(taken.contains(&true), "{name}");
        }
    }

    #[test]
    fn owners_and_permissions_are_numbers() {
        let options = parsed("uid=1000,gid=0,umask=0027").unwrap();
        let shown = (options.uid, options.gid, options.umask);
        assert_eq!(shown, (Some(1000), Some(0), 0o027));
        for option in ["uid=", "uid=me", "gid=-1", "uid=4294967295"] {
            assert!(
                matches!(parsed(option), Err(OptionError::Id { .. })),
                "{option}"
            );
        }
        for option in ["umask=", "umask=8", "umask=1000", "umask=rwx"] {
            assert!(
                matches!(parsed(option), Err(OptionError::Umask { .. })),
                "{option}"
            );
        }
    }

    #[test]
    fn the_last_word_on_execution_counts() {
        assert!(!parsed("noexec,exec").unwrap().noexec);
        assert!(parsed("exec,noexec").unwrap().noexec);
    }

    #[test]
    fn a_value_with_commas_is_one_value() {
        let options = parsed(r#"fsname="a,allow_other",subtype=model-fs"#).unwrap();
        assert_eq!(options.device_name.as_deref(), Some("a,allow_other"));
        assert_eq!(options.access, Access::Owner);
        assert!(matches!(
            parsed(r"fsname=\377"),
            Err(OptionError::Unknown { .. })
        ));
    }

    #[test]
    fn max_read_is_bounded() {
        assert!(parsed("max_read=4096").is_ok());
        for value in ["4095", "0", "-1", "4k", "", "4294967296"] {
            assert!(
                matches!(
                    parsed(&format!("max_read={value}")),
                    Err(OptionError::MaxRead { .. })
                ),
                "{value}"
            );
        }
    }

    #[test]
    fn accesses_exclude_each_other() {
        assert_eq!(
            parsed("allow_other,allow_root").unwrap_err(),
            OptionError::TwoAccesses
        );
        let mut options = parsed("allow_other").unwrap();
        options.allow_other().unwrap();
    }

    #[test]
    fn a_device_name_injects_no_option() {
        let mut options = MountOptions::new("/m,suid,x=\\\n% é");
        assert_eq!(options.encoded_device_name(), "/m%2Csuid%2Cx=%5C%0A%25 é");
        options.device_name = Some("a,b".into());
        assert_eq!(options.encoded_device_name(), "a%2Cb");
        let bytes = std::ffi::OsStr::from_bytes(b"/m/\xff\xfe");
        assert_eq!(MountOptions::new(bytes).encoded_device_name(), "/m/%FF%FE");
    }

    #[test]
    fn a_long_device_name_keeps_its_end() {
        for len in [MAX_DEVICE_NAME, MAX_DEVICE_NAME + 1] {
            let name = MountOptions::new("x".repeat(len - 4) + "/end").encoded_device_name();
            assert!(name.ends_with("/end"));
            assert_eq!(name.starts_with('…'), len > MAX_DEVICE_NAME);
        }
        let name = MountOptions::new("é".repeat(MAX_DEVICE_NAME)).encoded_device_name();
        assert!(name.starts_with("…é"));
    }
}
