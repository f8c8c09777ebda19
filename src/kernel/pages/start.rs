//! Mounting a model through EROFS, step by step.
//!
//! Guarantees: nothing is shown before the kernel was tried with an answer that is too short, and
//! before all lengths are proved; whatever fails leaves nothing behind. Doesn't: take another lane;
//! the caller may.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags};

use super::adaptor::{DATA, DataAdaptor, SHORT};
use super::answers::Answers;
use super::calls::{self, Erofs};
use super::control::{self, Control};
use super::drop_ranges::{self, Failed};
use super::error::NoPages;
use super::floor;
use super::gate::Gate;
use super::held::Held;
use crate::fs::data::DataFile;
use crate::fs::image::{Image, ImageOptions, SCRATCH_FILE, scratch};
use crate::fs::{FileSystem, Lengths};
use crate::kernel::attach::{Attached, Target};
use crate::kernel::guarded::{Guarded, Requests};
use crate::kernel::mount_error::{FUSE_DEVICE, MountError};
use crate::kernel::new_mount;
use crate::kernel::options::{Access, Lane, MountOptions};
use crate::kernel::place::Place;
use crate::kernel::serving::{self, ConnectionControl};
use crate::kernel::session_threads;
use crate::kernel::shutdown::{Event, Shutdown};
use crate::kernel::tuning::{self, TuningReport};

/// How long the session's threads get to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often they are looked for.
const START_STEP: Duration = Duration::from_millis(1);

/// How often it is looked whether a stop was asked for while lengths are proved.
const LENGTHS_STEP: Duration = Duration::from_millis(100);

/// How often it is said how far that is.
const PROGRESS_STEP: Duration = Duration::from_secs(10);

/// Bytes of the image that are written at a time.
const IMAGE_BUFFER: usize = 1 << 20;

/// A mount that is to be.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Attempt<'a> {
    pub(in crate::kernel) fs: &'a Arc<FileSystem>,
    pub(in crate::kernel) mountpoint: &'a Path,
    pub(in crate::kernel) options: &'a MountOptions,
    pub(in crate::kernel) is_kept: bool,
    pub(in crate::kernel) shutdown: &'a Shutdown,
}

/// A mount that is there.
pub(in crate::kernel) struct Started {
    pub(in crate::kernel) attached: Arc<Attached>,
    pub(in crate::kernel) tuning: TuningReport,
    pub(in crate::kernel) requests: Requests,
    pub(in crate::kernel) held: Held,
}

/// Why there is no mount: not in this lane, or not at all.
pub(in crate::kernel) enum NotStarted {
    Lane(NoPages),
    Mount(MountError),
}

impl From<NoPages> for NotStarted {
    fn from(error: NoPages) -> Self {
        Self::Lane(error)
    }
}

impl From<MountError> for NotStarted {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

/// Mounts a model through EROFS.
pub(in crate::kernel) fn start(attempt: Attempt<'_>) -> Result<Started, NotStarted> {
    let Attempt { fs, options, .. } = attempt;
    may_be(fs, options)?;
    if attempt.is_kept {
        return Err(NoPages::Kept.into());
    }
    let (place, mountpoint) = match Attached::check(attempt.mountpoint, options)? {
        Target::Directory(place, mountpoint) => (place, mountpoint),
        Target::Dead(_) => return Err(NoPages::InPlaceOfDead.into()),
    };
    prove_lengths(attempt)?;
    let data = DataFile::new(Arc::clone(fs)).map_err(NoPages::from)?;
    let (failed, told) = Failed::new();
    let answers = Answers::default();
    let served = Served::start(&data, &answers, failed, options)?;
    try_kernel(&served)?;
    let (root, tuning) = served.mount_image(&data, options)?;
    let identity = new_mount::identify(&root).map_err(NoPages::step("an EROFS mount"))?;
    let control = Control::new(fs, identity.device)?;
    rustix::mount::move_mount(
        &root,
        "",
        &place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .map_err(NoPages::step("attaching the mount"))?;
    drop(root);
    let connection = (served.connection, served.control);
    let attached = Attached::of_pages(mountpoint, &place, identity, connection)?;
    let attached = Arc::new(attached);
    let (weak, weak_fs) = (Arc::downgrade(&attached), Arc::downgrade(fs));
    thread::Builder::new()
        .name("drop-ranges".to_owned())
        .spawn(move || drop_ranges::drop_when_told(&told, &weak, &weak_fs))
        .map_err(MountError::Thread)
        .inspect_err(|_| drop(attached.detach()))?;
    served.gate.open(&attempt.shutdown.sender);
    Ok(Started {
        attached,
        tuning,
        requests: served.requests,
        held: Held {
            answers,
            _control: control,
        },
    })
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

/// Proves all lengths, with full passes where the lane was asked for.
fn prove_lengths(attempt: Attempt<'_>) -> Result<(), NotStarted> {
    let Attempt { fs, shutdown, .. } = attempt;
    let manifest = fs.reader().manifest();
    let mut proving = fs.prove_lengths(attempt.options.lane == Lane::Pages);
    let mut said = Instant::now();
    loop {
        match proving.go_on(LENGTHS_STEP) {
            Lengths::Proved => return Ok(()),
            Lengths::TakesPass(index) => {
                let file = manifest.at(index).name.clone();
                return Err(NoPages::TakesPass { file }.into());
            }
            Lengths::Failed(index, error) => {
                return Err(NoPages::length(&manifest.at(index).name, &error).into());
            }
            Lengths::UnderWay { left } => {
                if let Ok(Event::Stop(_)) = shutdown.events.try_recv() {
                    return Err(MountError::Interrupted.into());
                }
                if said.elapsed() >= PROGRESS_STEP {
                    said = Instant::now();
                    tracing::info!(files = left, "lengths are still being proved");
                }
            }
        }
    }
}

/// The FUSE half, served.
struct Served {
    root: Place,
    /// To end it by.
    control: ConnectionControl,
    connection: OwnedFd,
    requests: Requests,
    gate: Gate,
}

impl Served {
    fn start(
        data: &Arc<DataFile>,
        answers: &Answers,
        failed: Failed,
        options: &MountOptions,
    ) -> Result<Self, NotStarted> {
        let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
        let connection = OwnedFd::from(opened.map_err(NoPages::io(FUSE_DEVICE))?);
        let second = connection.try_clone().map_err(MountError::Descriptors)?;
        let root = calls::fuse(&connection)?;
        let device = root.device().map_err(NoPages::io("a FUSE mount"))?;
        // Ending it must be possible while everything waits for it.
        let control =
            ConnectionControl::own(device).map_err(NoPages::io("breaking FUSE connections"))?;
        let adaptor = DataAdaptor::new(Arc::clone(data), answers.clone(), failed);
        let has_async_reads = adaptor.has_async_reads();
        let adaptor = Guarded::new(adaptor);
        let requests = adaptor.requests();
        let mut config = Config::default();
        // The kernel asks as whoever reads, and lets in whom the permissions do.
        config.acl = SessionACL::All;
        config.n_threads = Some(options.threads.get());
        config.clone_fd = true;
        let session = Session::from_fd(adaptor, connection, SessionACL::All, config)
            .map_err(NoPages::io("a FUSE session"))?;
        if !has_async_reads.load(Ordering::SeqCst) {
            return Err(NoPages::NoAsyncReads.into());
        }
        let gate = Gate::default();
        let at_end = gate.clone();
        thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || at_end.end(serving::run(session)))
            .map_err(MountError::Thread)?;
        let served = Self {
            root,
            control,
            connection: second,
            requests,
            gate,
        };
        served.wait_for_threads(options.threads.get())?;
        Ok(served)
    }

    fn wait_for_threads(&self, threads: usize) -> Result<(), NoPages> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let there = session_threads::all_there(threads);
            if there.map_err(NoPages::io("the threads of a FUSE session"))? {
                return Ok(());
            }
            if self.gate.has_ended() || Instant::now() >= deadline {
                let ended = io::Error::from(io::ErrorKind::NotConnected);
                return Err(NoPages::io("the threads of a FUSE session")(ended));
            }
            thread::sleep(START_STEP);
        }
    }

    /// EROFS on the image of the model, attached nowhere.
    fn mount_image(
        &self,
        data: &DataFile,
        options: &MountOptions,
    ) -> Result<(Place, TuningReport), NoPages> {
        let folder = calls::ramfs()?;
        let (file, name) = calls::create(&folder, &options.encoded_device_name())?;
        let of_image = ImageOptions {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            others: options.access == Access::Everybody,
        };
        let image = Image::new(data.fs(), data.extents(), of_image)?;
        image.write(BufWriter::with_capacity(IMAGE_BUFFER, file))?;
        let erofs = Erofs {
            folder: &folder,
            image: &name,
            fuse: &self.root,
            device: DATA,
            flags: new_mount::attributes(options.flags()),
        };
        // Which settings are those of the new mount, the kernel doesn't say.
        let _lock = control::lock_folder()?;
        let before = settings();
        let root = erofs.mount()?;
        let mut new = settings();
        new.retain(|name| !before.contains(name));
        let file = match &new[..] {
            [one] => one.join("read_ahead_kb"),
            _ => PathBuf::from("/sys/class/bdi/erofs-N/read_ahead_kb"),
        };
        Ok((root, tuning::tune_file(file)))
    }
}

/// The settings of all EROFS mounts.
fn settings() -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir("/sys/class/bdi") else {
        return Vec::new();
    };
    let names = all.flatten().map(|entry| entry.path());
    names
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"erofs-"))
        })
        .collect()
}

/// Shows the kernel an answer that is too short: it has to be an error to who reads. Some versions
/// make zeros of it, which nobody signed, and keep them.
fn try_kernel(served: &Served) -> Result<(), NoPages> {
    let what = "a try of EROFS";
    let folder = calls::ramfs()?;
    let (file, name) = calls::create(&folder, "scratch")?;
    file.write_all_at(&scratch(), 0)
        .map_err(NoPages::io(what))?;
    drop(file);
    let erofs = Erofs {
        folder: &folder,
        image: &name,
        fuse: &served.root,
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
