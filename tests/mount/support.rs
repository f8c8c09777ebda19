//! Models, hosts and mounts.
//!
//! Guarantees: nothing outlives its test. Dropping a [`Mount`] ends its mount and its daemon, and a
//! daemon that a test waits for too long is killed, which ends every wait for it. Nothing is read
//! from or left in the home of the user who runs the tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use model_fs::fs::{MountFacts, OwnerStatus, STATUS_ATTRIBUTE, Status};
use model_fs::kernel::control::{Address, Asking, is_model};
use model_fs::kernel::mountinfo::MountTable;
use model_fs::reading::ReaderStats;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::built;
use test_support::keys;
use test_support::missing::{Need, have, not_tested};
use test_support::mounted::{clear, is_mounted, scratch};
use test_support::process::{Finished, finish};
use test_support::python_env;

/// For a command: many times what it needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// For a daemon, which is considered stuck after that time.
const DAEMON_LIMIT: Duration = Duration::from_secs(300);

/// Bytes in a chunk of the tables that the program writes, and the largest blake3 file without one.
pub(crate) const CHUNK: u64 = 64 << 10;

/// The largest sha256 or blake2b file that is verified in one piece.
pub(crate) const WHOLE: u64 = 1 << 20;

/// The largest shard that is verified in one piece.
pub(crate) const SHARD: u64 = 4 << 20;

/// The kernel's answer to a program that reads a byte that can't be proved.
pub(crate) const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// The signal for a program that touches a page that can't be proved.
pub(crate) const SIGBUS: i32 = 7;

/// Ways to sign: the options of `sign`. These say nothing but digests.
pub(crate) const BLAKE3: &[&str] = &["--hash", "blake3", "--plain"];
pub(crate) const SHA256: &[&str] = &["--hash", "sha256", "--plain"];
pub(crate) const BLAKE2B: &[&str] = &["--hash", "blake2b", "--plain"];

/// As `sign` does it when told nothing: SHA-256, with sizes and BLAKE3 digests beside it.
pub(crate) const ANNOTATED: &[&str] = &[];
/// BLAKE3 with sizes.
pub(crate) const SIZED: &[&str] = &["--hash", "blake3"];

pub(crate) fn private_key() -> PathBuf {
    keys::path("p256-pkcs8.pem")
}

pub(crate) fn public_key() -> PathBuf {
    keys::path("p256-pub.pem")
}

/// Bytes that depend only on the name, and look random.
pub(crate) fn noise(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Dice(blake3::OutputReader);

impl Dice {
    pub(crate) fn new(seed: &str) -> Self {
        Self(blake3::Hasher::new().update(seed.as_bytes()).finalize_xof())
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }
}

/// A model directory, and golden copies of its files elsewhere.
pub(crate) struct Model {
    scratch: TempDir,
    /// The signed bytes.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Model {
    pub(crate) fn new<N: AsRef<str>>(files: impl IntoIterator<Item = (N, u64)>) -> Self {
        let scratch = scratch();
        let mut model = Self {
            scratch,
            files: BTreeMap::new(),
        };
        fs::create_dir(model.path()).expect("make a model");
        for (name, len) in files {
            let name = name.as_ref();
            let bytes = noise(name, usize::try_from(len).expect("fits in memory"));
            model.add(name, bytes);
        }
        model
    }

    pub(crate) fn add(&mut self, name: &str, bytes: Vec<u8>) {
        for root in [self.path(), self.scratch.path().join("golden")] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("mkdir");
            fs::write(&path, &bytes).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        }
        self.files.insert(name.to_owned(), bytes);
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("model")
    }

    /// A place beside the model.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A copy of the file that no test tampers with.
    pub(crate) fn golden(&self, name: &str) -> PathBuf {
        self.scratch.path().join("golden").join(name)
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        &self.files[name]
    }

    /// Signs on a host of its own, so that no other host profits from what was learned.
    #[track_caller]
    pub(crate) fn sign(&self, options: &[&str]) {
        let publisher = Host::anywhere();
        let mut command = publisher.command("sign");
        command.arg(self.path()).args(options);
        command.arg("--private-key").arg(private_key());
        publisher.run(&mut command).expect("sign");
    }

    /// Removes what has this name: a file, a directory or a link.
    pub(crate) fn remove(&self, name: &str) {
        let path = self.file(name);
        let gone = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        gone.unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    }

    /// Puts a file back as it was signed, as a new file.
    pub(crate) fn restore(&self, name: &str) {
        self.remove(name);
        fs::copy(self.golden(name), self.file(name)).expect("restore a file");
    }
}

/// A machine that has never seen a model: an index store of its own, and no configuration.
pub(crate) struct Host {
    home: TempDir,
}

impl Host {
    /// `None` only where the tests were switched off.
    pub(crate) fn new() -> Option<Self> {
        have(Need::Fuse).then(Self::anywhere)
    }

    /// For what needs no FUSE.
    pub(crate) fn anywhere() -> Self {
        Self { home: scratch() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where its index store is by default.
    pub(crate) fn store(&self) -> PathBuf {
        self.home().join(".cache/model-fs/index")
    }

    /// The program under test, with a verb.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(built::program());
        for variable in ["MODEL_FS_LOG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        command
            .env("HOME", self.home())
            .env("XDG_CACHE_HOME", self.home().join(".cache"))
            .arg(verb);
        command
    }

    /// Runs a command of the program, which never shows a panic.
    #[allow(clippy::unused_self, reason = "says where it runs")]
    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) -> Finished {
        let finished = finish(command, LIMIT);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        finished
    }

    /// `verb MODEL` with the usual trust, a mount in the lane that all are in.
    pub(crate) fn on_model(&self, verb: &str, model: &Path, options: &[&str]) -> Command {
        let mut command = self.command(verb);
        command.arg(model).args(options);
        if verb == "mount" && !options.contains(&"--lane") && in_pages() {
            command.args(["--lane", "pages"]);
        }
        command.arg("--public-key").arg(public_key());
        command
    }

    /// Mounts a model that must mount.
    #[track_caller]
    pub(crate) fn mount(&self, model: &Path, options: &[&str]) -> Mount {
        Mount::new(self, model, options)
    }

    /// Tries a mount that must fail, and checks that nothing is left of it.
    #[track_caller]
    pub(crate) fn mount_fails(&self, model: &Path, options: &[&str], code: i32) -> Finished {
        let mountpoint = TempDir::new().expect("make a mountpoint");
        let mut command = self.command("mount");
        command.arg(model).arg(mountpoint.path()).args(options);
        command.arg("--public-key").arg(public_key());
        let finished = self.run(&mut command);
        let left = is_mounted(mountpoint.path());
        clear(mountpoint.path());
        assert!(!left, "something is left mounted: {finished}");
        assert!(finished.stderr.starts_with("error: "), "{finished}");
        finished.expect_code(code, "mount")
    }
}

/// A mounted model, served by a daemon in the foreground.
pub(crate) struct Mount {
    mountpoint: TempDir,
    daemon: Child,
    stderr: File,
    /// Dropped with the mount, which ends the watchdog thread.
    _watchdog: Sender<()>,
}

impl Mount {
    #[track_caller]
    fn new(host: &Host, model: &Path, options: &[&str]) -> Self {
        let mountpoint = TempDir::new().expect("make a mountpoint");
        let mut command = host.on_model("mount", model, options);
        command.arg("--foreground").arg("--").arg(mountpoint.path());
        Self::of(command, mountpoint)
    }

    /// What `command` mounts, in the foreground.
    #[track_caller]
    pub(crate) fn of(mut command: Command, mountpoint: TempDir) -> Self {
        let stderr = tempfile::tempfile().expect("make a temporary file");
        let daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.try_clone().expect("duplicate a descriptor"))
            .process_group(0)
            .spawn()
            .expect("start the program");
        let pid = Pid::from_child(&daemon);
        let (sender, receiver) = channel::<()>();
        std::thread::spawn(move || {
            if receiver.recv_timeout(DAEMON_LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the daemon is killed at its time limit");
                // Everything that waits for the daemon gets an error then.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let mut mount = Self {
            mountpoint,
            daemon,
            stderr,
            _watchdog: sender,
        };
        let deadline = Instant::now() + LIMIT;
        while !mount.is_ready() {
            if let Some(status) = mount.daemon.try_wait().expect("wait for a child") {
                panic!("mount ended with {status}: {}", mount.stderr());
            }
            assert!(Instant::now() < deadline, "mount takes forever");
            std::thread::sleep(Duration::from_millis(5));
        }
        mount
    }

    /// Whether the daemon has finished its preparations, which it tells in its status.
    fn is_ready(&self) -> bool {
        is_mounted(self.path())
            && status_of(self.path())
                .is_some_and(|status| status.owner.is_some_and(|it| it.mount.is_some()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.mountpoint.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.daemon)
    }

    /// What the daemon did and met.
    pub(crate) fn status(&self) -> Status {
        status_of(self.path()).expect("a mount tells its status")
    }

    /// The part of the status that is for the user who mounted.
    pub(crate) fn owner_status(&self) -> OwnerStatus {
        self.status().owner.expect("we are the owner")
    }

    /// What was read and verified.
    pub(crate) fn stats(&self) -> ReaderStats {
        self.owner_status().stats
    }

    /// Where and how it is mounted.
    pub(crate) fn facts(&self) -> MountFacts {
        self.owner_status().mount.expect("the mount is complete")
    }

    /// Bytes that the daemon has read from anywhere, as the kernel counts them (proc(5)).
    pub(crate) fn bytes_read_by_daemon(&self) -> u64 {
        let path = format!("/proc/{}/io", self.daemon.id());
        let io = fs::read_to_string(path).expect("read the daemon's counters");
        io.lines()
            .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
            .expect("the kernel counts bytes read")
    }

    /// What the daemon has said so far.
    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr.rewind().expect("rewind");
        self.stderr.read_to_string(&mut text).expect("read");
        // The daemon writes where this descriptor stands.
        self.stderr.seek(io::SeekFrom::End(0)).expect("seek");
        text
    }

    /// Waits for the daemon to end, and returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.daemon.try_wait().expect("wait for a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the daemon doesn't end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Unmounts, after which the daemon ends without complaint.
    #[track_caller]
    pub(crate) fn unmount(mut self) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut command = Command::new(built::program());
            let finished = finish(command.arg("umount").arg(self.path()), LIMIT);
            // A process that another test is just starting has copies of all our descriptors until
            // it becomes another program, those of files in this mount included.
            if finished.stderr.contains("is in use") && Instant::now() < deadline {
                continue;
            }
            finished.expect("unmount");
            break;
        }
        assert!(!is_mounted(self.path()), "umount left the mount in place");
        assert_eq!(self.wait(), Some(0), "{}", self.stderr());
        self.stderr()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        clear(self.path());
        // Errors mean that it has ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let said = self.stderr();
        if std::thread::panicking() {
            eprintln!("--- the daemon's stderr\n{said}");
        } else {
            assert!(!said.contains("panicked"), "the daemon panicked: {said}");
        }
    }
}

/// Whether models are mounted through EROFS, which `MODEL_FS_LANE=pages` wants of all tests here.
/// Where the kernel can't, that is said, and they are mounted in FUSE.
pub(crate) fn in_pages() -> bool {
    match std::env::var("MODEL_FS_LANE") {
        Err(_) => false,
        Ok(lane) => match lane.as_str() {
            "" | "fuse" => false,
            "pages" => has_pages(),
            _ => panic!("MODEL_FS_LANE={lane}: fuse or pages"),
        },
    }
}

/// Whether models can be mounted through EROFS here.
pub(crate) fn has_pages() -> bool {
    static HAS_PAGES: OnceLock<bool> = OnceLock::new();
    *HAS_PAGES.get_or_init(|| {
        let (host, model) = (Host::anywhere(), Model::new([("file", 1)]));
        model.sign(BLAKE3);
        let mountpoint = TempDir::new().expect("make a mountpoint");
        let mut command = host.on_model("mount", &model.path(), &["--lane", "pages"]);
        command.arg("--foreground").arg("--").arg(mountpoint.path());
        let facts = Mount::of(command, mountpoint).facts();
        if let Some(reason) = &facts.not_pages {
            not_tested(&format!("mounts through EROFS: {reason}"));
        }
        facts.lane == "pages"
    })
}

/// For a test of what only FUSE has: whether to go on.
pub(crate) fn only_fuse(what: &str) -> bool {
    if in_pages() {
        not_tested(&format!("through EROFS: {what}"));
    }
    !in_pages()
}

/// The status of a mount.
fn status_of(mountpoint: &Path) -> Option<Status> {
    let table = MountTable::read().expect("read the mount table");
    let entry = table.at(mountpoint)?;
    if is_model(entry) {
        let asking = Asking::new(Address::of(entry)?).ok()?;
        return serde_json::from_slice(&asking.status().ok()?).ok();
    }
    let mut value = vec![0; 64 << 10];
    let len = rustix::fs::getxattr(mountpoint, STATUS_ATTRIBUTE, &mut value[..]).ok()?;
    serde_json::from_slice(&value[..len]).ok()
}

/// How a file is opened to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Through the kernel's page cache.
    Cached,
    /// Past the page cache.
    Direct,
}

pub(crate) fn open(path: &Path, mode: Mode) -> io::Result<File> {
    let open = |flags: OFlags| {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
    };
    match mode {
        Mode::Cached => open(OFlags::empty()),
        Mode::Direct => match open(OFlags::DIRECT) {
            // EROFS has no such reads. What is dropped from the page cache before each read is
            // asked for anew as well.
            Err(error) if in_pages() && error.kind() == io::ErrorKind::InvalidInput => {
                open(ASKED_ANEW)
            }
            opened => opened,
        },
    }
}

/// Marks a file whose cached pages are dropped before each [`pread`].
const ASKED_ANEW: OFlags = OFlags::NOATIME;

/// Up to `len` bytes from `offset`, fewer only at the end of the file.
pub(crate) fn pread(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    if in_pages() && rustix::fs::fcntl_getfl(file)?.contains(ASKED_ANEW) {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Opens, and reads a range.
pub(crate) fn read_range(path: &Path, mode: Mode, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    pread(&open(path, mode)?, offset, len)
}

/// The part of `bytes` that a read gives.
pub(crate) fn part(bytes: &[u8], offset: u64, len: usize) -> &[u8] {
    let start = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    &bytes[start..start.saturating_add(len).min(bytes.len())]
}

#[track_caller]
pub(crate) fn assert_eio<T: std::fmt::Debug>(result: io::Result<T>, what: &str) {
    match result {
        Ok(given) => panic!(
            "{what}: got {:.100} instead of an error",
            format!("{given:?}")
        ),
        Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "{what}: {error}"),
    }
}

/// A path of ours, which is UTF-8.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Fails without showing megabytes.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], signed: &[u8], what: &str) {
    assert_eq!(found.len(), signed.len(), "{what}: length");
    if let Some(at) = found.iter().zip(signed).position(|(a, b)| a != b) {
        panic!("{what}: byte {at} of {} is wrong", signed.len());
    }
}

/// A command of the system.
#[track_caller]
pub(crate) fn tool<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Finished {
    let mut command = Command::new(program);
    finish(command.env("LC_ALL", "C").args(arguments), LIMIT)
}

/// Python, without the user's own settings.
pub(crate) fn python() -> Command {
    let mut command = Command::new(python_env::interpreter());
    command.args(["-I", "-S"]);
    command
}

/// The command that runs `map.py`.
pub(crate) fn map_command() -> Command {
    let mut command = python();
    command.arg(built::repository("tests/mount/map.py"));
    command
}

/// `map.py`, which reads through memory mappings.
pub(crate) fn map<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    finish(map_command().args(arguments), LIMIT)
}
