//! `fusermount3`, the helper that mounts and unmounts for users who aren't root.
//!
//! Guarantees: no descriptor of ours but the one it needs reaches it, and no shell sees an
//! argument. Doesn't: understand its messages beyond the few that need a hint; they are passed on,
//! escaped.

use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, StatVfsMountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::place::Place;
use crate::name::Escaped;

/// The helper's names, the current one first. They are looked up in `PATH`, then in the folders
/// that hold set-user-id helpers where `PATH` doesn't name them.
const NAMES: [&str; 6] = [
    "fusermount3",
    "/usr/bin/fusermount3",
    "/bin/fusermount3",
    "/usr/local/bin/fusermount3",
    "/run/wrappers/bin/fusermount3",
    "fusermount",
];

/// Number of the descriptor that the helper finds the socket at. Giving it as standard input needs
/// no code between fork and exec.
const SOCKET_AS_STDIN: &str = "0";

/// Why the helper didn't do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    /// It isn't installed.
    #[error("fusermount3 was not found")]
    Missing,
    /// It couldn't be run, or broke off.
    #[error("cannot run fusermount3")]
    Run(#[source] io::Error),
    /// It refused, and says why. Escaped.
    #[error("{0}")]
    Refused(Escaped),
}

/// Mounts on `place` and returns the connection to the kernel.
///
/// The helper is started in that directory and told to mount on `.`. It finds the path of that by
/// itself and goes there with the user's own rights, so another directory may come in between, one
/// that the user may write to. The caller has to look where the mount came to.
pub(super) fn mount(place: &Place, options: &str) -> Result<OwnedFd, HelperError> {
    let (ours, theirs) = UnixStream::pair().map_err(HelperError::Run)?;
    let theirs = OwnedFd::from(theirs);
    run(|name| {
        let mut command = Command::new(name);
        command
            .args(["-o", options, "--", "."])
            .current_dir(place.descriptor_path())
            .env("_FUSE_COMMFD", SOCKET_AS_STDIN)
            .stdin(Stdio::from(theirs.try_clone()?));
        Ok(command)
    })?;
    // The helper has succeeded and ended, so the descriptor is in the socket, or never will be.
    drop(theirs);
    receive(&ours).map_err(HelperError::Run)
}

/// Unmounts `mountpoint`, at once or (`lazy`) out of sight now and for real once it isn't in use.
pub(super) fn unmount(mountpoint: &Path, lazy: bool) -> Result<(), HelperError> {
    run(|name| {
        let mut command = Command::new(name);
        command.arg("-u");
        if lazy {
            command.arg("-z");
        }
        command.arg("--").arg(mountpoint).stdin(Stdio::null());
        Ok(command)
    })
}

fn run(command: impl Fn(&OsStr) -> io::Result<Command>) -> Result<(), HelperError> {
    let mut denied = None;
    for name in NAMES {
        let mut command = command(name.as_ref()).map_err(HelperError::Run)?;
        // Messages are matched, so they have to be the untranslated ones.
        command.env("LC_ALL", "C").stdout(Stdio::null());
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Also where it is a folder of `PATH` that is closed to this user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied = Some(error);
                continue;
            }
            Err(error) => return Err(HelperError::Run(error)),
        };
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.trim().replace('\n', "; ");
        return Err(if text.is_empty() {
            HelperError::Run(io::Error::other(output.status.to_string()))
        } else {
            HelperError::Refused(Escaped::bounded(&text))
        });
    }
    match denied {
        Some(error) if is_set_user_id().is_some() => Err(HelperError::Run(error)),
        _ => Err(HelperError::Missing),
    }
}

/// Whether the helper gets root's rights when an ordinary user starts it; `None` if there is none.
pub(super) fn is_set_user_id() -> Option<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = NAMES.iter().find_map(|name| {
        // An absolute name stays what it is.
        let mut places = folders.iter().map(|folder| folder.join(name));
        places.find_map(|place| Some((rustix::fs::stat(&place).ok()?, place)))
    });
    let (file, place) = found?;
    let nosuid = rustix::fs::statvfs(&place)
        .is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    Some(file.st_uid == 0 && file.st_mode & Mode::SUID.as_raw_mode() != 0 && !nosuid)
}

/// Takes the descriptor that came through `socket`.
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it passed no descriptor"))
}
