//! Where errors of reads are told: violations and errors of the source, each to its own log.

use super::source_errors::{SourceErrors, SourceFailure};
use super::violation::ReadError;
use super::violation_log::ViolationLog;

/// Both logs.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) violations: ViolationLog,
    pub(super) source_errors: SourceErrors,
}

impl Reports {
    /// Tells an error that a reader is about to meet.
    pub(super) fn report(&self, error: &ReadError) {
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
