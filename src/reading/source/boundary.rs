//! Where a source may not go: into mounts that this process serves itself, and into file systems
//! that aren't storage.
//!
//! Guarantees: [`Boundary::look`] says of an `O_PATH` descriptor what it is and where it lies, and
//! asks the file system's server nothing before it knows that this isn't us. Doesn't: resolve
//! paths; that is [`super::walk`]. Doesn't know a mount of ours that another file system lies over
//! (overlayfs, a second FUSE daemon): only an administrator can put one there, or a user whose
//! daemon can be killed, which lets us go.
//!
//! A thread of ours that waits for our own answer can't be woken by any signal once the request was
//! taken in (`request_wait_answer` in the kernel's `fs/fuse/dev.c`), and it keeps the connection
//! open that would have to break for that: daemon and reader would be beyond SIGKILL. So it must
//! not come to a single request.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, RwLock};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, StatxFlags};

use super::SourceError;
use crate::sync::{lock, read, wait_timeout_while, write};

/// Major and minor number of a file system, as in `stx_dev_major` and `stx_dev_minor` (statx(2)).
pub(super) type Device = (u32, u32);

/// What a descriptor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) device: Device,
    pub(super) inode: u64,
    pub(super) kind: FileType,
}

/// Devices whose kind is remembered. A model lies on a few.
const MAX_KNOWN: usize = 64;

/// How long a walk waits for the number of a mount that is about to be served: nothing but a few
/// system calls lies between.
const MOUNT_TIMEOUT: Duration = Duration::from_secs(10);

const OWN: &str = "in a mount that this process serves itself";
const SPECIAL: &str = "in a file system that isn't storage (as /proc)";

#[derive(Debug, Default)]
pub(super) struct Boundary {
    own: Mutex<Own>,
    told: Condvar,
    /// Whether it is storage, by device. A device changes its kind only with an administrator's
    /// help.
    known: RwLock<Vec<(Device, bool)>>,
}

#[derive(Debug, Default)]
struct Own {
    /// Mounts that are to come, with those that are there.
    expected: usize,
    devices: Vec<Device>,
}

impl Boundary {
    /// From now on [`settled`](Self::settled) waits until one more mount is known.
    pub(super) fn expect_mount(&self) {
        lock(&self.own).expected += 1;
    }

    /// Takes an expected mount back, which failed.
    pub(super) fn mount_failed(&self) {
        let mut own = lock(&self.own);
        own.expected = own.expected.saturating_sub(1);
        self.told.notify_all();
    }

    /// From now on nothing on `device` is looked at.
    pub(super) fn never_enter(&self, device: Device) {
        lock(&self.own).devices.push(device);
        self.told.notify_all();
    }

    /// Waits until all mounts that are expected are known. Comes before a step onto another file
    /// system.
    pub(super) fn settled(&self) -> Result<(), SourceError> {
        let unknown = |own: &mut Own| own.devices.len() < own.expected;
        let own = lock(&self.own);
        let (own, _) = wait_timeout_while(&self.told, own, MOUNT_TIMEOUT, unknown);
        if own.devices.len() < own.expected {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        Ok(())
    }

    /// What `fd` is, an `O_PATH` descriptor.
    ///
    /// # Errors
    /// [`SourceError::NotAFile`] for what lies beyond the boundary.
    pub(super) fn look(&self, fd: impl AsFd) -> Result<Place, SourceError> {
        let place = place_of(&fd)?;
        if self.is_own(place.device) {
            return Err(SourceError::NotAFile(OWN));
        }
        if !self.is_storage(place.device, &fd)? {
            return Err(SourceError::NotAFile(SPECIAL));
        }
        Ok(place)
    }

    /// Whether `device` was found to be storage before, and nothing has to be asked.
    pub(super) fn knows(&self, device: Device) -> bool {
        let known = read(&self.known);
        known.contains(&(device, true)) && !self.is_own(device)
    }

    fn is_own(&self, device: Device) -> bool {
        lock(&self.own).devices.contains(&device)
    }

    fn is_storage(&self, device: Device, fd: impl AsFd) -> Result<bool, SourceError> {
        let known = read(&self.known);
        if let Some((_, storage)) = known.iter().find(|(known, _)| *known == device) {
            return Ok(*storage);
        }
        drop(known);
        // A network file system asks its server, which may take its time.
        let kind = rustix::fs::fstatfs(fd)?.f_type;
        #[allow(
            clippy::cast_sign_loss,
            reason = "the number has 32 bits in all kernels"
        )]
        #[allow(clippy::cast_possible_truncation, reason = "the number has 32 bits")]
        let storage = !NO_STORAGE.contains(&(kind as u32));
        let mut known = write(&self.known);
        if known.len() < MAX_KNOWN && !known.iter().any(|(known, _)| *known == device) {
            known.push((device, storage));
        }
        Ok(storage)
    }
}

/// What `fd` is. Neither the device's number nor these two are ever asked of a FUSE server when the
/// caller doesn't want them synchronised (`fuse_update_get_attr`).
fn place_of(fd: impl AsFd) -> Result<Place, SourceError> {
    let stat = rustix::fs::statx(
        fd,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        StatxFlags::TYPE | StatxFlags::INO,
    )?;
    Ok(Place {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
    })
}

/// File systems whose files are the kernel's own doings: reading one may wait for ever, show what
/// only this process may see (`/proc/self/mem`), or change something. By `f_type` (statfs(2),
/// `linux/magic.h`, and the sources of those that are not in it).
const NO_STORAGE: &[u32] = &[
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x5a3c_69f0, // apparmorfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x0765_5821, // resctrl
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
    0x6265_6570, // configfs
    0x6573_5543, // fusectl
    0x1980_0202, // mqueue
    0x0000_1cd1, // devpts
    0x6c6f_6f70, // binder
    0x6e73_6673, // nsfs
    0x5049_4446, // pidfs
    0x534f_434b, // sockfs
    0x5049_5045, // pipefs
    0x0904_1934, // anonymous inodes
    0x6264_6576, // bdev
    0x454d_444d, // devmem
    0x444d_4142, // dma-buf
    0x5345_434d, // secretmem
    0x474d_454d, // guest memory
    0xabba_1974, // xenfs
    0x6759_6969, // rpc_pipefs
    0x6e66_7364, // nfsd
    0x0000_9fa1, // openpromfs
    0x0000_9fa2, // usbdevfs
    0x0a64_7361, // functionfs
    0xaee7_1ee7, // gadgetfs
    0x6f70_726f, // oprofilefs
    0x23c9_b64e, // spufs
];
