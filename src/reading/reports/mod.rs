//! Where errors of reads are told: violations, errors of the source, and what was had after all,
//! each to its own log.

mod period;
mod places;
mod recoveries;
mod source_errors;
mod violation_log;

pub use self::recoveries::{RecoveredBy, Recoveries, Recovery};
pub use self::source_errors::{SourceErrors, SourceFailure};
pub use self::violation_log::ViolationLog;
use super::violation::ReadError;

/// The logs.
#[derive(Debug, Default)]
pub(in crate::reading) struct Reports {
    pub(in crate::reading) violations: ViolationLog,
    pub(in crate::reading) source_errors: SourceErrors,
    pub(in crate::reading) recoveries: Recoveries,
}

impl Reports {
    /// Tells an error that a reader is about to meet.
    pub(in crate::reading) fn report(&self, error: &ReadError) {
        match error {
            ReadError::Violation(violation) => self.violations.record(violation),
            ReadError::Source { file, range, error } => self.source_errors.record(&SourceFailure {
                file: file.clone(),
                range: range.clone(),
                error: error.clone(),
            }),
            ReadError::Stopped { .. } | ReadError::Abandoned { .. } => {}
        }
    }
}
