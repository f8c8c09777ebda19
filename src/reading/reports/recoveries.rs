//! What was had after all: transfer errors and repairs, counted, told, and the last few, to be
//! asked for.
//!
//! Guarantees: nothing here kept a reader from the signed bytes, and nothing that did is here.
//! A transfer error counts each time, a repaired chunk once, however often it is read. The log gets
//! a bounded number of events a minute. Memory is bounded, and all text is escaped.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use lru::LruCache;

use super::period::{PERIOD, Period};
use super::places::{Place, Places};
use crate::name::{Escaped, FileName};
use crate::sync::lock;

/// Recoveries remembered with all that is known about them, each place once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Bytes of a file that were had after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The file.
    pub file: FileName,
    /// The bytes, from the first to one past the last.
    pub range: Range<u64>,
    /// How they were had.
    pub by: RecoveredBy,
    /// What was wrong at first.
    pub reason: String,
}

/// How bytes were had after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredBy {
    /// The same file had them when it was read once more: the transfer was wrong, or the file was
    /// changed and changed back. Nothing tells these apart.
    SecondRead,
    /// A second place had them.
    Place(Escaped),
}

impl fmt::Display for RecoveredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecondRead => f.write_str("transfer error, right when it was read again"),
            Self::Place(name) => write!(f, "repaired from {name}"),
        }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file, range, by, ..
        } = self;
        let (start, end, reason) = (range.start, range.end, Escaped::bounded(&self.reason));
        write!(f, "\"{file}\" bytes {start} to {end}: {by}; {reason}")
    }
}

/// The recoveries of a reader.
#[derive(Default)]
pub struct Recoveries(Mutex<State>);

struct State {
    transfer_errors: u64,
    repaired: u64,
    places: Places,
    recent: LruCache<Place, Recovery>,
    period: Period,
}

impl Default for State {
    fn default() -> Self {
        Self {
            transfer_errors: 0,
            repaired: 0,
            places: Places::default(),
            recent: LruCache::new(REMEMBERED),
            period: Period::default(),
        }
    }
}

/// What to log.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Told,
    /// And nothing more for a while.
    Last,
    Nothing,
}

impl Recoveries {
    /// How often a second read of the same file gave what was signed.
    pub fn transfer_errors(&self) -> u64 {
        lock(&self.0).transfer_errors
    }

    /// Chunks that a second place gave, each once.
    pub fn repaired(&self) -> u64 {
        lock(&self.0).repaired
    }

    /// The last ones, newest first, each place once.
    pub fn recent(&self) -> Vec<Recovery> {
        let state = lock(&self.0);
        let recent = state.recent.iter();
        recent.map(|(_, recovery)| recovery.clone()).collect()
    }

    /// Takes note of a chunk.
    pub(in crate::reading) fn record(&self, recovery: &Recovery) {
        let event = lock(&self.0).event(recovery, Instant::now());
        Self::log(recovery, &event);
    }

    /// Takes note of a file that a second place proved, which no chunk was had from yet.
    pub(in crate::reading) fn record_proof(&self, recovery: &Recovery) {
        let event = lock(&self.0).told(recovery, Instant::now());
        Self::log(recovery, &event);
    }

    fn log(recovery: &Recovery, event: &Event) {
        let Recovery {
            file,
            range,
            by,
            reason,
        } = recovery;
        let (start, end, reason) = (range.start, range.end, Escaped::bounded(reason));
        match (event, by) {
            (Event::Nothing, _) => tracing::debug!(%file, start, end, %by, %reason, "recovered"),
            (Event::Told | Event::Last, RecoveredBy::SecondRead) => tracing::warn!(
                %file, start, end, %reason,
                "transfer error: what is read again is what was signed"
            ),
            (Event::Told | Event::Last, RecoveredBy::Place(place)) => tracing::warn!(
                %file, start, end, %place, %reason,
                "repaired: a second place has what was signed, the model doesn't"
            ),
        }
        if *event == Event::Last {
            tracing::warn!(
                seconds = PERIOD.as_secs(),
                "many transfer errors or repairs: no more are told for a while, but counted"
            );
        }
    }
}

impl State {
    /// Counts a recovery, and says what to tell of it.
    fn event(&mut self, recovery: &Recovery, now: Instant) -> Event {
        match recovery.by {
            RecoveredBy::SecondRead => self.transfer_errors += 1,
            RecoveredBy::Place(_) => {
                let place = (recovery.file.clone(), recovery.range.start);
                if self.places.reports(&place).is_some() {
                    return Event::Nothing;
                }
                self.places.add(place);
                self.repaired += 1;
            }
        }
        self.told(recovery, now)
    }

    fn told(&mut self, recovery: &Recovery, now: Instant) -> Event {
        let place = (recovery.file.clone(), recovery.range.start);
        self.recent.put(place, recovery.clone());
        if !self.period.has_room(now) {
            return Event::Nothing;
        }
        if self.period.take() {
            Event::Last
        } else {
            Event::Told
        }
    }
}

impl fmt::Debug for Recoveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recoveries")
            .field("transfer_errors", &self.transfer_errors())
            .field("repaired", &self.repaired())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::period::MAX_EVENTS;
    use super::*;

    fn recovery(start: u64, by: RecoveredBy) -> Recovery {
        Recovery {
            file: FileName::new("weights").unwrap(),
            range: start..start + 10,
            by,
            reason: "cut\u{1b}[2J".to_owned(),
        }
    }

    #[test]
    fn repaired_chunks_count_once_and_transfer_errors_each_time() {
        let (log, copy) = (Recoveries::default(), Escaped::new("/copy"));
        for _ in 0..3 {
            log.record(&recovery(0, RecoveredBy::Place(copy.clone())));
            log.record(&recovery(10, RecoveredBy::Place(copy.clone())));
            log.record(&recovery(20, RecoveredBy::SecondRead));
        }
        log.record_proof(&recovery(30, RecoveredBy::Place(copy)));
        assert_eq!((log.repaired(), log.transfer_errors()), (2, 3));
        assert_eq!(log.recent().len(), 4);
        let shown = log.recent()[0].to_string();
        let expected = "\"weights\" bytes 30 to 40: repaired from /copy; cut\\u{1b}[2J";
        assert_eq!(shown, expected);
    }

    #[test]
    fn however_many_there_are_the_log_is_not_filled_with_them() {
        let (log, now) = (Recoveries::default(), Instant::now());
        let event = |start| lock(&log.0).event(&recovery(start, RecoveredBy::SecondRead), now);
        let events: Vec<_> = (0..1000).map(event).collect();
        let told = events.iter().filter(|event| **event != Event::Nothing);
        assert_eq!(told.count(), MAX_EVENTS as usize);
        assert_eq!(events[MAX_EVENTS as usize - 1], Event::Last);
        assert_eq!(log.transfer_errors(), 1000);
        assert_eq!(log.recent().len(), REMEMBERED.get());
    }
}
