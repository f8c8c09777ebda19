//! What became of violations: one event and one count for each place, and the last few, to be
//! asked for.
//!
//! Guarantees: a violation is reported when it is first met and when it changes, but not for ever:
//! neither a reader that tries again and again, as the kernel does page by page, nor content that
//! keeps changing fills the log. Memory is bounded. Names are escaped, and digests are hexadecimal.
//! Doesn't: decide what follows from a violation; the caller that [watches](ViolationLog::watch)
//! them does.

use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock};

use lru::LruCache;

use crate::name::FileName;
use crate::reading::violation::{Violation, ViolationKind};
use crate::sync::lock;

/// Violations remembered with all that is known about them, each place once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Places known to be bad: a few megabytes at most. Where there are more, one that hasn't been met
/// for long counts anew.
const KNOWN_PLACES: usize = 1 << 16;

/// Reports of one place, the first included.
const MAX_REPORTS: u8 = 8;

type Watcher = Box<dyn Fn(&Violation) + Send + Sync>;

/// A file and the first byte of what is wrong in it.
type Place = (FileName, u64);

/// The violations that a reader met.
pub struct ViolationLog {
    state: Mutex<State>,
    watcher: OnceLock<Watcher>,
}

struct State {
    count: u64,
    retries: u64,
    /// How often each was reported. Unbounded by itself, since a bounded one takes all its memory
    /// at once.
    places: LruCache<Place, u8>,
    recent: LruCache<Place, Violation>,
}

impl Default for ViolationLog {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                count: 0,
                retries: 0,
                places: LruCache::unbounded(),
                recent: LruCache::new(REMEMBERED),
            }),
            watcher: OnceLock::new(),
        }
    }
}

impl ViolationLog {
    /// Has `watcher` called for every violation that is new. It runs on a thread that is serving a
    /// read and must not wait. Only the first call counts.
    pub fn watch(&self, watcher: impl Fn(&Violation) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// Places at which content isn't what was signed, however often they were read.
    pub fn count(&self) -> u64 {
        lock(&self.state).count
    }

    /// How often such a place was met again.
    pub fn retries(&self) -> u64 {
        lock(&self.state).retries
    }

    /// The last violations, newest first, each place once.
    pub fn recent(&self) -> Vec<Violation> {
        lock(&self.state)
            .recent
            .iter()
            .map(|(_, violation)| violation.clone())
            .collect()
    }

    pub(super) fn record(&self, violation: &Violation) {
        if !lock(&self.state).is_news(violation) {
            tracing::debug!(
                file = %violation.file,
                start = violation.range.start,
                "violation, again"
            );
            return;
        }
        let (expected, found) = match &violation.kind {
            ViolationKind::Digest {
                expected, found, ..
            } => (expected.clone(), found.clone()),
            ViolationKind::Truncated { end } => (String::new(), format!("end of file at {end}")),
            ViolationKind::Extended { len } => (String::new(), format!("{len} bytes")),
        };
        tracing::error!(
            file = %violation.file,
            start = violation.range.start,
            end = violation.range.end,
            algorithm = %violation.algorithm,
            expected,
            found,
            "violation: content isn't what was signed"
        );
        if let Some(watcher) = self.watcher.get() {
            watcher(violation);
        }
    }
}

impl State {
    /// Counts a violation, and says whether it is to be reported.
    fn is_news(&mut self, violation: &Violation) -> bool {
        let place = (violation.file.clone(), violation.range.start);
        let before = self.recent.put(place.clone(), violation.clone());
        if let Some(reports) = self.places.get_mut(&place) {
            self.retries += 1;
            let changed = before.is_some_and(|before| before != *violation);
            let is_news = changed && *reports < MAX_REPORTS;
            *reports += u8::from(is_news);
            return is_news;
        }
        self.count += 1;
        self.places.put(place, 1);
        if self.places.len() > KNOWN_PLACES {
            self.places.pop_lru();
        }
        true
    }
}

impl std::fmt::Debug for ViolationLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViolationLog")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::digest::Algorithm;

    fn violation(start: u64, found: &str) -> Violation {
        Violation {
            file: FileName::new("weights").unwrap(),
            range: start..start + 10,
            algorithm: Algorithm::Blake3,
            kind: ViolationKind::Digest {
                expected: "00".to_owned(),
                found: found.to_owned(),
                holds: None,
            },
        }
    }

    /// A log, and how often its watcher was told.
    fn watched() -> (ViolationLog, Arc<AtomicU64>) {
        let (log, told) = (ViolationLog::default(), Arc::<AtomicU64>::default());
        let tell = Arc::clone(&told);
        log.watch(move |_| {
            tell.fetch_add(1, Ordering::SeqCst);
        });
        (log, told)
    }

    #[test]
    fn a_place_counts_once_and_what_follows_are_retries() {
        let (log, told) = watched();
        for _ in 0..100 {
            log.record(&violation(0, "01"));
            log.record(&violation(10, "01"));
        }
        assert_eq!((log.count(), log.retries()), (2, 198));
        assert_eq!(told.load(Ordering::SeqCst), 2);
        assert_eq!(log.recent(), [violation(10, "01"), violation(0, "01")]);
    }

    #[test]
    fn content_that_keeps_changing_is_told_but_not_for_ever() {
        let (log, told) = watched();
        log.record(&violation(0, "01"));
        log.record(&violation(0, "02"));
        assert_eq!(told.load(Ordering::SeqCst), 2, "a change is news");
        for change in 0..1000 {
            log.record(&violation(0, &change.to_string()));
        }
        assert_eq!(told.load(Ordering::SeqCst), u64::from(MAX_REPORTS));
        assert_eq!((log.count(), log.retries()), (1, 1001));
        assert_eq!(log.recent(), [violation(0, "999")]);
    }

    #[test]
    fn a_place_that_is_no_longer_remembered_in_full_is_still_known() {
        let (log, told) = watched();
        let places = 4 * REMEMBERED.get() as u64;
        for _ in 0..3 {
            for place in 0..places {
                log.record(&violation(place, "01"));
            }
        }
        assert_eq!((log.count(), log.retries()), (places, 2 * places));
        assert_eq!(told.load(Ordering::SeqCst), places);
        assert_eq!(log.recent().len(), REMEMBERED.get());
    }

    #[test]
    fn memory_is_bounded_however_many_places_are_bad() {
        let log = ViolationLog::default();
        let places = KNOWN_PLACES as u64 + 1000;
        for place in 0..places {
            log.record(&violation(place, "01"));
        }
        assert_eq!(log.count(), places);
        assert_eq!(lock(&log.state).places.len(), KNOWN_PLACES);
    }
}
