//! What became of violations: one event each, and the last few for whoever asks.
//!
//! Guarantees: a violation is reported when it is first met and when it changes; a reader that
//! tries again and again, as the kernel does page by page, doesn't fill the log. Memory is bounded.
//! Doesn't: decide what follows from a violation; whoever [watches](ViolationLog::watch) does.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;

use super::violation::{Violation, ViolationKind};
use crate::name::FileName;

/// Violations remembered, each place once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

type Watcher = Box<dyn Fn(&Violation) + Send + Sync>;

/// The violations that a reader met.
pub struct ViolationLog {
    state: Mutex<State>,
    watcher: OnceLock<Watcher>,
}

struct State {
    count: u64,
    /// By file and first byte.
    recent: LruCache<(FileName, u64), Violation>,
}

impl Default for ViolationLog {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                count: 0,
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

    /// How often a violation was met.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// The last violations, newest first, each place once.
    pub fn recent(&self) -> Vec<Violation> {
        self.lock()
            .recent
            .iter()
            .map(|(_, violation)| violation.clone())
            .collect()
    }

    pub(super) fn record(&self, violation: &Violation) {
        let key = (violation.file.clone(), violation.range.start);
        let known = {
            let mut state = self.lock();
            state.count += 1;
            state.recent.put(key, violation.clone())
        };
        if known.as_ref() == Some(violation) {
            tracing::debug!(file = %violation.file, start = violation.range.start, "violation, again");
            return;
        }
        let (expected, found) = match &violation.kind {
            ViolationKind::Digest { expected, found } => (expected.clone(), found.clone()),
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ViolationLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViolationLog")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
