//! Asking a session to stop: by signal, or by a [`StopHandle`].
//!
//! Guarantees: a request made at any time after the [`Shutdown`] exists is seen, also one from
//! before the mount is there; a signal does nothing but leave such a request. Doesn't: stop
//! anything itself.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// What asked for a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A signal, by its number.
    Signal(i32),
    /// A [`StopHandle`].
    Asked,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => match signal_hook::low_level::signal_name(*number) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {number}"),
            },
            Self::Asked => f.write_str("request"),
        }
    }
}

/// What a running session waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// The kernel has ended the session, or it broke.
    Ended(io::Result<()>),
    /// A request to end it.
    Stop(StopReason),
}

/// Where stop requests arrive. Made before anything is mounted, so that no signal finds the process
/// with a mount and without a handler.
#[derive(Debug)]
pub struct Shutdown {
    pub(super) sender: Sender<Event>,
    pub(super) events: Receiver<Event>,
}

impl Shutdown {
    /// One that only its handles can trigger.
    pub fn new() -> Self {
        let (sender, events) = channel();
        Self { sender, events }
    }

    /// One that SIGTERM and SIGINT trigger too, instead of killing the process. SIGHUP has
    /// `hang_up` called, and does nothing else: service managers and log rotation send it to have
    /// logs reopened, and a terminal that goes away takes no mount along. SIGUSR1 has `tell`
    /// called, which is to say how the mount is doing. The handlers stay for as long as the process
    /// lives.
    ///
    /// # Errors
    /// When a handler can't be set or a thread can't be started.
    pub fn on_signals(
        hang_up: impl Fn() + Send + 'static,
        tell: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let (hang_up, tell) = (aside("hang-up", hang_up)?, aside("tell", tell)?);
        let sender = shutdown.sender.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for number in signals.forever() {
                    tracing::debug!(signal = number, "signal received");
                    match number {
                        SIGHUP => hang_up(),
                        SIGUSR1 => tell(),
                        // Fails once the session is over; then a signal does
                        // nothing.
                        _ => drop(sender.send(Event::Stop(StopReason::Signal(number)))),
                    }
                }
            })?;
        Ok(shutdown)
    }

    /// A handle to ask with.
    pub fn handle(&self) -> StopHandle {
        StopHandle(self.sender.clone())
    }
}

/// Has `work` done by a thread of its own, once more for all that ask while it is done: it may wait
/// for a log that nobody reads, and no request to stop may wait for that.
fn aside(name: &str, work: impl Fn() + Send + 'static) -> io::Result<impl Fn() + Send + 'static> {
    let (sender, asked) = sync_channel(1);
    thread::Builder::new()
        .name(name.into())
        .spawn(move || asked.iter().for_each(|()| work()))?;
    Ok(move || {
        // Full: it will be done after this request.
        let _ = sender.try_send(());
    })
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks a session to stop, from any thread.
#[derive(Debug, Clone)]
pub struct StopHandle(Sender<Event>);

impl StopHandle {
    /// Asks. The first request ends the session in good order, a second one at once.
    pub fn stop(&self) {
        // A session that is over needs no asking.
        let _ = self.0.send(Event::Stop(StopReason::Asked));
    }
}
