//! A key to sign with, and mounts by the program itself, in the background as users have them.
//!
//! Guarantees: dropping a [`Mount`] ends its mount, and its daemon if that doesn't end by itself.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model_fs::manifest::{Description, Manifest, ManifestFile, ModelShape};
use model_fs::name::FileName;
use model_fs::oms::key::PrivateKey;
use model_fs::oms::sign::Compat;
use model_fs::reading::table::shipped;
use rustix::process::{Pid, Signal, kill_process};

use crate::built;
use crate::keys::write_keys;

/// What a signature is called in a model.
const SIGNATURE: &str = "model.sig";

/// A folder with a key, an index store and a mountpoint.
pub struct Host {
    folder: PathBuf,
    key: PrivateKey,
}

impl Host {
    pub fn new(folder: &Path) -> io::Result<Self> {
        for name in ["index", "mount"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let path = folder.join("key.pem");
        if !path.exists() {
            write_keys(folder)?;
        }
        let pem = fs::read(&path)?;
        Ok(Self {
            folder: folder.to_owned(),
            key: PrivateKey::from_pem(&pem, None).map_err(io::Error::other)?,
        })
    }

    /// The index store.
    pub fn index(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// Signs files and puts the signature into the model.
    pub fn sign(&self, model: &Path, files: Vec<ManifestFile>) -> io::Result<()> {
        let serialization = files[0].content.serialization();
        let ignore = [SIGNATURE, shipped::DIRECTORY].map(FileName::new);
        let description = Description {
            subject_name: "bench".to_owned(),
            shape: ModelShape::Directory,
            serialization,
            allow_symlinks: false,
            ignore_paths: ignore
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(io::Error::other)?,
        };
        let bundle = Manifest::new(description, files)
            .map_err(io::Error::other)?
            .sign(&self.key, Compat::Specification)
            .map_err(io::Error::other)?;
        fs::write(model.join(SIGNATURE), bundle)
    }

    /// Mounts a model: the command returns when the mount answers.
    pub fn mount(&self, model: &Path) -> io::Result<Mount> {
        self.mount_with(model, &self.index(), &[])
    }

    /// The same with another index store, and more options.
    pub fn mount_with(
        &self,
        model: &Path,
        index: &Path,
        options: &[OsString],
    ) -> io::Result<Mount> {
        let mountpoint = self.folder.join("mount");
        let mut command = Command::new(built::program());
        command
            .arg("mount")
            .arg(model)
            .arg(&mountpoint)
            .arg("--public-key")
            .arg(self.folder.join("key.pub"))
            .arg("--index-dir")
            .arg(index)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        let status = command.status()?;
        let taken = started.elapsed();
        if !status.success() {
            return Err(io::Error::other(format!("{command:?}: {status}")));
        }
        Ok(Mount {
            pid: daemon_of(&mountpoint)?,
            mountpoint,
            taken,
        })
    }
}

/// A mounted model.
pub struct Mount {
    pub mountpoint: PathBuf,
    pub pid: u32,
    /// How long the command took.
    pub taken: Duration,
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever has to take note of its end may take a while.
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        // What was read just now may keep the mount busy for a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut command = Command::new("umount");
            let quiet = command.arg(&self.mountpoint).stderr(Stdio::null());
            if ended() || quiet.status().is_ok_and(|status| status.success()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        while Instant::now() < deadline && !ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed())
            && !ended()
        {
            // Fails only for a process that is gone.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The process that serves a mountpoint: the one that was started for it.
fn daemon_of(mountpoint: &Path) -> io::Result<u32> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        if program.ends_with(b"model-fs")
            && words.any(|word| word == mountpoint.as_os_str().as_bytes())
        {
            return Ok(pid);
        }
    }
    Err(io::Error::other("the daemon isn't there"))
}
