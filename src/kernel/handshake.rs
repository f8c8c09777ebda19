//! The first request on a connection (`FUSE_INIT`), and a session from there on.
//!
//! The kernel asks it once. A process that goes on with the connection of another has to be made
//! believe that it is asked again: `fuser` reads the request from whatever descriptor it is given,
//! so here that is a socket, which has the request that was noted; and once it is answered, the
//! device takes the place of the socket under the same number.
//!
//! Guarantees: a session goes on only if the file system answers as the one before it did, so both
//! agree with the kernel on the same protocol. The session reads from a device of its own
//! (`FUSE_DEV_IOC_CLONE`, Linux 4.2), never from the connection itself: where another process holds
//! the connection, requests that were taken in are given up by the kernel with the devices of the
//! process that took them, instead of waiting for ever. Doesn't: agree on anything; `fuser` does.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use fuser::{Config, Filesystem, Session};
use rustix::io::{DupFlags, Errno};
use rustix::ioctl::{self, Opcode, Setter, opcode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::mount_error::FUSE_DEVICE;

/// Room for the first request, which must be as much as for any (`FUSE_MIN_READ_BUFFER`, 8 KiB),
/// and for its answer.
const ROOM: usize = 64 << 10;

/// `struct fuse_in_header` of `linux/fuse.h`, in bytes.
const REQUEST_HEADER: usize = 40;

/// `FUSE_INIT_EXT` in `flags`: there are more in `flags2`.
const INIT_EXT: u32 = 1 << 30;

/// `FUSE_HAS_RESEND`, as it lies in `flags2` (Linux 6.9).
const HAS_RESEND: u32 = 1 << (39 - 32);

/// `FUSE_NOTIFY_RESEND`.
const NOTIFY_RESEND: i32 = 7;

/// The first request, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handshake {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Handshake {
    /// A session on a new connection.
    pub(super) fn first<F: Filesystem>(
        filesystem: F,
        connection: &OwnedFd,
        config: Config,
    ) -> io::Result<(Session<F>, Self)> {
        let mut request = vec![0; ROOM];
        let len = retried(|| rustix::io::read(connection, &mut request))?;
        request.truncate(len);
        let (session, answer) = answered(filesystem, &request, config)?;
        rustix::io::write(connection, &answer)?;
        put(&session, &another(connection)?)?;
        Ok((session, Self { request, answer }))
    }

    /// A session that goes on with a connection on which this was said.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the file system answers otherwise.
    pub(super) fn again<F: Filesystem>(
        &self,
        filesystem: F,
        connection: &OwnedFd,
        config: Config,
    ) -> io::Result<Session<F>> {
        let (session, answer) = answered(filesystem, &self.request, config)?;
        if answer != self.answer {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this version talks to the kernel in another way than the one before",
            ));
        }
        put(&session, &another(connection)?)?;
        Ok(session)
    }

    /// Whether the kernel can ask again what wasn't answered.
    pub(super) fn can_resend(&self) -> bool {
        // After the version and the size of read-ahead.
        let word = |index: usize| {
            let at = REQUEST_HEADER + 4 * index;
            let bytes = self.request.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        word(3).is_some_and(|flags| flags & INIT_EXT != 0)
            && word(4).is_some_and(|flags| flags & HAS_RESEND != 0)
    }
}

/// Has the kernel ask again what was taken in and not answered. An error where it can't.
pub(super) fn resend(connection: &OwnedFd) -> io::Result<()> {
    // `struct fuse_out_header`: 16 bytes, the kind of notification, and no request.
    let parts = [
        &16_u32.to_ne_bytes()[..],
        &NOTIFY_RESEND.to_ne_bytes(),
        &0_u64.to_ne_bytes(),
    ];
    let parts = parts.map(IoSlice::new);
    rustix::io::writev(connection, &parts)?;
    Ok(())
}

/// A session that was asked `request` by a socket, which it still has, and what it answered.
fn answered<F: Filesystem>(
    filesystem: F,
    request: &[u8],
    config: Config,
) -> io::Result<(Session<F>, Vec<u8>)> {
    // Each message whole, as from the device.
    let (kernel, session) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::write(&kernel, request)?;
    let session = Session::from_fd(filesystem, session, config.acl, config)?;
    let mut answer = vec![0; ROOM];
    let len = retried(|| rustix::io::read(&kernel, &mut answer))?;
    answer.truncate(len);
    Ok((session, answer))
}

/// Another device of the connection, with requests of its own.
#[allow(unsafe_code)]
fn another(connection: &OwnedFd) -> io::Result<OwnedFd> {
    const CLONE: Opcode = opcode::read::<u32>(229, 0);
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(FUSE_DEVICE)?;
    let number = u32::try_from(connection.as_raw_fd()).unwrap_or(u32::MAX);
    // SAFETY: `FUSE_DEV_IOC_CLONE` of `linux/fuse.h` is `_IOR(229, 0, uint32_t)`: it reads the
    // number of a descriptor and writes no memory of ours.
    unsafe { ioctl::ioctl(&device, Setter::<CLONE, u32>::new(number)) }?;
    Ok(device.into())
}

/// Puts `device` in the place of the descriptor that `session` has.
#[allow(unsafe_code)]
fn put<F: Filesystem>(session: &Session<F>, device: &OwnedFd) -> io::Result<()> {
    let number = session.as_fd().as_raw_fd();
    // SAFETY: the session owns this descriptor, and is borrowed, so it is open; it isn't closed
    // here. No thread of the session uses it yet.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup3(device, &mut place, DupFlags::CLOEXEC)?;
    Ok(())
}

fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Empty;
    impl Filesystem for Empty {}

    /// The first request of Linux 6.18, as `linux/fuse.h` has it, with these flags.
    fn request(flags: u32, flags2: u32) -> Vec<u8> {
        // Length, FUSE_INIT, unique, node, user, group, process, extension.
        let header = [104, 26, 2, 0, 0, 0, 0, 0, 0, 0];
        let body = [7, 45, 128 << 10, flags, flags2];
        let words = header.into_iter().chain(body).chain([0; 11]);
        words.flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn a_session_is_asked_by_socket() {
        let asked = request(INIT_EXT, HAS_RESEND);
        let (_session, answer) = answered(Empty, &asked, Config::default()).unwrap();
        // `struct fuse_out_header`: the length, no error, the number of the request.
        assert_eq!(
            answer[..4],
            u32::try_from(answer.len()).unwrap().to_ne_bytes()
        );
        assert_eq!(answer[4..8], [0; 4]);
        assert_eq!(answer[8..16], 2_u64.to_ne_bytes());
        assert_eq!(answer[16..20], 7_u32.to_ne_bytes());
        let (_session, again) = answered(Empty, &asked, Config::default()).unwrap();
        assert_eq!(again, answer);
        assert!(answered(Empty, &asked[..50], Config::default()).is_err());
    }

    #[test]
    fn whether_the_kernel_can_ask_again_is_in_its_request() {
        let can = |flags, flags2| {
            let request = request(flags, flags2);
            let answer = Vec::new();
            Handshake { request, answer }.can_resend()
        };
        assert!(can(INIT_EXT, HAS_RESEND));
        assert!(can(INIT_EXT | 1, HAS_RESEND | 1));
        assert!(!can(INIT_EXT, 1));
        assert!(!can(1, HAS_RESEND), "there is no second word then");
        let short = Handshake {
            request: request(INIT_EXT, HAS_RESEND)[..54].to_vec(),
            answer: Vec::new(),
        };
        assert!(!short.can_resend());
    }
}
