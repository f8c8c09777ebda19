//! What keeper and server say to each other, over a pair of sockets.
//!
//! Guarantees: each message comes whole, with its descriptors, or not at all. Doesn't: protect from
//! the other side; both are the same user's processes, one made by the other.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use model_fs::kernel::{Handover, HandoverFacts};
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

/// Most descriptors with one message.
const MAX_DESCRIPTORS: usize = 4;

/// Most bytes of a message: paths, and what kernel and server agreed on.
const MAX_BYTES: usize = 64 << 10;

/// What is said. A keeper may be of an earlier version than its servers, and is of no later one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Server: the model is verified, and nothing is mounted yet.
    Prepared,
    /// Keeper: mount it.
    Mount,
    /// Keeper: go on with this mount. Descriptors: see [`handover`].
    TakeOver(HandoverFacts, Upgrades),
    /// Server: what the next one takes. The same descriptors, and the device if it is needed.
    Left(HandoverFacts),
    /// Server: the mount is served.
    Serving,
    /// Server: it can't be, and this is why.
    Failed(String),
    /// Keeper: the server that was to follow failed.
    UpgradeFailed(Upgrades),
}

/// How upgrades went so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upgrades {
    /// Those that went well; of a server that takes over, its own included.
    pub(super) done: u32,
    pub(super) failed: u32,
    /// Why the last of them failed.
    pub(super) last_failed: Option<String>,
}

/// What a mount is left with. Its descriptors, in order: the connection, the directory beneath, the
/// socket for the status if the mount is one through EROFS, and the device if there is one. `None`
/// if any is missing.
pub(super) fn handover(facts: HandoverFacts, descriptors: Vec<OwnedFd>) -> Option<Handover> {
    let mut descriptors = descriptors.into_iter();
    let (connection, place) = (descriptors.next()?, descriptors.next()?);
    let listener = if facts.is_pages() {
        Some(descriptors.next()?)
    } else {
        None
    };
    Some(Handover {
        facts,
        connection,
        place,
        listener,
        device: descriptors.next(),
    })
}

/// The descriptors of `left`, in this order.
pub(super) fn descriptors(left: &Handover, with_device: bool) -> Vec<BorrowedFd<'_>> {
    let device = left.device.as_ref().filter(|_| with_device);
    let more = left.listener.iter().chain(device);
    let all = [&left.connection, &left.place].into_iter().chain(more);
    all.map(OwnedFd::as_fd).collect()
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), other))
    }

    pub(super) fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Another handle on this end.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Says `message`.
    pub(super) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(&text)];
        rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message; `None` once the other side is gone.
    pub(super) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut text = vec![0; MAX_BYTES];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        if received.flags.intersects(cut) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let message = serde_json::from_slice(&text[..received.bytes])?;
        Ok(Some((message, descriptors)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn messages_come_whole_with_their_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel::new(other);
        let (mut reader, writer) = io::pipe().unwrap();
        let many = vec![writer.as_fd(); MAX_DESCRIPTORS];
        one.send(&Message::Serving, &many).unwrap();
        one.send(&Message::Failed("x".repeat(MAX_BYTES / 2)), &[])
            .unwrap();
        drop(writer);
        let (message, descriptors) = other.receive().unwrap().unwrap();
        assert!(matches!(message, Message::Serving));
        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
        std::fs::File::from(descriptors.into_iter().next().unwrap())
            .write_all(b"through")
            .unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "through");
        let (message, descriptors) = other.receive().unwrap().unwrap();
        assert!(matches!(message, Message::Failed(_)) && descriptors.is_empty());
        drop(one);
        assert!(other.receive().unwrap().is_none());
        assert!(other.send(&Message::Mount, &[]).is_err());
    }

    #[test]
    fn too_many_descriptors_or_bytes_are_an_error() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel::new(other);
        let null = std::fs::File::open("/dev/null").unwrap();
        let many = vec![null.as_fd(); 3 * MAX_DESCRIPTORS];
        assert!(one.send(&Message::Serving, &many).is_err());
        one.send(&Message::Failed("x".repeat(MAX_BYTES)), &[])
            .unwrap();
        assert!(other.receive().is_err());
    }
}
