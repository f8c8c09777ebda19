//! A session: a mounted file system being served, from the first answer to the last.
//!
//! Guarantees:
//! - [`MountSession::start`] returns when the kernel and the file system talk and every thread that
//!   is to serve is there, or with nothing left mounted.
//! - A request in which the file system panics gets an error, and everything else goes on. A
//!   session of which a thread has ended is ended.
//! - Once a stop was asked for, the mount leaves the namespace first of all, busy or not, so that
//!   no new program comes in. Files that are open are served for the grace period; then they get
//!   errors, at once if requests wait and none is answered.
//! - [`MountSession::wait`] returns in bounded time after a stop was asked for, whatever the file
//!   system is stuck in.
//!
//! Doesn't: end threads that are stuck in the file system. They, and the connection where the
//! kernel offers no other way to break it, end with the process; so a program should exit soon
//! after `wait`. A process that is killed leaves a dead mount, which [`unmount`](super::unmount())
//! removes, and another session on the same mountpoint replaces.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Config, Filesystem, Session};
use rustix::io::Errno;

use super::attach::Attached;
use super::control::Control;
use super::guarded::{Guarded, Requests};
use super::handover::{Handover, HandoverFacts, Keeper, Keeping};
use super::handshake::{self, Handshake};
use super::mount_error::MountError;
use super::mountinfo::DeviceId;
use super::options::MountOptions;
use super::page_cache::PageCache;
use super::pages::{self, Started};
use super::serving::{self, ConnectionControl};
use super::session_threads;
use super::shutdown::{Event, Shutdown, StopReason};
use super::tuning::{self, TuningReport};
use crate::name::Escaped;

/// How long threads get to notice that the connection is gone.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the session's threads get to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often they are looked for while they start.
const START_STEP: Duration = Duration::from_millis(1);

/// How often it is looked whether they are all there still.
const WATCH_STEP: Duration = Duration::from_secs(10);

/// After this time without any answer, requests that wait count as stuck.
const STUCK: Duration = Duration::from_secs(2);

/// How often it is looked whether any was answered.
const STUCK_STEP: Duration = Duration::from_millis(100);

/// A served mount.
#[derive(Debug)]
pub struct MountSession {
    attached: Arc<Attached>,
    shutdown: Shutdown,
    tuning: TuningReport,
    /// Of a mount in FUSE.
    page_cache: Option<PageCache>,
    /// Of a mount through EROFS.
    pages: Option<pages::Answers>,
    /// The socket that tells the status, where there is one.
    control: Option<Control>,
    requests: Requests,
    threads: usize,
    grace: Duration,
    /// The kernel has ended it, so there is nothing to take away.
    ended: bool,
    /// All that could fail before it was of use has gone well.
    is_waited_for: bool,
}

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was unmounted.
    Unmounted,
    /// A stop was asked for, and all files were closed in time.
    Stopped(StopReason),
    /// A stop was asked for, and files that were still open broke.
    Aborted(StopReason),
}

impl MountSession {
    /// Mounts `filesystem` on `mountpoint` and serves it on threads of its own.
    ///
    /// A stop that `shutdown` receives meanwhile ends the attempt.
    pub fn start<F: Filesystem>(
        filesystem: F,
        mountpoint: &Path,
        options: &MountOptions,
        shutdown: Shutdown,
    ) -> Result<Self, MountError> {
        let shown = String::new();
        let this = Self::start_or_go_on(
            filesystem,
            mountpoint,
            options,
            shutdown,
            Keeping::No,
            shown,
        )?;
        this.show()?;
        Ok(this)
    }

    /// [`start`](Self::start), or going on with what another process served; then `mountpoint`
    /// isn't looked at. `shown` stands for all that the kernel is told and believes.
    pub(super) fn start_or_go_on<F: Filesystem>(
        filesystem: F,
        mountpoint: &Path,
        options: &MountOptions,
        shutdown: Shutdown,
        keeping: Keeping,
        shown: String,
    ) -> Result<Self, MountError> {
        let (attached, connection, before, keeper) = match keeping {
            Keeping::No => {
                let (attached, connection) = Attached::new(mountpoint, options)?;
                (attached, connection, None, None)
            }
            Keeping::Kept(keeper) => {
                let (attached, connection) = Attached::new(mountpoint, options)?;
                (attached, connection, None, Some(keeper))
            }
            Keeping::TakeOver(handover, keeper) => {
                let Handover {
                    facts,
                    connection,
                    place,
                    device: _,
                    listener: _,
                } = *handover;
                if facts.shown != shown {
                    return Err(MountError::AnotherModel {
                        mountpoint: facts.mountpoint(),
                    });
                }
                let processes = facts.next_or_end()?;
                let (identity, path) = (facts.identity(), facts.mountpoint());
                let control = ConnectionControl::usual(identity.device);
                let attached = Attached::take_over(identity, (&connection, control), place, path)?;
                (attached, connection, Some((facts, processes)), Some(keeper))
            }
        };
        let mut config = Config::default();
        config.acl = options.acl();
        config.n_threads = Some(options.threads.get());
        let filesystem = Guarded::new(filesystem);
        let requests = filesystem.requests();
        let is_taken_over = before.is_some();
        let session = match keeper {
            None => {
                config.clone_fd = serving::can_clone();
                Session::from_fd(filesystem, connection, options.acl(), config)
            }
            Some(keeper) => keep(
                filesystem,
                &attached,
                &connection,
                config,
                before,
                shown,
                keeper,
            ),
        };
        // From here on the mount is there, so every way out has to take it away: after `Self` is
        // made, dropping it does.
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                // What another process served may go on with a third.
                if !is_taken_over {
                    detach_or_warn(&attached);
                }
                return Err(MountError::Handshake(error));
            }
        };
        let this = Self {
            // The answer to the first request has set the kernel's values; now they can be raised.
            tuning: tuning::tune(attached.device()),
            page_cache: Some(PageCache::new(session.notifier())),
            pages: None,
            control: None,
            attached: Arc::new(attached),
            shutdown,
            requests,
            threads: options.threads.get(),
            grace: options.grace,
            ended: false,
            is_waited_for: false,
        };
        let sender = this.shutdown.sender.clone();
        thread::Builder::new()
            .name("session".into())
            // Sending fails where the session isn't waited for any more.
            .spawn(move || drop(sender.send(Event::Ended(serving::run(session)))))
            .map_err(MountError::Thread)?;
        this.check_started()?;
        Ok(this)
    }

    /// Takes the place of the dead mount that is on the mountpoint. Where none was, the session is
    /// there already, and nothing is done.
    ///
    /// # Errors
    /// When the dead mount has changed meanwhile, or can't be replaced.
    pub fn show(&self) -> Result<(), MountError> {
        self.attached.take_place()
    }

    /// A mount through EROFS, whose threads are all there.
    pub(super) fn of_pages(started: Started, options: &MountOptions, shutdown: Shutdown) -> Self {
        let Started {
            attached,
            tuning,
            requests,
            answers,
            control,
        } = started;
        Self {
            attached,
            shutdown,
            tuning,
            page_cache: None,
            pages: Some(answers),
            control: Some(control),
            requests,
            threads: options.threads.get(),
            grace: options.grace,
            ended: false,
            is_waited_for: false,
        }
    }

    /// Waits until every thread of the session is there, which takes descriptors and processes that
    /// may run out. An error if that fails, or a stop was asked for meanwhile.
    ///
    /// Kernel and file system have agreed on how to talk (`FUSE_INIT`) by now, and the session's
    /// threads answer whatever comes. Looking into the mount from here would prove no more and be a
    /// trap: a process that waits for its own file system can't be killed.
    fn check_started(&self) -> Result<(), MountError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // Asked before the look, so that what ended meanwhile isn't missed.
            let there = session_threads::all_there(self.threads);
            let there = there.map_err(|error| self.not_started(error))?;
            let wait = if there { Duration::ZERO } else { START_STEP };
            match self.shutdown.events.recv_timeout(wait) {
                Ok(Event::Stop(_)) => return Err(MountError::Interrupted),
                Ok(Event::Ended(Err(error))) => return Err(self.not_started(error)),
                Ok(Event::Ended(Ok(()))) => {
                    return Err(MountError::Handshake(io::ErrorKind::NotConnected.into()));
                }
                Err(_) if there => return Ok(()),
                Err(_) if Instant::now() >= deadline => {
                    return Err(MountError::Handshake(io::ErrorKind::TimedOut.into()));
                }
                Err(_) => {}
            }
        }
    }

    fn not_started(&self, error: io::Error) -> MountError {
        let threads = self.threads;
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => MountError::Descriptors(error),
            Some(Errno::AGAIN | Errno::NOMEM) => MountError::Thread(error),
            _ => {
                tracing::debug!(threads, "the session ended while it started");
                MountError::Handshake(error)
            }
        }
    }

    /// Where it is mounted: absolute, without links.
    pub fn mountpoint(&self) -> &Path {
        self.attached.mountpoint()
    }

    /// The number of the mounted file system.
    pub fn device(&self) -> DeviceId {
        self.attached.device()
    }

    /// What was done to make it fast.
    pub fn tuning(&self) -> &TuningReport {
        &self.tuning
    }

    /// A way to put pages into the kernel's cache before they are asked for. It keeps the
    /// connection open, also beyond the end of the session. `None` for a mount through EROFS, whose
    /// pages are its own.
    pub fn page_cache(&self) -> Option<PageCache> {
        self.page_cache.clone()
    }

    /// The socket that tells the status, until the session has ended.
    pub(super) fn control(&mut self) -> &mut Option<Control> {
        &mut self.control
    }

    /// A way to ask whether the file system exists, which doesn't keep it.
    pub(super) fn stands(&self) -> impl Fn() -> bool + Send + use<> {
        let attached = Arc::downgrade(&self.attached);
        move || attached.upgrade().is_some_and(|it| it.is_connected())
    }

    /// Whether the model is shown through EROFS.
    pub fn is_pages(&self) -> bool {
        self.pages.is_some()
    }

    /// Takes the mount out of the namespace. That of EROFS may have to wait for answers, so it is
    /// another thread that does.
    fn detach(&self) {
        if self.pages.is_none() {
            return detach_or_warn(&self.attached);
        }
        let attached = Arc::clone(&self.attached);
        let spawned = thread::Builder::new()
            .name("detach".into())
            .spawn(move || detach_or_warn(&attached));
        if spawned.is_err() {
            self.cut_off();
            detach_or_warn(&self.attached);
        }
    }

    /// Answers what waits with errors, where something may wait for that which can't be killed.
    fn cut_off(&self) {
        if let Some(pages) = &self.pages {
            pages.cut_off();
        }
    }

    /// Waits until the kernel ends the session or a stop is asked for, and then brings it to its
    /// end.
    pub fn wait(mut self) -> Result<SessionEnd, SessionError> {
        self.is_waited_for = true;
        let reason = match self.next_event() {
            Event::Ended(result) => return self.end(result, SessionEnd::Unmounted),
            Event::Stop(reason) => reason,
        };
        tracing::info!(%reason, mountpoint = %Escaped::path(self.mountpoint()), "unmounting");
        let started = Instant::now();
        let deadline = started + self.grace;
        self.detach();
        let mut warned = false;
        let mut progress = Progress::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.shutdown.events.recv_timeout(STUCK_STEP.min(left)) {
                Ok(Event::Ended(result)) => return self.end(result, SessionEnd::Stopped(reason)),
                Ok(Event::Stop(_)) => break,
                Err(_) => {}
            }
            // Where the kernel tells as well, it knows also what hasn't been taken in.
            let waiting = self
                .attached
                .waiting()
                .unwrap_or(0)
                .max(self.requests.waiting());
            if progress.is_stuck(waiting, self.requests.answered(), Instant::now()) {
                tracing::warn!(waiting, "requests wait and none is answered");
                break;
            }
            if !warned && started.elapsed() >= END_TIMEOUT {
                warned = true;
                tracing::warn!(
                    seconds = self.grace.as_secs(),
                    by = %self.attached.holders(),
                    "files are still open; they are served for a while"
                );
            }
        }
        Ok(self.abort(reason))
    }

    /// Waits for what ends the session. A thread of it that is gone is such a thing: requests that
    /// it had taken in will never be answered.
    fn next_event(&self) -> Event {
        let mut missed = false;
        loop {
            // They all end with the session, which is told in a moment.
            let wait = if missed { END_TIMEOUT } else { WATCH_STEP };
            if let Ok(event) = self.shutdown.events.recv_timeout(wait) {
                return event;
            }
            match session_threads::all_there(self.threads) {
                Ok(false) if missed => {
                    tracing::error!("a thread that serves the mount has ended");
                    return Event::Ended(Err(io::Error::other("a session thread has ended")));
                }
                Ok(there) => missed = !there,
                // There may be no descriptor to look with, which is no reason to end.
                Err(error) => tracing::debug!(%error, "session threads can't be looked at"),
            }
        }
    }

    fn end(mut self, result: io::Result<()>, end: SessionEnd) -> Result<SessionEnd, SessionError> {
        self.ended = true;
        match result {
            Ok(()) => Ok(end),
            Err(error) => {
                // The connection may still stand, with no thread that answers.
                self.ended = false;
                Err(SessionError(error))
            }
        }
    }

    fn abort(mut self, reason: StopReason) -> SessionEnd {
        tracing::warn!("files were still open and are cut off");
        self.cut_off();
        if self.attached.abort() {
            let deadline = Instant::now() + END_TIMEOUT;
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                match self.shutdown.events.recv_timeout(left) {
                    Ok(Event::Ended(_)) => {
                        self.ended = true;
                        break;
                    }
                    Ok(Event::Stop(_)) => {}
                    Err(_) => break,
                }
            }
        }
        SessionEnd::Aborted(reason)
    }
}

/// A session of a mount that is kept: agreed on with the kernel, now or `before`, and left with
/// `keeper` before it takes in any request.
fn keep<F: Filesystem>(
    filesystem: F,
    attached: &Attached,
    connection: &OwnedFd,
    mut config: Config,
    before: Option<(HandoverFacts, u16)>,
    shown: String,
    keeper: Keeper,
) -> io::Result<Session<F>> {
    let processes = before.as_ref().map_or(0, |(_, processes)| *processes);
    let can_resend = before.as_ref().map(|(facts, _)| facts.can_resend());
    // All threads share one device where the keeper has to hold what they read from.
    config.clone_fd = !can_resend.unwrap_or(true) && serving::can_clone();
    let (session, handshake) = match before {
        None => Handshake::first(filesystem, connection, config)?,
        Some((facts, _)) => {
            let handshake = facts.handshake().clone();
            let session = handshake.again(filesystem, connection, config)?;
            (session, handshake)
        }
    };
    let can_resend = handshake.can_resend();
    if can_resend && processes > 0 {
        // Before any thread takes requests in, which would be asked again then, and before the
        // keeper closes the device that they came in through.
        handshake::resend(connection)?;
    }
    let (connection, place) = attached.descriptors()?;
    let device = can_resend.then(|| session.as_fd().try_clone_to_owned());
    let (path, identity) = (attached.mountpoint(), attached.identity());
    keeper(Handover {
        facts: HandoverFacts::new(path, identity, handshake, shown, processes),
        connection,
        place,
        device: device.transpose()?,
        listener: None,
    })?;
    Ok(session)
}

/// Whether anything is answered.
struct Progress {
    last: Option<(u64, u64)>,
    since: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            last: None,
            since: Instant::now(),
        }
    }

    /// Whether requests have been waiting for [`STUCK`], while none was answered and none came.
    fn is_stuck(&mut self, waiting: u64, answered: u64, now: Instant) -> bool {
        let seen = Some((waiting, answered));
        if seen != self.last || waiting == 0 {
            self.last = seen;
            self.since = now;
        }
        now.saturating_duration_since(self.since) >= STUCK
    }
}

impl Drop for MountSession {
    fn drop(&mut self) {
        if !self.ended {
            self.cut_off();
            // What has failed in the place of a dead mount is left dead as well: programs that look
            // there must not meet the directory beneath all of a sudden.
            if self.is_waited_for || !self.attached.has_replaced() {
                detach_or_warn(&self.attached);
            }
            self.attached.abort();
        }
    }
}

fn detach_or_warn(attached: &Attached) {
    if let Err(error) = attached.detach() {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(
            mountpoint = %Escaped::path(attached.mountpoint()),
            %error,
            cause,
            "the mount could not be taken away"
        );
    }
}

/// A session that broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the kernel broke")]
pub struct SessionError(#[source] pub io::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_is_what_waits_without_any_answer() {
        let mut progress = Progress::new();
        let start = progress.since;
        let mut look = |seconds: u64, waiting, answered| {
            progress.is_stuck(waiting, answered, start + Duration::from_secs(seconds))
        };
        assert!(!look(0, 64, 100));
        assert!(!look(1, 64, 100));
        assert!(look(2, 64, 100));
        // One was answered, another came in its place, none waits.
        assert!(!look(3, 63, 101));
        assert!(!look(5, 64, 101));
        assert!(!look(7, 64, 102));
        assert!(!look(9, 0, 166));
        assert!(!look(11, 0, 166));
        assert!(!look(13, 1, 166));
        assert!(look(15, 1, 166));
    }
}
