//! The FUSE half: a file system with the data file, attached nowhere, and the session that serves
//! it.
//!
//! Guarantees: it can be ended while everything waits for it; one that is to be kept reads from a
//! device of its own, through which the kernel asks again what wasn't answered. Doesn't: look at
//! what is served.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};

use super::adaptor::DataAdaptor;
use super::answers::Answers;
use super::calls;
use super::drop_ranges::Failed;
use super::error::NoPages;
use super::gate::Gate;
use crate::fs::data::DataFile;
use crate::kernel::guarded::{Guarded, Requests};
use crate::kernel::handshake::{self, Handshake};
use crate::kernel::mount_error::FUSE_DEVICE;
use crate::kernel::options::MountOptions;
use crate::kernel::place::Place;
use crate::kernel::serving::{self, ConnectionControl};
use crate::kernel::session_threads;

/// How long the session's threads get to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often they are looked for.
const START_STEP: Duration = Duration::from_millis(1);

/// The file system that is served.
type Adaptor = Guarded<DataAdaptor>;

/// What a session is of.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) data: &'a Arc<DataFile>,
    pub(super) answers: &'a Answers,
    pub(super) failed: &'a Failed,
    pub(super) options: &'a MountOptions,
}

/// A session that isn't served yet.
pub(super) struct Half {
    session: Session<Adaptor>,
    pub(super) connection: OwnedFd,
    requests: Requests,
    threads: usize,
}

/// A session that is served.
pub(super) struct Served {
    pub(super) connection: OwnedFd,
    pub(super) requests: Requests,
    pub(super) gate: Gate,
}

/// What a kept session and the kernel agreed on, and the device that it reads from.
pub(super) type Agreed = (Handshake, OwnedFd);

/// A new one, and its root.
pub(super) struct New {
    pub(super) half: Half,
    pub(super) root: Place,
    pub(super) control: ConnectionControl,
    /// The number of the connection.
    pub(super) number: u32,
    /// Of one that is to be kept.
    pub(super) agreed: Option<Agreed>,
}

impl New {
    /// A new FUSE file system.
    pub(super) fn make(parts: Parts<'_>, is_kept: bool) -> Result<Self, NoPages> {
        let opened = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE);
        let connection = OwnedFd::from(opened.map_err(NoPages::io(FUSE_DEVICE))?);
        let root = calls::fuse(&connection)?;
        let device = root.device().map_err(NoPages::io("a FUSE mount"))?;
        // Ending it must be possible while everything waits for it.
        let control =
            ConnectionControl::own(device).map_err(NoPages::io("breaking FUSE connections"))?;
        let (half, agreed) = Half::agree(parts, connection, |adaptor, connection, mut config| {
            if !is_kept {
                config.clone_fd = true;
                let connection = connection.try_clone()?;
                let session = Session::from_fd(adaptor, connection, SessionACL::All, config)?;
                return Ok((session, None));
            }
            let (session, handshake) = Handshake::first(adaptor, connection, config)?;
            let device = session.as_fd().try_clone_to_owned()?;
            Ok((session, Some((handshake, device))))
        })?;
        if agreed
            .as_ref()
            .is_some_and(|(handshake, _)| !handshake.can_resend())
        {
            return Err(NoPages::NoResend);
        }
        Ok(Self {
            half,
            root,
            control,
            number: device.minor,
            agreed,
        })
    }
}

impl Half {
    /// One that goes on with what was agreed on the connection of another process. The kernel asks
    /// again what that one didn't answer.
    pub(super) fn again(
        parts: Parts<'_>,
        connection: OwnedFd,
        handshake: &Handshake,
    ) -> Result<(Self, OwnedFd), NoPages> {
        let (half, device) = Self::agree(parts, connection, |adaptor, connection, config| {
            let session = handshake.again(adaptor, connection, config)?;
            let device = session.as_fd().try_clone_to_owned()?;
            Ok((session, device))
        })?;
        // Before any thread takes requests in, which would be asked again then.
        handshake::resend(&half.connection).map_err(NoPages::io("having the kernel ask again"))?;
        Ok((half, device))
    }

    fn agree<T>(
        parts: Parts<'_>,
        connection: OwnedFd,
        agree: impl FnOnce(Adaptor, &OwnedFd, Config) -> io::Result<(Session<Adaptor>, T)>,
    ) -> Result<(Self, T), NoPages> {
        let Parts {
            data,
            answers,
            failed,
            options,
        } = parts;
        let adaptor = DataAdaptor::new(Arc::clone(data), answers.clone(), failed.clone());
        let has_async_reads = adaptor.has_async_reads();
        let adaptor = Guarded::new(adaptor);
        let requests = adaptor.requests();
        let threads = options.threads.get();
        let mut config = Config::default();
        // The kernel asks as whoever reads, and lets in whom the permissions do.
        config.acl = SessionACL::All;
        config.n_threads = Some(threads);
        let (session, more) =
            agree(adaptor, &connection, config).map_err(NoPages::io("a FUSE session"))?;
        if !has_async_reads.load(Ordering::SeqCst) {
            return Err(NoPages::NoAsyncReads);
        }
        let half = Self {
            session,
            connection,
            requests,
            threads,
        };
        Ok((half, more))
    }

    /// Serves it, on threads that are all there then. Its end is told to the gate.
    pub(super) fn serve(self) -> Result<Served, NoPages> {
        let Self {
            session,
            connection,
            requests,
            threads,
        } = self;
        let gate = Gate::default();
        let at_end = gate.clone();
        thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || at_end.end(serving::run(session)))
            .map_err(NoPages::io("a thread"))?;
        wait_for_threads(&gate, threads).map_err(NoPages::io("the threads of a FUSE session"))?;
        Ok(Served {
            connection,
            requests,
            gate,
        })
    }
}

fn wait_for_threads(gate: &Gate, threads: usize) -> io::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !session_threads::all_there(threads)? {
        if gate.has_ended() || Instant::now() >= deadline {
            return Err(io::ErrorKind::NotConnected.into());
        }
        thread::sleep(START_STEP);
    }
    Ok(())
}
