//! Who is told of the end of a FUSE session: nobody, until the mount that needs it is there.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use crate::kernel::shutdown::Event;
use crate::sync::lock;

/// Where the end of a session is told.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(Sender<Event>),
    Ended(io::Result<()>),
}

impl Gate {
    /// Tells of the end.
    pub(super) fn end(&self, result: io::Result<()>) {
        let mut state = lock(&self.0);
        match &*state {
            // Fails where nothing waits for it any more.
            State::Open(sender) => drop(sender.send(Event::Ended(result))),
            State::Closed | State::Ended(_) => *state = State::Ended(result),
        }
    }

    /// From now on, and if it was the end already, `sender` is told.
    pub(super) fn open(&self, sender: &Sender<Event>) {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Open(sender.clone())) {
            State::Ended(result) => drop(sender.send(Event::Ended(result))),
            State::Closed | State::Open(_) => {}
        }
    }

    /// Whether it was the end already.
    pub(super) fn has_ended(&self) -> bool {
        matches!(&*lock(&self.0), State::Ended(_))
    }
}
