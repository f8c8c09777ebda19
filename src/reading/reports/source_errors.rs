//! What became of errors of the source: counted, told now and then, and the last few, to be
//! asked for.
//!
//! Guarantees: every failed read or open counts, and the first of its file and kind is told at
//! once, unless a flood of others has been; whatever the source does, the log gets a bounded number
//! of events a minute. Memory is bounded, and all text is escaped. Doesn't: hold violations:
//! nothing here says that content is wrong, only that it couldn't be had.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use lru::LruCache;

use super::period::{PERIOD, Period};
use crate::name::{Escaped, FileName};
use crate::reading::source::SourceError;
use crate::sync::lock;

/// Errors remembered, each file and kind once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Content that couldn't be had.
#[derive(Debug, Clone)]
pub struct SourceFailure {
    /// The file.
    pub file: FileName,
    /// What was asked for; empty where the file couldn't be opened.
    pub range: Range<u64>,
    /// What the source says.
    pub error: SourceError,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        let error = Escaped::bounded(&self.error.to_string());
        write!(f, "\"{}\" bytes {start} to {end}: {error}", self.file)
    }
}

/// What sets one error of a file apart from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Missing,
    NotAFile(&'static str),
    /// An errno value; zero for what has none.
    Io(i32),
}

impl Kind {
    fn of(error: &SourceError) -> Self {
        match error {
            SourceError::Missing => Self::Missing,
            SourceError::NotAFile(what) => Self::NotAFile(what),
            SourceError::Io(error) => Self::Io(error.raw_os_error().unwrap_or(0)),
        }
    }
}

/// The errors of the source that a reader met.
pub struct SourceErrors(Mutex<State>);

struct State {
    count: u64,
    recent: LruCache<(FileName, Kind), Remembered>,
    period: Period,
}

struct Remembered {
    failure: SourceFailure,
    told: Option<Instant>,
    /// Since then.
    untold: u64,
}

/// What to log.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// This failure, after so many like it that weren't told.
    Told {
        untold: u64,
    },
    /// This failure, and nothing more for a while.
    Last {
        untold: u64,
    },
    Nothing,
}

impl Default for SourceErrors {
    fn default() -> Self {
        Self(Mutex::new(State {
            count: 0,
            recent: LruCache::new(REMEMBERED),
            period: Period::default(),
        }))
    }
}

impl SourceErrors {
    /// How often the source didn't give what was asked for.
    pub fn count(&self) -> u64 {
        lock(&self.0).count
    }

    /// The last failures, newest first, each file and kind once.
    pub fn recent(&self) -> Vec<SourceFailure> {
        let state = lock(&self.0);
        let failures = state.recent.iter().map(|(_, met)| met.failure.clone());
        failures.collect()
    }

    pub(super) fn record(&self, failure: &SourceFailure) {
        let event = lock(&self.0).event(failure, Instant::now());
        let SourceFailure { file, range, error } = failure;
        let (start, end) = (range.start, range.end);
        let error = Escaped::bounded(&error.to_string());
        match event {
            Event::Nothing => tracing::debug!(%file, start, end, %error, "source error, again"),
            Event::Told { untold } | Event::Last { untold } => tracing::error!(
                %file, start, end, %error, untold, "the source doesn't give what is asked of it"
            ),
        }
        if let Event::Last { .. } = event {
            tracing::error!(
                seconds = PERIOD.as_secs(),
                "many errors of the source: no more of them are told for a while, but counted"
            );
        }
    }
}

impl State {
    /// Counts a failure, and says what to tell of it.
    fn event(&mut self, failure: &SourceFailure, now: Instant) -> Event {
        self.count += 1;
        let key = (failure.file.clone(), Kind::of(&failure.error));
        let met = self.recent.get_or_insert_mut(key, || Remembered {
            failure: failure.clone(),
            told: None,
            untold: 0,
        });
        met.failure.clone_from(failure);
        let is_due = met
            .told
            .is_none_or(|told| now.duration_since(told) >= PERIOD);
        if !is_due || !self.period.has_room(now) {
            met.untold += 1;
            return Event::Nothing;
        }
        met.told = Some(now);
        let untold = std::mem::take(&mut met.untold);
        if self.period.take() {
            Event::Last { untold }
        } else {
            Event::Told { untold }
        }
    }
}

impl fmt::Debug for SourceErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceErrors")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::super::period::MAX_EVENTS;
    use super::*;

    fn failure(name: &str, error: SourceError) -> SourceFailure {
        SourceFailure {
            file: FileName::new(name).unwrap(),
            range: 0..10,
            error,
        }
    }

    #[test]
    fn the_same_error_of_the_same_file_is_told_once_a_minute() {
        let errors = SourceErrors::default();
        let start = Instant::now();
        let event = |name, error, seconds| {
            let now = start + Duration::from_secs(seconds);
            lock(&errors.0).event(&failure(name, error), now)
        };
        let told = |untold| Event::Told { untold };
        assert_eq!(event("a", SourceError::Missing, 0), told(0));
        assert_eq!(event("a", SourceError::Missing, 1), Event::Nothing);
        assert_eq!(event("b", SourceError::Missing, 2), told(0), "another file");
        let broken = SourceError::from(Errno::IO);
        assert_eq!(event("a", broken, 3), told(0), "another kind");
        assert_eq!(event("a", SourceError::Missing, 59), Event::Nothing);
        assert_eq!(event("a", SourceError::Missing, 60), told(2));
        assert_eq!(errors.count(), 6);
        assert_eq!(errors.recent().len(), 3);
        assert_eq!(errors.recent()[0].file.as_str(), "a");
    }

    #[test]
    fn a_file_system_that_is_gone_doesnt_fill_the_log() {
        let errors = SourceErrors::default();
        let start = Instant::now();
        let events = |seconds| {
            let now = start + Duration::from_secs(seconds);
            let event = |file: u32| {
                let failure = failure(&file.to_string(), SourceError::Missing);
                lock(&errors.0).event(&failure, now)
            };
            (0..10_000).map(event).collect::<Vec<_>>()
        };
        for seconds in [0, 61] {
            let events = events(seconds);
            let told = events.iter().filter(|event| **event != Event::Nothing);
            assert_eq!(told.count(), MAX_EVENTS as usize);
            let last = &events[MAX_EVENTS as usize - 1];
            assert!(matches!(last, Event::Last { .. }), "it is said");
        }
        assert_eq!(errors.count(), 20_000);
        assert_eq!(errors.recent().len(), REMEMBERED.get());
    }

    #[test]
    fn text_is_escaped_and_bounded() {
        let hostile = io::Error::other("\u{1b}[2J".repeat(10_000));
        let error = SourceError::Io(Arc::new(hostile));
        let shown = failure("a\u{202e}b", error).to_string();
        assert!(shown.starts_with("\"a\\u{202e}b\" bytes 0 to 10: \\u{1b}[2J"));
        assert!(!shown.contains('\u{1b}') && shown.len() < 4096, "{shown}");
    }
}
