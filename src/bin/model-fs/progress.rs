//! A progress bar for passes over content.

use indicatif::ProgressBar;
use model_fs::reading::table::full_pass::Observer;

use crate::terminal;

/// Shows how far a pass is, on a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(total: u64, label: &'static str) -> Self {
        Self(terminal::bytes_bar(total, label))
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Sets how far it is.
    pub(crate) fn set(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Observer for Bar {
    fn hashed(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
