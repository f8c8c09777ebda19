//! What a keeper waits for.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use super::channel::Message;

/// What the keeper waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// The server of this number said something.
    Said(u64, Message, Vec<OwnedFd>),
    /// It has ended.
    Ended(u64, io::Result<ExitStatus>),
    /// A signal.
    Signal(i32),
}
