//! Mounting a model through EROFS, step by step.
//!
//! Guarantees: nothing is shown before the kernel was tried with an answer that is too short, and
//! before all lengths are proved; whatever fails leaves nothing behind. Doesn't: take another lane;
//! the caller may.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::adaptor::{DATA, SHORT};
use super::answers::Answers;
use super::calls::{self, Erofs};
use super::drop_ranges::{self, Failed};
use super::error::{NoPages, NotStarted};
use super::floor;
use super::half::{New, Parts};
use super::proving::prove_lengths;
use super::settings::Settings;
use crate::fs::FileSystem;
use crate::fs::data::DataFile;
use crate::fs::image::{Image, ImageDigest, ImageOptions, SCRATCH_FILE, scratch};
use crate::kernel::attach::{Attached, Target};
use crate::kernel::control::{self, Address, Control};
use crate::kernel::guarded::Requests;
use crate::kernel::handover::{Handover, HandoverFacts, Keeper, ReadsFrom};
use crate::kernel::mount_error::MountError;
use crate::kernel::new_mount;
use crate::kernel::options::{Access, Lane, MountOptions};
use crate::kernel::place::Place;
use crate::kernel::refusal::MountRefusal;
use crate::kernel::shutdown::Shutdown;
use crate::kernel::tuning::TuningReport;

/// Steps of it, as they are named where they fail.
pub(super) const CONTROL_SOCKET: &str = "a control socket";
const CONTROL_FOLDER: &str = "the folder for control sockets, /run/model-fs";

/// A mount that is to be.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Attempt<'a> {
    pub(in crate::kernel) fs: &'a Arc<FileSystem>,
    pub(in crate::kernel) mountpoint: &'a Path,
    pub(in crate::kernel) options: &'a MountOptions,
    pub(in crate::kernel) shutdown: &'a Shutdown,
}

/// A mount that is there.
pub(in crate::kernel) struct Started {
    pub(in crate::kernel) attached: Arc<Attached>,
    pub(in crate::kernel) tuning: TuningReport,
    pub(in crate::kernel) requests: Requests,
    pub(in crate::kernel) answers: Answers,
    pub(in crate::kernel) control: Control,
}

/// Mounts a model through EROFS. A `keeper` is given what another process takes to go on with it,
/// before it is attached.
pub(in crate::kernel) fn start(
    attempt: Attempt<'_>,
    keeper: &mut Option<Keeper>,
) -> Result<Started, NotStarted> {
    let Attempt { fs, options, .. } = attempt;
    may_be(fs, options)?;
    let target = Attached::check(attempt.mountpoint, options)?;
    let (parent, mountpoint) = match &target {
        Target::Directory(place, path) => {
            let parent = Place::open_no_link(&place.descriptor_path().join(".."));
            (parent, path.clone())
        }
        Target::Dead(dead) => {
            let path = dead.mountpoint();
            let parent = path.parent().unwrap_or(path);
            (Place::open_no_link(parent), path.to_owned())
        }
    };
    let parent = OwnedFd::from(parent.map_err(|source| MountError::Unusable {
        mountpoint: mountpoint.clone(),
        source,
    })?);
    prove_lengths(fs, attempt.shutdown)?;
    let data = DataFile::new(Arc::clone(fs)).map_err(NoPages::from)?;
    let image = image_of(&data, options)?;
    let (failed, told) = Failed::new();
    let answers = Answers::default();
    let parts = Parts {
        data: &data,
        answers: &answers,
        failed: &failed,
        options,
    };
    let New {
        half,
        root: fuse,
        control: breaks,
        number,
        agreed,
    } = New::make(parts, keeper.is_some())?;
    let served = half.serve()?;
    try_kernel(&fuse)?;
    let (root, settings, digest) = mount_image(&image, &fuse, options)?;
    let shown = digest.to_string();
    drop((image, fuse));
    let identity = new_mount::identify(&root).map_err(NoPages::step("an EROFS mount"))?;
    // While it is attached nowhere, and no path leads there.
    let device = (identity.device.major, identity.device.minor);
    let sources = fs.reader().sources();
    sources.for_each(|source| source.never_enter(device));
    let address = Address::pages(identity.device);
    let control = Control::new(address).map_err(NoPages::io(CONTROL_SOCKET))?;
    if let (Some(keeper), Some((handshake, device))) = (keeper.take(), agreed) {
        let facts = HandoverFacts::new(&mountpoint, identity, handshake, shown, 0);
        let left = || {
            keeper(Handover {
                facts: facts.reading_from(ReadsFrom {
                    connection: number,
                    settings: settings.number(),
                }),
                connection: served.connection.try_clone()?,
                place: parent.try_clone()?,
                device: Some(device),
                listener: Some(control.listener()?),
            })
        };
        left().map_err(MountError::Handshake)?;
    }
    let replaces = match target {
        Target::Directory(place, _) => {
            new_mount::attach(&root, &place).map_err(|errno| MountError::Kernel {
                mountpoint: mountpoint.clone(),
                source: errno.into(),
                reason: MountRefusal::of_errno(errno),
            })?;
            None
        }
        // Once all else is done.
        Target::Dead(dead) => Some((root, dead)),
    };
    let connection = (served.connection, breaks);
    let attached = Attached::of_pages(mountpoint, parent, identity, connection, replaces)?;
    let attached = Arc::new(attached);
    drop_ranges::start(told, &attached, fs).inspect_err(|_| drop(attached.detach()))?;
    served.gate.open(&attempt.shutdown.sender);
    Ok(Started {
        attached,
        tuning: settings.tune(),
        requests: served.requests,
        answers,
        control,
    })
}

/// The image of what `data` has the content of.
pub(super) fn image_of<'a>(
    data: &'a DataFile,
    options: &MountOptions,
) -> Result<Image<'a>, NoPages> {
    let user = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    let of_image = ImageOptions {
        uid: options.uid.unwrap_or(user),
        gid: options.gid.unwrap_or(group),
        umask: options.umask,
        only: (options.access != Access::Everybody).then_some(user),
    };
    Ok(Image::new(data.fs(), data.extents(), of_image)?)
}

/// What can be told without trying anything.
fn may_be(fs: &FileSystem, options: &MountOptions) -> Result<(), NoPages> {
    if options.lane != Lane::Pages {
        return Err(NoPages::NotAsked);
    }
    if fs.ends_on_violation() {
        return Err(NoPages::Lockdown);
    }
    if options.max_read.is_some() {
        return Err(NoPages::MaxRead);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(NoPages::NotRoot);
    }
    floor::check()
}

/// EROFS on the image of the model, attached nowhere.
fn mount_image(
    image: &Image<'_>,
    fuse: &Place,
    options: &MountOptions,
) -> Result<(Place, Settings, ImageDigest), NoPages> {
    let folder = calls::ramfs()?;
    let (file, name) = calls::create(&folder, &options.encoded_device_name())?;
    let digest = image.write(file)?;
    let erofs = Erofs {
        folder: &folder,
        image: &name,
        fuse,
        device: DATA,
        flags: new_mount::attributes(options.flags()),
    };
    // Which settings are those of the new mount, the kernel doesn't say.
    let _lock = control::lock_folder(0).map_err(NoPages::io(CONTROL_FOLDER))?;
    let before = Settings::all();
    let root = erofs.mount()?;
    Ok((root, Settings::new_since(&before), digest))
}

/// Shows the kernel an answer that is too short: it has to be an error to who reads. Some versions
/// make zeros of it, which nobody signed, and keep them.
fn try_kernel(fuse: &Place) -> Result<(), NoPages> {
    let what = "a try of EROFS";
    let folder = calls::ramfs()?;
    let (file, name) = calls::create(&folder, "scratch")?;
    file.write_all_at(&scratch(), 0)
        .map_err(NoPages::io(what))?;
    drop(file);
    let erofs = Erofs {
        folder: &folder,
        image: &name,
        fuse,
        device: SHORT,
        flags: MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let root = erofs.mount()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root.as_fd(), SCRATCH_FILE, flags, Mode::empty());
    let file = File::from(file.map_err(NoPages::step(what))?);
    let mut block = [0; 4096];
    match file.read_at(&mut block, 0) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(()),
        Err(error) => Err(NoPages::io(what)(error)),
        Ok(_) => Err(NoPages::Zeros),
    }
}
