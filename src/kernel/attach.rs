//! Attaching: a connection to the FUSE kernel module, mounted on a directory.
//!
//! Guarantees: an [`Attached`] mount knows which file system it is, and [`Attached::detach`] takes
//! away that one and no other. Doesn't: serve anything; until somebody reads from the connection,
//! whoever looks into the mount waits.
//!
//! `fuser` could mount as well. It isn't asked to, because it unmounts by path when its handle goes
//! away, also after the kernel has already ended the mount, and so may hit a file system that was
//! mounted there since; and because its error is a text.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::FS_TYPE;
use super::fusermount::{self, HelperError};
use super::mountinfo::{DeviceId, MountTable, resolve};
use super::options::{Access, MountOptions};

/// The device that a connection to the kernel module is opened through.
pub(super) const FUSE_DEVICE: &str = "/dev/fuse";

/// A file type in `st_mode`: directory.
const S_IFDIR: u32 = 0o040_000;

/// A mounted file system that is to be served, and taken away at the end.
#[derive(Debug)]
pub(super) struct Attached {
    mountpoint: PathBuf,
    device: DeviceId,
}

impl Attached {
    /// Mounts on `mountpoint`, by the system call where that is permitted, else with `fusermount3`.
    pub(super) fn new(
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<(Self, OwnedFd), MountError> {
        let mountpoint = check(mountpoint, options)?;
        let connection = match mount_directly(&mountpoint, options)? {
            Some(connection) => connection,
            None => mount_with_helper(&mountpoint, options)?,
        };
        // The mount is the uppermost one here; its number comes from the table, because asking the
        // file system would be asking ourselves.
        let entry = MountTable::read()
            .map(|table| table.at(&mountpoint).cloned())
            .map_err(MountError::Table)?;
        match entry {
            Some(entry) if entry.fs_type == FS_TYPE => {
                let attached = Self {
                    mountpoint,
                    device: entry.device,
                };
                Ok((attached, connection))
            }
            // Closing the connection ends the file system, wherever it is.
            _ => Err(MountError::Vanished { mountpoint }),
        }
    }

    /// Where it is mounted: absolute, without links.
    pub(super) fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Which file system it is.
    pub(super) fn device(&self) -> DeviceId {
        self.device
    }

    /// Takes the mount out of the namespace. Files that are open in it stay so, and it ends when
    /// the last one is closed; if none is, now. `Ok` if it is gone already.
    ///
    /// The system call is given a descriptor of the very mount, so that no other can be meant.
    /// `fusermount3` takes only a path, and something mounted between our look and its own would
    /// be hit; such a window is in the nature of that helper.
    pub(super) fn detach(&self) -> Result<(), DetachError> {
        let table = MountTable::read().map_err(DetachError::Table)?;
        if !table
            .of_device(self.device)
            .any(|entry| entry.mountpoint == self.mountpoint)
        {
            return Ok(());
        }
        match table.at(&self.mountpoint) {
            Some(entry) if entry.device == self.device => {}
            _ => return Err(DetachError::Covered),
        }
        match self.detach_directly() {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::ACCESS) => {
                fusermount::unmount(&self.mountpoint, true).map_err(DetachError::Helper)
            }
            Err(errno) => Err(DetachError::Kernel(errno.into())),
        }
    }

    fn detach_directly(&self) -> Result<(), Errno> {
        // Opening the root of a mount as a path asks nothing of the file system.
        let root = rustix::fs::open(
            &self.mountpoint,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let found = rustix::fs::statx(
            &root,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
            StatxFlags::empty(),
        )?;
        if (found.stx_dev_major, found.stx_dev_minor) != (self.device.major, self.device.minor) {
            return Err(Errno::BUSY);
        }
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        rustix::mount::unmount(path, UnmountFlags::DETACH)
    }

    /// Breaks the connection: requests that wait, and all later ones, fail. False where the kernel
    /// offers that only by closing every descriptor.
    pub(super) fn abort(&self) -> bool {
        let path = format!("/sys/fs/fuse/connections/{}/abort", self.device.minor);
        std::fs::write(path, "1").is_ok()
    }
}

/// Why a mount couldn't be taken out of the namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum DetachError {
    #[error("cannot read the mount table")]
    Table(#[source] io::Error),
    #[error("another file system is mounted over it")]
    Covered,
    #[error("the kernel refused")]
    Kernel(#[source] io::Error),
    #[error("fusermount3 refused")]
    Helper(#[source] HelperError),
}

/// Looks at the mountpoint before anything is mounted. As with `mount`, it need not be empty.
fn check(mountpoint: &Path, options: &MountOptions) -> Result<PathBuf, MountError> {
    let shown = || mountpoint.to_owned();
    let unusable = |source: io::Error| match source.raw_os_error() {
        Some(errno) if errno == Errno::NOTCONN.raw_os_error() => MountError::Dead {
            mountpoint: shown(),
        },
        Some(errno) if errno == Errno::NOENT.raw_os_error() => MountError::Missing {
            mountpoint: shown(),
        },
        _ => MountError::Unusable {
            mountpoint: shown(),
            source,
        },
    };
    let resolved = resolve(mountpoint).map_err(unusable)?;
    // Before the first look into it, which an unresponsive daemon would never answer.
    let table = MountTable::read().map_err(MountError::Table)?;
    if table
        .at(&resolved)
        .is_some_and(|entry| entry.fs_type == FS_TYPE)
    {
        return Err(MountError::AlreadyMounted {
            mountpoint: resolved,
        });
    }
    let metadata = std::fs::metadata(&resolved).map_err(unusable)?;
    if !metadata.is_dir() {
        return Err(MountError::NotADirectory {
            mountpoint: resolved,
        });
    }
    if options.overlaps(&resolved) {
        return Err(MountError::Overlap {
            mountpoint: resolved,
            source_path: options.source.clone(),
        });
    }
    Ok(resolved)
}

/// Mounts by the system call; `None` if only the helper may.
fn mount_directly(
    mountpoint: &Path,
    options: &MountOptions,
) -> Result<Option<OwnedFd>, MountError> {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
    let connection = match opened {
        Ok(file) => OwnedFd::from(file),
        Err(source) => {
            return match source.kind() {
                io::ErrorKind::NotFound => Err(MountError::NoDevice),
                _ if source.raw_os_error() == Some(Errno::NODEV.raw_os_error())
                    || source.raw_os_error() == Some(Errno::NXIO.raw_os_error()) =>
                {
                    Err(MountError::NoDevice)
                }
                // The helper opens it with the same user's rights.
                _ => Err(MountError::Device(source)),
            };
        }
    };
    let data = format!(
        "fd={},rootmode={S_IFDIR:o},user_id={},group_id={},{}",
        connection.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        options.kernel_options(),
    );
    let result = match CString::new(data) {
        Ok(data) => rustix::mount::mount(
            options.encoded_device_name(),
            mountpoint,
            FS_TYPE,
            options.flags(),
            data.as_c_str(),
        ),
        Err(_) => Err(Errno::INVAL),
    };
    match result {
        Ok(()) => Ok(Some(connection)),
        Err(Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(Errno::NODEV) => Err(MountError::NoDevice),
        Err(errno) => Err(MountError::Kernel {
            mountpoint: mountpoint.to_owned(),
            source: errno.into(),
        }),
    }
}

fn mount_with_helper(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd, MountError> {
    fusermount::mount(mountpoint, &options.fusermount_options()).map_err(|error| match error {
        HelperError::Missing => MountError::NoHelper,
        HelperError::Run(source) => MountError::HelperFailed(source),
        HelperError::Refused(message) => {
            let text = message.to_string();
            if text.contains("user_allow_other") {
                MountError::OthersNotAllowed {
                    option: match options.access {
                        Access::OwnerAndRoot => "allow_root",
                        Access::Owner | Access::Everybody => "allow_other",
                    },
                }
            } else {
                MountError::Refused {
                    mountpoint: mountpoint.to_owned(),
                    message: text,
                }
            }
        }
    })
}

/// Why a file system isn't mounted. Nothing is left mounted after any of these.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No such directory.
    #[error("mountpoint {} does not exist", show(mountpoint))]
    Missing {
        /// As given.
        mountpoint: PathBuf,
    },
    /// A file, or something else.
    #[error("mountpoint {} is not a directory", show(mountpoint))]
    NotADirectory {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// What is mounted there has lost its daemon.
    #[error(
        "mountpoint {} holds a dead mount (transport endpoint is not connected)",
        show(mountpoint)
    )]
    Dead {
        /// As given.
        mountpoint: PathBuf,
    },
    /// A mount of ours is there, alive or dead.
    #[error("a model is already mounted on {}", show(mountpoint))]
    AlreadyMounted {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// Can't be looked at.
    #[error("cannot use mountpoint {}", show(mountpoint))]
    Unusable {
        /// As given.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The model lies under the mountpoint or the mountpoint in the model.
    #[error(
        "mountpoint {} and model {} lie one inside the other",
        show(mountpoint),
        show(source_path)
    )]
    Overlap {
        /// Without links.
        mountpoint: PathBuf,
        /// The model, as given.
        source_path: PathBuf,
    },
    /// This machine or container has no FUSE.
    #[error("{FUSE_DEVICE} is missing: FUSE is not available here")]
    NoDevice,
    /// There is FUSE, but not for this user.
    #[error("cannot open {FUSE_DEVICE}")]
    Device(#[source] io::Error),
    /// Not root, and no helper.
    #[error("mounting needs root or the helper fusermount3, and that was not found")]
    NoHelper,
    /// The helper couldn't be run, or broke off.
    #[error("mounting with fusermount3 failed")]
    HelperFailed(#[source] io::Error),
    /// `allow_other` or `allow_root` without the administrator's consent.
    #[error("mount option \"{option}\" is not allowed for users on this machine")]
    OthersNotAllowed {
        /// The option's name.
        option: &'static str,
    },
    /// The helper said no.
    #[error("cannot mount on {}: {message}", show(mountpoint))]
    Refused {
        /// Without links.
        mountpoint: PathBuf,
        /// The helper's message, escaped.
        message: String,
    },
    /// The kernel said no.
    #[error("cannot mount on {}", show(mountpoint))]
    Kernel {
        /// Without links.
        mountpoint: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The mount table can't be read.
    #[error("cannot read the mount table, /proc/self/mountinfo")]
    Table(#[source] io::Error),
    /// Somebody unmounted it, or mounted over it, as soon as it was there.
    #[error("the mount on {} vanished at once", show(mountpoint))]
    Vanished {
        /// Without links.
        mountpoint: PathBuf,
    },
    /// The file system and the kernel didn't agree.
    #[error("the file system could not be started")]
    Handshake(#[source] io::Error),
    /// A thread couldn't be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A stop was asked for before it was ready.
    #[error("interrupted before the mount was ready")]
    Interrupted,
}

impl MountError {
    /// What the user could do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { mountpoint } => format!("mkdir -p {}", shell(mountpoint)),
            Self::Dead { mountpoint } | Self::AlreadyMounted { mountpoint } => {
                format!("model-fs umount {}", shell(mountpoint))
            }
            Self::Overlap { .. } => "choose an empty directory elsewhere".into(),
            Self::NoDevice => "on a host, load the module with \"modprobe fuse\"; in a container, \
                               pass the device in (--device /dev/fuse)"
                .into(),
            Self::Device(_) => format!(
                "{FUSE_DEVICE} must be readable and writable for this user (usually mode 0666); in \
                 a container, pass it in (--device /dev/fuse)"
            ),
            Self::NoHelper => "install the package fuse3, or mount as root".into(),
            Self::OthersNotAllowed { .. } => {
                "add a line \"user_allow_other\" to /etc/fuse.conf, or mount as root".into()
            }
            Self::Refused { message, .. } if message.contains("ermission denied") => {
                "the mountpoint must belong to the user who mounts".into()
            }
            Self::Refused { message, .. } if message.contains("not permitted") => {
                "in a container, mounting needs the capability SYS_ADMIN (--cap-add SYS_ADMIN)"
                    .into()
            }
            Self::NotADirectory { .. }
            | Self::Unusable { .. }
            | Self::HelperFailed(_)
            | Self::Refused { .. }
            | Self::Kernel { .. }
            | Self::Table(_)
            | Self::Vanished { .. }
            | Self::Handshake(_)
            | Self::Thread(_)
            | Self::Interrupted => return None,
        })
    }
}

/// A path made safe to show.
pub(super) fn show(path: &Path) -> crate::name::Escaped {
    crate::name::Escaped::path(path)
}

/// A path as an argument in a command line that a user may copy.
pub(super) fn shell(path: &Path) -> String {
    crate::name::shell_word(path)
}
