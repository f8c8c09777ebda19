//! Mounting, serving and unmounting, with a file system of one file, on a real kernel.
//!
//! Needs `/dev/fuse` and root (or `fusermount3`); see `test_support::missing` for where these
//! aren't there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};
use model_fs::kernel::mountinfo::MountTable;
use model_fs::kernel::options::Access;
use model_fs::kernel::shutdown::StopReason;
use model_fs::kernel::tuning::{Outcome, READ_AHEAD_KIB};
use model_fs::kernel::{
    FS_TYPE, MountError, MountOptions, MountSession, SessionEnd, SessionError, Shutdown,
    StopHandle, UnmountError, unmount,
};
use test_support::missing::{Need, have, not_tested};

const CONTENT: &[u8] = b"every byte of it\n";
const FILE: INodeNo = INodeNo(2);

/// One file, `file`, whose bytes the kernel is told not to keep.
#[derive(Default)]
struct OneFile {
    /// Set when the session is over and the file system was told.
    destroyed: Arc<AtomicBool>,
    /// `getattr` never answers.
    mute: bool,
    /// `init` fails.
    broken: bool,
    /// `open` panics.
    panics: bool,
}

fn attributes(ino: INodeNo) -> FileAttr {
    let file = ino == FILE;
    FileAttr {
        ino,
        size: if file { CONTENT.len() as u64 } else { 0 },
        blocks: 1,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if file {
            FileType::RegularFile
        } else {
            FileType::Directory
        },
        perm: if file { 0o444 } else { 0o555 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for OneFile {
    fn init(&mut self, _: &Request, _: &mut fuser::KernelConfig) -> std::io::Result<()> {
        if self.broken {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn destroy(&mut self) {
        self.destroyed.store(true, Ordering::SeqCst);
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "file" {
            reply.entry(&Duration::ZERO, &attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if self.mute {
            std::mem::forget(reply);
        } else {
            reply.attr(&Duration::ZERO, &attributes(ino));
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        assert!(!self.panics, "as if an open had a bug");
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let start = usize::try_from(offset).unwrap().min(CONTENT.len());
        let end = (start + size as usize).min(CONTENT.len());
        reply.data(&CONTENT[start..end]);
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset == 0 {
            let _full = reply.add(FILE, 1, FileType::RegularFile, "file");
        }
        reply.ok();
    }
}

/// A served mount in a temporary directory.
struct Mounted {
    dir: tempfile::TempDir,
    mountpoint: PathBuf,
    destroyed: Arc<AtomicBool>,
    stop: StopHandle,
    end: Receiver<Result<SessionEnd, SessionError>>,
}

impl Mounted {
    fn new() -> Self {
        Self::with(Duration::from_secs(60), |_| {})
    }

    fn with(grace: Duration, change: impl FnOnce(&mut MountOptions)) -> Self {
        Self::of(OneFile::default(), grace, change)
    }

    fn of(filesystem: OneFile, grace: Duration, change: impl FnOnce(&mut MountOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mountpoint = dir.path().canonicalize().unwrap().join("mount point");
        std::fs::create_dir(&mountpoint).unwrap();
        let mut options = MountOptions::new("/models/a,b c");
        options.grace = grace;
        change(&mut options);
        let destroyed = Arc::clone(&filesystem.destroyed);
        let shutdown = Shutdown::new();
        let stop = shutdown.handle();
        let session = MountSession::start(filesystem, &mountpoint, &options, shutdown).unwrap();
        assert_eq!(session.mountpoint(), mountpoint);
        let (ended, end) = channel();
        thread::spawn(move || ended.send(session.wait()));
        Self {
            dir,
            mountpoint,
            destroyed,
            stop,
            end,
        }
    }

    fn file(&self) -> PathBuf {
        self.mountpoint.join("file")
    }

    /// How the session ended. The test harness reports a hang.
    fn end(&self) -> SessionEnd {
        self.end.recv().unwrap().unwrap()
    }

    fn is_mounted(&self) -> bool {
        is_mounted(&self.mountpoint)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also after a failed assertion: the first call stops, the second one cuts off.
        self.stop.stop();
        self.stop.stop();
        let _ = self.end.recv();
        let _ = self.dir.path();
    }
}

fn is_mounted(path: &Path) -> bool {
    MountTable::read().unwrap().at(path).is_some()
}

#[test]
fn a_mount_is_served_until_it_is_unmounted() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    assert_eq!(std::fs::read(mounted.file()).unwrap(), CONTENT);
    let names: Vec<_> = std::fs::read_dir(&mounted.mountpoint)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"]);
    unmount(&mounted.mountpoint).unwrap();
    assert!(!mounted.is_mounted());
    assert_eq!(mounted.end(), SessionEnd::Unmounted);
    assert!(mounted.destroyed.load(Ordering::SeqCst));
}

#[test]
fn the_mount_table_shows_what_and_how() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::with(Duration::ZERO, |options| {
        options.parse("noexec,max_read=131072").unwrap();
    });
    let table = MountTable::read().unwrap();
    let entry = table.at(&mounted.mountpoint).unwrap();
    assert_eq!(entry.fs_type, FS_TYPE);
    assert_eq!(entry.source, "/models/a%2Cb c");
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = info
        .lines()
        .find(|line| line.contains(&format!(" {} ", entry.device)))
        .unwrap();
    for option in [
        "ro,",
        "nosuid",
        "nodev",
        "noatime",
        "noexec",
        "default_permissions",
    ] {
        assert!(line.contains(option), "{option} in {line}");
    }
    assert!(line.contains("max_read=131072"), "{line}");
    assert!(!line.contains("allow_other"), "{line}");
}

#[test]
fn writing_is_impossible() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    let error = File::options()
        .write(true)
        .open(mounted.file())
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let error = File::create(mounted.mountpoint.join("new")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn a_stop_unmounts() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    mounted.stop.stop();
    assert_eq!(mounted.end(), SessionEnd::Stopped(StopReason::Asked));
    assert!(!mounted.is_mounted());
    assert!(mounted.destroyed.load(Ordering::SeqCst));
}

#[test]
fn a_busy_mount_is_refused_to_others_and_detached_on_stop() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    let mut file = File::open(mounted.file()).unwrap();
    assert!(matches!(
        unmount(&mounted.mountpoint),
        Err(UnmountError::Busy { .. })
    ));
    assert!(mounted.is_mounted());

    mounted.stop.stop();
    while mounted.is_mounted() {
        thread::yield_now();
    }
    // The mount is detached, and yet served to programs that have files of it open.
    assert!(!mounted.file().exists());
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, CONTENT);
    drop(file);
    assert_eq!(mounted.end(), SessionEnd::Stopped(StopReason::Asked));
}

#[test]
fn grace_has_an_end() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::with(Duration::ZERO, |_| {});
    let file = File::open(mounted.file()).unwrap();
    mounted.stop.stop();
    assert_eq!(mounted.end(), SessionEnd::Aborted(StopReason::Asked));
    assert!(!mounted.is_mounted());
    // Only where the kernel lets us abort the connection; elsewhere reads fail only once the
    // process exits.
    if Path::new("/sys/fs/fuse/connections")
        .read_dir()
        .is_ok_and(|mut dir| dir.next().is_some())
    {
        assert!(file.read_at(&mut [0; 4], 0).is_err());
    }
}

#[test]
fn requests_that_nobody_answers_are_not_waited_for() {
    if !have(Need::Fuse) {
        return;
    }
    let filesystem = OneFile {
        mute: true,
        ..OneFile::default()
    };
    let mounted = Mounted::of(filesystem, Duration::from_secs(3600), |_| {});
    let path = mounted.file();
    // Only the kernel can tell that requests wait.
    if !Path::new("/sys/fs/fuse/connections")
        .read_dir()
        .is_ok_and(|mut dir| dir.next().is_some())
    {
        not_tested("requests that wait: this kernel shows no FUSE connections (fusectl)");
        return;
    }
    // Asks for attributes and gets no answer until the mount ends.
    let asking = thread::spawn(move || File::open(path).and_then(|file| file.metadata()));
    let waits = || {
        let table = MountTable::read().unwrap();
        let minor = table.at(&mounted.mountpoint).unwrap().device.minor;
        let path = format!("/sys/fs/fuse/connections/{minor}/waiting");
        std::fs::read_to_string(path).unwrap().trim() != "0"
    };
    while !waits() {
        thread::yield_now();
    }
    // Ending doesn't wait for the hour of grace; if it did, this test would seem to hang.
    mounted.stop.stop();
    assert_eq!(mounted.end(), SessionEnd::Aborted(StopReason::Asked));
    assert!(asking.join().unwrap().is_err());
}

#[test]
fn a_request_that_panics_ends_nothing_else() {
    if !have(Need::Fuse) {
        return;
    }
    let filesystem = OneFile {
        panics: true,
        ..OneFile::default()
    };
    let mounted = Mounted::of(filesystem, Duration::from_secs(60), |options| {
        options.threads = std::num::NonZeroUsize::new(2).unwrap();
    });
    // More requests than there are threads.
    for _ in 0..10 {
        let error = File::open(mounted.file()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
    assert_eq!(
        mounted.file().metadata().unwrap().len(),
        CONTENT.len() as u64
    );
    mounted.stop.stop();
    assert_eq!(mounted.end(), SessionEnd::Stopped(StopReason::Asked));
}

#[test]
fn a_second_stop_cuts_off() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    let file = File::open(mounted.file()).unwrap();
    mounted.stop.stop();
    mounted.stop.stop();
    assert_eq!(mounted.end(), SessionEnd::Aborted(StopReason::Asked));
    assert!(!mounted.is_mounted());
    drop(file);
}

#[test]
fn a_lazy_unmount_by_others_ends_with_the_last_file() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    let mounted = Mounted::new();
    let mut file = File::open(mounted.file()).unwrap();
    rustix::mount::unmount(&mounted.mountpoint, rustix::mount::UnmountFlags::DETACH).unwrap();
    file.seek(SeekFrom::Start(6)).unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, &CONTENT[6..]);
    drop(file);
    assert_eq!(mounted.end(), SessionEnd::Unmounted);
}

#[test]
fn what_is_mounted_there_later_stays() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    let first = Mounted::new();
    let file = File::open(first.file()).unwrap();
    rustix::mount::unmount(&first.mountpoint, rustix::mount::UnmountFlags::DETACH).unwrap();

    // The first session still lives, and another file system takes its place.
    let shutdown = Shutdown::new();
    let stop = shutdown.handle();
    let options = MountOptions::new("/models/other");
    let second =
        MountSession::start(OneFile::default(), &first.mountpoint, &options, shutdown).unwrap();
    first.stop.stop();
    first.stop.stop();
    assert!(matches!(first.end(), SessionEnd::Aborted(_)));
    let source = |path: &Path| {
        let table = MountTable::read().unwrap();
        table.at(path).map(|entry| entry.source.clone())
    };
    assert_eq!(source(&first.mountpoint).unwrap(), "/models/other");
    assert_eq!(std::fs::read(first.file()).unwrap(), CONTENT);
    drop(file);

    stop.stop();
    assert!(matches!(second.wait(), Ok(SessionEnd::Stopped(_))));
    assert_eq!(source(&first.mountpoint), None);
}

#[test]
fn what_is_mounted_over_it_stays() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    let mounted = Mounted::with(Duration::ZERO, |_| {});
    rustix::mount::mount(
        "over",
        &mounted.mountpoint,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    assert!(matches!(
        unmount(&mounted.mountpoint),
        Err(UnmountError::NotOurs { .. })
    ));
    mounted.stop.stop();
    let end = mounted.end();
    assert!(matches!(end, SessionEnd::Aborted(_)), "{end:?}");
    let at = |path: &Path| {
        let table = MountTable::read().unwrap();
        table.at(path).map(|entry| entry.fs_type.clone())
    };
    assert_eq!(at(&mounted.mountpoint).as_deref(), Some("tmpfs"));
    rustix::mount::unmount(&mounted.mountpoint, rustix::mount::UnmountFlags::empty()).unwrap();
    // Beneath it lies our mount, whose daemon has ended, and `umount` must work for those too.
    assert_eq!(at(&mounted.mountpoint).as_deref(), Some(FS_TYPE));
    unmount(&mounted.mountpoint).unwrap();
    assert!(!mounted.is_mounted());
}

/// What is mounted at `path`, by its source.
fn source_at(path: &Path) -> Option<std::ffi::OsString> {
    let table = MountTable::read().unwrap();
    table.at(path).map(|entry| entry.source.clone())
}

/// Two directories that keep exchanging names, as the owner of their parent directory may do.
struct Swapping {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Swapping {
    fn new(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut swaps = 0u32;
            // Ends with the names as they were.
            while !stopped.load(Ordering::Relaxed) || swaps % 2 == 1 {
                exchange(&one, &other);
                swaps += 1;
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().unwrap().join();
        assert!(joined.is_ok(), "names can't be exchanged");
    }
}

fn exchange(a: &Path, b: &Path) {
    let (here, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
    rustix::fs::renameat_with(here, a, here, b, flags).unwrap();
}

/// Takes away what a failed test leaves.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        while is_mounted(&self.0) {
            let flags = rustix::mount::UnmountFlags::DETACH;
            if rustix::mount::unmount(&self.0, flags).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_foreign_file_system_is_not_unmounted_however_names_change() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (ours, foreign) = (root.join("ours"), root.join("foreign"));
    for parent in [&ours, &foreign] {
        std::fs::create_dir_all(parent.join("mnt")).unwrap();
    }
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("foreign", foreign.join("mnt"), "tmpfs", flags, None).unwrap();
    let _unmount = Unmount(foreign.join("mnt"));
    for _ in 0..100 {
        let options = MountOptions::new("/models/m");
        let mountpoint = ours.join("mnt");
        let session =
            MountSession::start(OneFile::default(), &mountpoint, &options, Shutdown::new())
                .unwrap();
        let swapping = Swapping::new(ours.clone(), foreign.clone());
        for _ in 0..20 {
            match unmount(&mountpoint) {
                Ok(()) => break,
                Err(UnmountError::NotOurs { fs_type, .. }) => assert_eq!(fs_type, "tmpfs"),
                // The mount moved between two looks at it, or the other thread is using it.
                Err(
                    UnmountError::Moved { .. }
                    | UnmountError::Busy { .. }
                    | UnmountError::NotMounted { .. }
                    | UnmountError::Path { .. },
                ) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        drop(swapping);
        assert_eq!(source_at(&foreign.join("mnt")).unwrap(), "foreign");
        drop(session);
        assert!(!is_mounted(&mountpoint));
    }
}

#[test]
fn a_mount_comes_to_the_directory_that_was_meant_and_leaves_it_however_names_change() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (one, other) = (root.join("one"), root.join("other"));
    for parent in [&one, &other] {
        std::fs::create_dir_all(parent.join("mnt")).unwrap();
    }
    for _ in 0..100 {
        let swapping = Swapping::new(one.clone(), other.clone());
        let options = MountOptions::new("/models/m");
        let mountpoint = one.join("mnt");
        let started =
            MountSession::start(OneFile::default(), &mountpoint, &options, Shutdown::new());
        let session = started.unwrap();
        drop(session);
        drop(swapping);
        for parent in [&one, &other] {
            assert!(!is_mounted(&parent.join("mnt")));
        }
    }
}

#[test]
fn a_mount_that_was_renamed_with_a_directory_above_it_is_taken_away() {
    if !have(Need::Fuse) {
        return;
    }
    for aborted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/mnt")).unwrap();
        let options = MountOptions::new("/models/m");
        let shutdown = Shutdown::new();
        let stop = shutdown.handle();
        let mountpoint = root.join("a/mnt");
        let session =
            MountSession::start(OneFile::default(), &mountpoint, &options, shutdown).unwrap();
        std::fs::rename(root.join("a"), root.join("b")).unwrap();
        // The path now leads to another directory.
        std::fs::create_dir_all(&mountpoint).unwrap();
        assert!(is_mounted(&root.join("b/mnt")));
        if aborted {
            drop(session);
        } else {
            stop.stop();
            assert!(matches!(session.wait(), Ok(SessionEnd::Stopped(_))));
        }
        assert!(!is_mounted(&root.join("b/mnt")));
        std::fs::remove_dir(root.join("b/mnt")).unwrap();
    }
}

#[test]
fn what_the_newer_calls_cannot_mount_the_older_one_does() {
    if !have(Need::Fuse) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mountpoint = dir.path().canonicalize().unwrap();
    // `fsconfig(2)` takes values of up to 255 bytes.
    let source = format!("/models/{}", "m".repeat(300));
    let options = MountOptions::new(&source);
    let session =
        MountSession::start(OneFile::default(), &mountpoint, &options, Shutdown::new()).unwrap();
    assert_eq!(source_at(&mountpoint).unwrap(), *source);
    let content = std::fs::read(mountpoint.join("file")).unwrap();
    assert_eq!(content, CONTENT);
    drop(session);
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn a_mount_is_unmounted_through_a_link_and_by_a_path_with_dots() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    let link = mounted.dir.path().join("link");
    std::os::unix::fs::symlink("mount point", &link).unwrap();
    // The directory above isn't a mount, though it holds one.
    assert!(matches!(
        unmount(mounted.dir.path()),
        Err(UnmountError::NotMounted { .. })
    ));
    unmount(&mounted.dir.path().join("mount point/../link/.")).unwrap();
    assert!(!mounted.is_mounted());
}

#[test]
fn a_dropped_session_is_unmounted() {
    if !have(Need::Fuse) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mountpoint = dir.path().canonicalize().unwrap();
    let options = MountOptions::new("/models/m");
    let session =
        MountSession::start(OneFile::default(), &mountpoint, &options, Shutdown::new()).unwrap();
    assert!(is_mounted(&mountpoint));
    drop(session);
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn a_file_system_that_fails_to_start_leaves_nothing() {
    if !have(Need::Fuse) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mountpoint = dir.path().canonicalize().unwrap();
    let filesystem = OneFile {
        broken: true,
        ..OneFile::default()
    };
    let options = MountOptions::new("/models/m");
    let error =
        MountSession::start(filesystem, &mountpoint, &options, Shutdown::new()).unwrap_err();
    assert!(matches!(error, MountError::Handshake(_)), "{error:?}");
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn a_stop_before_the_first_answer_leaves_nothing() {
    if !have(Need::Fuse) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mountpoint = dir.path().canonicalize().unwrap();
    let filesystem = OneFile {
        mute: true,
        ..OneFile::default()
    };
    let shutdown = Shutdown::new();
    shutdown.handle().stop();
    let options = MountOptions::new("/models/m");
    let error = MountSession::start(filesystem, &mountpoint, &options, shutdown).unwrap_err();
    assert!(matches!(error, MountError::Interrupted), "{error:?}");
    assert!(!is_mounted(&mountpoint));
}

#[test]
fn mountpoints_that_cannot_be_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let model = root.join("model");
    std::fs::create_dir_all(model.join("sub")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    std::os::unix::fs::symlink("model/sub", root.join("link")).unwrap();
    let attempt = |path: &Path| {
        let options = MountOptions::new(&model);
        MountSession::start(OneFile::default(), path, &options, Shutdown::new()).unwrap_err()
    };
    let error = attempt(&root.join("missing"));
    assert!(matches!(error, MountError::Missing { .. }), "{error:?}");
    let error = attempt(&root.join("file"));
    assert!(
        matches!(error, MountError::NotADirectory { .. }),
        "{error:?}"
    );
    for inside in ["model", "model/sub", "link", "."] {
        let error = attempt(&root.join(inside));
        assert!(matches!(error, MountError::Overlap { .. }), "{error:?}");
    }
}

#[test]
fn mounting_twice_is_refused_and_the_first_stays() {
    if !have(Need::Fuse) {
        return;
    }
    let mounted = Mounted::new();
    let options = MountOptions::new("/models/m");
    let again = MountSession::start(
        OneFile::default(),
        &mounted.mountpoint,
        &options,
        Shutdown::new(),
    );
    let error = again.unwrap_err();
    assert!(
        matches!(error, MountError::AlreadyMounted { .. }),
        "{error:?}"
    );
    assert_eq!(std::fs::read(mounted.file()).unwrap(), CONTENT);
}

#[test]
fn read_ahead_is_raised_or_the_report_says_how() {
    if !have(Need::Fuse) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = MountOptions::new("/models/m");
    let session =
        MountSession::start(OneFile::default(), dir.path(), &options, Shutdown::new()).unwrap();
    let report = session.tuning();
    match report.read_ahead {
        Outcome::Raised { .. } | Outcome::Enough => {
            let now = std::fs::read_to_string(&report.read_ahead_file).unwrap();
            assert_eq!(now.trim(), READ_AHEAD_KIB.to_string());
            assert_eq!(report.command(), None);
        }
        Outcome::Refused { .. } => {
            assert!(report.command().unwrap().contains("read_ahead_kb"));
            assert!(
                report
                    .shortfall()
                    .unwrap()
                    .contains(&READ_AHEAD_KIB.to_string())
            );
        }
    }
}

#[test]
fn access_reaches_the_kernel() {
    if !have(Need::Fuse) || !have(Need::Root) {
        return;
    }
    for (option, access) in [
        ("allow_other", Access::Everybody),
        ("allow_root", Access::OwnerAndRoot),
    ] {
        let mounted = Mounted::with(Duration::ZERO, |options| {
            options.parse(option).unwrap();
            assert_eq!(options.access, access);
        });
        let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let table = MountTable::read().unwrap();
        let device = table.at(&mounted.mountpoint).unwrap().device;
        let line = info
            .lines()
            .find(|line| line.contains(&format!(" {device} ")))
            .unwrap();
        assert!(line.contains("allow_other"), "{line}");
    }
}
