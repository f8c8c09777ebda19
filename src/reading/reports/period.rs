//! How many events are told in a while.
//!
//! Guarantees: whatever happens, the log gets a bounded number of events a minute. Doesn't: count
//! what isn't told.

use std::time::{Duration, Instant};

/// In how long at most [`MAX_EVENTS`] are told.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Most events in a [`PERIOD`]: where a file system is gone, so are a million files.
pub(super) const MAX_EVENTS: u32 = 32;

/// The period that runs.
#[derive(Default)]
pub(super) struct Period {
    start: Option<Instant>,
    events: u32,
}

impl Period {
    /// Whether there is room for one more event.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let runs = self
            .start
            .is_some_and(|start| now.duration_since(start) < PERIOD);
        if !runs {
            (self.start, self.events) = (Some(now), 0);
        }
        self.events < MAX_EVENTS
    }

    /// Takes that room. Whether it was the last.
    pub(super) fn take(&mut self) -> bool {
        self.events += 1;
        self.events == MAX_EVENTS
    }
}
