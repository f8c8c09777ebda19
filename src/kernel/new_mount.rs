//! The system calls that mount on a directory held by descriptor.
//!
//! Guarantees: what is mounted is mounted on that very directory, wherever it has been moved
//! meanwhile and whatever has its old path. Doesn't: help users who may not mount; see
//! [`fusermount`](super::fusermount).

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags};

use super::mountinfo::DeviceId;
use super::options::MountOptions;
use super::place::Place;
use super::{FS_TYPE, SUBTYPE};

/// A file type in `st_mode`: directory.
const S_IFDIR: u32 = 0o040_000;

/// Which mount it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Number of the mount, reused after it is gone.
    pub(super) id: u64,
    /// Number of the file system.
    pub(super) device: DeviceId,
}

/// Mounts what is served through `connection` on `place`. The identity is `None` where only the
/// mount table can tell (before Linux 5.2).
pub(super) fn mount(
    connection: &OwnedFd,
    place: &Place,
    options: &MountOptions,
) -> Result<Option<Identity>, Errno> {
    match make(connection, options) {
        Ok(made) => {
            let identity = identify(&made)?;
            attach(&made, place)?;
            Ok(Some(identity))
        }
        Err(errno) => {
            // The kernel is too old, a filter forbids the calls, or a value is too long for them;
            // if it is anything else, this says it again.
            tracing::debug!(%errno, "mounting by mount(2)");
            mount_in_one_call(connection, place, options).map(|()| None)
        }
    }
}

/// Attaches a mount that is attached nowhere yet to `place`.
pub(super) fn attach(made: &Place, place: &Place) -> Result<(), Errno> {
    rustix::mount::move_mount(
        made,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Attaches what [`make`] made beneath the mount that has its root at `above`, which stays over it
/// (Linux 6.5).
pub(super) fn attach_beneath(made: &Place, above: &Place) -> Result<(), Errno> {
    rustix::mount::move_mount(
        made,
        "",
        above,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
            | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH
            | MoveMountFlags::MOVE_MOUNT_BENEATH,
    )
}

/// Parameters for the kernel module: a name, and a value unless it is a flag.
fn parameters(connection: &OwnedFd, options: &MountOptions) -> Vec<(String, Option<String>)> {
    let own = [
        ("fd", connection.as_raw_fd().to_string()),
        ("rootmode", format!("{S_IFDIR:o}")),
        ("user_id", rustix::process::getuid().as_raw().to_string()),
        ("group_id", rustix::process::getgid().as_raw().to_string()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), Some(value)));
    let options = options.kernel_options();
    let given = options
        .split(',')
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        });
    own.into_iter().chain(given).collect()
}

/// A mount that is attached nowhere yet.
pub(super) fn make(connection: &OwnedFd, options: &MountOptions) -> Result<Place, Errno> {
    let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |name: &str, value: &str| rustix::mount::fsconfig_set_string(&context, name, value);
    set("source", &options.encoded_device_name())?;
    set("subtype", SUBTYPE)?;
    rustix::mount::fsconfig_set_flag(&context, "ro")?;
    for (name, value) in parameters(connection, options) {
        match value {
            Some(value) => set(&name, &value)?,
            None => rustix::mount::fsconfig_set_flag(&context, name)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let made = rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes(options.flags()),
    )?;
    Ok(Place::from(made))
}

/// The flags of `mount(2)` as those of `fsmount(2)`.
pub(super) fn attributes(flags: MountFlags) -> MountAttrFlags {
    [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(MountAttrFlags::empty(), |all, (_, attribute)| {
        all | attribute
    })
}

/// Which mount was made.
pub(super) fn identify(made: &Place) -> Result<Identity, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Ok(Identity {
        id: made.mount_id().map_err(errno)?,
        device: made.device().map_err(errno)?,
    })
}

fn mount_in_one_call(
    connection: &OwnedFd,
    place: &Place,
    options: &MountOptions,
) -> Result<(), Errno> {
    let parameters = parameters(connection, options);
    let data: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name,
        })
        .collect();
    let data = CString::new(data.join(",")).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        options.encoded_device_name(),
        place.descriptor_path(),
        FS_TYPE,
        options.flags(),
        data.as_c_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_is_lost() {
        let mut options = MountOptions::new("/models/m");
        options.parse("noexec").unwrap();
        let expected = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOATIME;
        assert_eq!(attributes(options.flags()), expected);
        assert_eq!(options.flags().bits().count_ones(), 5);
    }
}
