//! The system calls that make file systems which are attached nowhere.
//!
//! Guarantees: what is made here has no path, and ends with its last descriptor unless it is
//! attached. Doesn't: attach anything, or change where this process looks paths up: one thread does
//! so for itself, and ends.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::error::{DIRECT, EROFS, NoPages, ON_FILES};
use crate::kernel::place::Place;

/// A file type in `st_mode`: directory.
const S_IFDIR: u32 = 0o040_000;

/// The name of an image where the one that it should have can't be.
const OTHER_NAME: &str = "model";

/// Most bytes of a string that `fsconfig(2)` takes, without the zero at its end.
const MOST_NAME: usize = 255;

/// What nobody looks into needs nothing.
fn bare() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME
}

/// A FUSE file system, served through `connection`.
pub(super) fn fuse(connection: &OwnedFd) -> Result<Place, NoPages> {
    let made = || {
        let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let number = |number: u32| number.to_string();
        for (name, value) in [
            ("source", "model-fs".to_owned()),
            ("subtype", "model-fs".to_owned()),
            ("fd", connection.as_raw_fd().to_string()),
            ("rootmode", format!("{S_IFDIR:o}")),
            ("user_id", number(rustix::process::getuid().as_raw())),
            ("group_id", number(rustix::process::getgid().as_raw())),
        ] {
            rustix::mount::fsconfig_set_string(&context, name, value)?;
        }
        rustix::mount::fsconfig_set_flag(&context, "ro")?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = bare() | MountAttrFlags::MOUNT_ATTR_RDONLY;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    };
    made()
        .map(Place::from)
        .map_err(NoPages::step("a FUSE mount without a place"))
}

/// A file system in memory, which EROFS can read an image from (unlike a tmpfs).
pub(super) fn ramfs() -> Result<Place, NoPages> {
    let made = || {
        let context = rustix::mount::fsopen("ramfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "mode", "0700")?;
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, bare())
    };
    made()
        .map(Place::from)
        .map_err(NoPages::step("a ramfs without a place"))
}

/// Makes the file for an image, under the name that mount tables are to show, or another one where
/// no file can have it. That name comes back.
pub(super) fn create(folder: &Place, name: &str) -> Result<(File, String), NoPages> {
    let file = |name: &str| -> Result<File, Errno> {
        let relative = name.trim_start_matches('/');
        for (end, _) in relative.match_indices('/') {
            match rustix::fs::mkdirat(folder, &relative[..end], Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(folder, relative, flags, mode)?.into())
    };
    let created = if name.len() <= MOST_NAME {
        file(name)
    } else {
        Err(Errno::NAMETOOLONG)
    };
    match created {
        Ok(created) => Ok((created, name.to_owned())),
        Err(_) => file(OTHER_NAME)
            .map(|created| (created, OTHER_NAME.to_owned()))
            .map_err(NoPages::step("a file for the image")),
    }
}

/// What EROFS is mounted of.
pub(super) struct Erofs<'a> {
    /// Where the image is.
    pub(super) folder: &'a Place,
    /// Its name there, as [`create`] gave it.
    pub(super) image: &'a str,
    /// Where its device is.
    pub(super) fuse: &'a Place,
    /// Its name there.
    pub(super) device: &'a str,
    pub(super) flags: MountAttrFlags,
}

impl Erofs<'_> {
    /// Mounts it, attached nowhere.
    ///
    /// The kernel looks two paths up, as the thread that mounts would. So that one has the folder
    /// of the one as its root, and that of the other as its directory; which is which follows from
    /// the image's name, which is to be seen in mount tables.
    pub(super) fn mount(&self) -> Result<Place, NoPages> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("mount".to_owned())
                .spawn_scoped(scope, || self.mount_here())
                .map_err(NoPages::io("a thread"))?;
            thread.join().unwrap_or_else(|_| {
                let broken = std::io::Error::other("its thread broke off");
                Err(NoPages::io(EROFS)(broken))
            })
        })
    }

    #[allow(
        deprecated,
        reason = "unshare() can harm where descriptors are no longer shared, which stay so here"
    )]
    fn mount_here(&self) -> Result<Place, NoPages> {
        rustix::thread::unshare(rustix::thread::UnshareFlags::FS)
            .map_err(NoPages::step("a root of its own for a thread"))?;
        let (root, directory, device) = if self.image.starts_with('/') {
            (self.folder, self.fuse, self.device.to_owned())
        } else {
            (self.fuse, self.folder, format!("/{}", self.device))
        };
        let enter = || {
            rustix::process::fchdir(root.as_fd())?;
            rustix::process::chroot(".")?;
            rustix::process::fchdir(directory.as_fd())
        };
        enter().map_err(NoPages::step("a root of its own for a thread"))?;
        let context = rustix::mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(NoPages::step(EROFS))?;
        let set = || {
            rustix::mount::fsconfig_set_string(&context, "source", self.image)?;
            rustix::mount::fsconfig_set_string(&context, "device", device)?;
            rustix::mount::fsconfig_set_flag(&context, "ro")
        };
        set().map_err(NoPages::step(ON_FILES))?;
        rustix::mount::fsconfig_set_flag(&context, "directio").map_err(NoPages::step(DIRECT))?;
        rustix::mount::fsconfig_create(&context).map_err(NoPages::step(ON_FILES))?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.flags)
            .map(Place::from)
            .map_err(NoPages::step("an EROFS mount without a place"))
    }
}
