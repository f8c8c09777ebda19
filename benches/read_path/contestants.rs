//! The contestants, and mounting each afresh.
//!
//! Guarantees: all read the same bytes (hard links of one file, but for gocryptfs's own copy), so
//! that the page cache is as warm for one as for the other; each sample has a mount of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use model_fs::fs::Status;
use rustix::fs::Advice;
use test_support::bench::process::{Daemon, cpu_seconds, output, peak_memory};
use test_support::built;
use test_support::keys::write_keys;

use crate::methods::{Measured, Method};

const DATA: &str = "weights.bin";
const NOBODY: u32 = 65534;

/// How long a read takes from a slow source.
pub(crate) const SLOW: Duration = Duration::from_millis(5);

/// What a status calls the lane of [`System::Pages`].
const PAGES: &str = "pages";

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// The file itself, with nothing in between.
    Direct,
    /// The same, of a file that the page cache holds in single pages, as it does files of FUSE
    /// (seen in `/proc/kpageflags` up to Linux 6.18), where others are in folios of up to
    /// megabytes.
    SinglePages,
    /// FUSE without verification.
    Passthrough,
    Bindfs,
    Gocryptfs,
    /// A model signed with BLAKE3, its table at hand.
    Blake3,
    /// The same, mounted through EROFS.
    Pages,
    /// A model signed with SHA-256, bound on this host.
    Sha256,
    /// A model signed in shards of 1 MiB with SHA-256.
    Shards,
}

/// Where the bytes are when the clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the page cache.
    Warm,
    /// On the disk only.
    Cold,
    /// Behind a file system that takes [`SLOW`] for each read.
    Slow,
}

/// A system, a place, and who mounts and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) system: System,
    pub(crate) place: Place,
    /// As an ordinary user, for whom the kernel reads ahead 128 KiB and no more.
    pub(crate) ordinary: bool,
    /// Served by another build of the program, for comparison.
    pub(crate) other_build: bool,
}

/// What one run showed.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) measured: Measured,
    pub(crate) daemon_cpu_seconds: Option<f64>,
    pub(crate) peak_memory: Option<u64>,
    /// Bytes that the daemon read from its source.
    pub(crate) source_bytes: Option<u64>,
}

/// The models, keys and stores that contestants need.
pub(crate) struct Arena {
    folder: PathBuf,
    pub(crate) size: u64,
}

impl Arena {
    /// Makes everything in `folder` that isn't there yet.
    pub(crate) fn new(folder: &Path, size: u64, other_build: Option<&Path>) -> io::Result<Self> {
        let arena = Self {
            folder: folder.to_owned(),
            size,
        };
        fs::create_dir_all(folder)?;
        let made = folder.join("made");
        if fs::read_to_string(&made).is_ok_and(|text| text == size.to_string()) {
            arena.copy_programs(other_build)?;
            return Ok(arena);
        }
        fs::remove_dir_all(folder)?;
        for name in [
            "plain", "pages", "blake3", "sha256", "shards", "index", "slow", "mount",
        ] {
            fs::create_dir_all(folder.join(name))?;
        }
        arena.copy_programs(other_build)?;
        write_data(&folder.join("plain").join(DATA), size)?;
        write_keys(folder)?;
        for (model, arguments) in [
            ("blake3", &["--hash", "blake3"][..]),
            ("sha256", &["--hash", "sha256"]),
            ("shards", &["--hash", "sha256", "--shard-size", "1MiB"]),
        ] {
            let model = folder.join(model);
            fs::hard_link(folder.join("plain").join(DATA), model.join(DATA))?;
            output(
                arena
                    .command(false, "model-fs")
                    .arg("sign")
                    .arg(&model)
                    .arg("--private-key")
                    .arg(folder.join("key.pem"))
                    .args(arguments),
            )?;
        }
        output(
            arena
                .command(false, "model-fs")
                .arg("index")
                .arg(folder.join("sha256"))
                .args(arena.trust())
                .arg("--index-dir")
                .arg(folder.join("index")),
        )?;
        fs::write(made, size.to_string())?;
        Ok(arena)
    }

    /// Puts the programs where an ordinary user can run them.
    fn copy_programs(&self, other_build: Option<&Path>) -> io::Result<()> {
        fs::copy(std::env::current_exe()?, self.folder.join("read_path"))?;
        fs::copy(built::program(), self.folder.join("model-fs"))?;
        if let Some(other) = other_build {
            fs::copy(other, self.folder.join("other-build"))?;
        }
        Ok(())
    }

    /// Makes what gocryptfs needs; `false` where it isn't installed.
    pub(crate) fn prepare_gocryptfs(&self) -> io::Result<bool> {
        if !installed("gocryptfs") {
            return Ok(false);
        }
        let cipher = self.folder.join("gocryptfs");
        if cipher.exists() {
            return Ok(true);
        }
        fs::create_dir(&cipher)?;
        let mut command = Command::new("gocryptfs");
        output(
            command
                .args(["-init", "-q", "-extpass", "echo bench"])
                .arg(&cipher),
        )?;
        let daemon = Daemon(
            self.gocryptfs(&["-fg", "-q"])
                .stdin(Stdio::null())
                .spawn()?,
        );
        await_mount(&self.mountpoint(false))?;
        let copied = fs::copy(
            self.folder.join("plain").join(DATA),
            self.mountpoint(false).join(DATA),
        );
        output(Command::new("umount").arg(self.mountpoint(false)))?;
        daemon.finish();
        copied.map(|_| true)
    }

    fn gocryptfs(&self, options: &[&str]) -> Command {
        let mut command = Command::new("gocryptfs");
        command
            .args(options)
            .args(["-extpass", "echo bench"])
            .arg(self.folder.join("gocryptfs"))
            .arg(self.mountpoint(false));
        command
    }

    fn mountpoint(&self, ordinary: bool) -> PathBuf {
        self.folder
            .join(if ordinary { "mount-of-user" } else { "mount" })
    }

    fn trust(&self) -> [OsString; 2] {
        ["--public-key".into(), self.folder.join("key.pub").into()]
    }

    fn command(&self, ordinary: bool, program: &str) -> Command {
        let program = self.folder.join(program);
        if !ordinary {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .args(["--clear-groups", "--inh-caps=-all", "--"])
            .arg(program)
            .env("HOME", self.folder.join("home"));
        command
    }

    /// One run, from a fresh mount to its end.
    pub(crate) fn run(&self, contestant: Contestant, method: Method) -> io::Result<Sample> {
        let Contestant {
            system,
            place,
            ordinary,
            other_build,
        } = contestant;
        let model = match system {
            System::Direct | System::Passthrough | System::Bindfs => "plain",
            System::SinglePages => "pages",
            System::Gocryptfs => "gocryptfs",
            System::Blake3 | System::Pages => "blake3",
            System::Sha256 => "sha256",
            System::Shards => "shards",
        };
        let model = self.folder.join(model);
        back_memory(2 * self.size)?;
        if system == System::SinglePages {
            write_pages(&self.folder.join("plain").join(DATA), &model.join(DATA))?;
        }
        for entry in model.read_dir()? {
            let path = entry?.path();
            if path.is_file() {
                match place {
                    Place::Warm | Place::Slow => warm(&path)?,
                    Place::Cold => cool(&path)?,
                }
            }
        }
        let slow = match place {
            Place::Slow => {
                let mountpoint = self.folder.join("slow");
                let mut command = self.command(false, "read_path");
                command.arg("--serve").arg(&model).arg(&mountpoint);
                command.arg(SLOW.as_millis().to_string());
                let daemon = Daemon(command.stdin(Stdio::null()).spawn()?);
                await_mount(&mountpoint)?;
                Some((daemon, mountpoint))
            }
            Place::Warm | Place::Cold => None,
        };
        let source = slow.as_ref().map_or(&model, |(_, mountpoint)| mountpoint);
        let program = if other_build {
            "other-build"
        } else {
            "model-fs"
        };
        let sample = self.run_on(system, program, ordinary, source, method);
        if let Some((daemon, mountpoint)) = slow {
            output(Command::new("umount").arg(mountpoint))?;
            daemon.finish();
        }
        sample
    }

    fn run_on(
        &self,
        system: System,
        program: &str,
        ordinary: bool,
        source: &Path,
        method: Method,
    ) -> io::Result<Sample> {
        let mountpoint = self.mountpoint(ordinary);
        let index = self.folder.join(if ordinary { "home" } else { "index" });
        if ordinary {
            for folder in [&mountpoint, &index] {
                fs::create_dir_all(folder)?;
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
                chown(folder, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut command = match system {
            System::Direct | System::SinglePages => {
                return Ok(Sample {
                    measured: self.read(ordinary, method, &source.join(DATA))?,
                    daemon_cpu_seconds: None,
                    peak_memory: None,
                    source_bytes: None,
                });
            }
            System::Passthrough => {
                let mut command = self.command(ordinary, "read_path");
                command.arg("--serve").arg(source).arg(&mountpoint).arg("0");
                command
            }
            System::Bindfs => {
                let mut command = Command::new("bindfs");
                command.args(["-f", "-r"]).arg(source).arg(&mountpoint);
                command
            }
            System::Gocryptfs => self.gocryptfs(&["-fg", "-q", "-ro"]),
            System::Blake3 | System::Pages | System::Sha256 | System::Shards => {
                let mut command = self.command(ordinary, program);
                command
                    .args(["mount", "--foreground"])
                    .arg(source)
                    .arg(&mountpoint)
                    .args(self.trust())
                    .arg("--index-dir")
                    .arg(index);
                if system == System::Pages {
                    command.args(["--lane", "pages"]);
                }
                command
            }
        };
        let ours = matches!(
            system,
            System::Blake3 | System::Pages | System::Sha256 | System::Shards
        );
        let daemon = Daemon(
            command
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?,
        );
        // `setpriv` becomes the program, so that this is its process.
        let pid = daemon.0.id();
        await_mount(&mountpoint)?;
        let before = cpu_seconds(pid)?;
        let measured = self.read(ordinary, method, &mountpoint.join(DATA));
        let daemon_cpu_seconds = Some(cpu_seconds(pid)? - before);
        let peak_memory = peak_memory(pid);
        let source_bytes = if ours {
            let mut command = self.command(ordinary, "model-fs");
            let json = output(command.args(["status", "--json"]).arg(&mountpoint))?;
            let status: Status = serde_json::from_slice(&json)?;
            let mount = status.owner.as_ref().and_then(|owner| owner.mount.as_ref());
            if system == System::Pages && mount.is_none_or(|mount| mount.lane != PAGES) {
                return Err(io::Error::other("mounted in FUSE, not through EROFS"));
            }
            status.owner.map(|owner| owner.stats.source_bytes)
        } else {
            None
        };
        if ordinary {
            let mut command = Command::new("umount");
            output(command.arg(&mountpoint))?;
        } else {
            output(Command::new("umount").arg(&mountpoint))?;
        }
        daemon.finish();
        Ok(Sample {
            measured: measured?,
            daemon_cpu_seconds,
            peak_memory,
            source_bytes,
        })
    }

    fn read(&self, ordinary: bool, method: Method, file: &Path) -> io::Result<Measured> {
        let mut command = self.command(ordinary, "read_path");
        let method = serde_json::to_string(&method)?;
        command.arg("--read").arg(method).arg(file);
        Ok(serde_json::from_slice(&output(&mut command)?)?)
    }
}

/// Whether a program can be run.
pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn await_mount(mountpoint: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_mounted(mountpoint)? {
        if Instant::now() > deadline {
            return Err(io::Error::other("nothing was mounted in time"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_mounted(mountpoint: &Path) -> io::Result<bool> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table
        .lines()
        .any(|line| line.split(' ').nth(4).map(Path::new) == Some(mountpoint)))
}

/// Bytes that neither compression nor a sparse file can shrink.
fn write_data(path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        noise.fill(&mut block[..part]);
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    // Only what is on the disk can be dropped from memory.
    file.sync_all()
}

/// Copies a file in writes of single pages, as which they stay in the page cache.
fn write_pages(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    let mut page = [0; 4096];
    loop {
        match from.read(&mut page)? {
            0 => return to.sync_all(),
            read => to.write_all(&page[..read])?,
        }
    }
}

/// Touches memory and frees it again. Virtual machines give free memory back to their host, and the
/// first touch of each page then costs time that isn't the reader's.
fn back_memory(bytes: u64) -> io::Result<()> {
    let mut map = MmapMut::map_anon(usize::try_from(bytes).map_err(io::Error::other)?)?;
    // Not needed, but faster.
    let _ = map.advise(memmap2::Advice::HugePage);
    map.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    Ok(())
}

/// Brings a file into the page cache.
fn warm(path: &Path) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut io::sink()).map(|_| ())
}

/// Takes one file out of the page cache, and leaves all other files in it.
fn cool(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::fadvise(
        File::open(path)?,
        0,
        None,
        Advice::DontNeed,
    )?)
}
