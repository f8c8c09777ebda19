//! What lives as long as a mount through EROFS.

use super::answers::Answers;
use super::control::Control;

/// What lives as long as a mount through EROFS.
#[derive(Debug)]
pub(in crate::kernel) struct Held {
    pub(super) answers: Answers,
    pub(super) control: Control,
}

impl Held {
    /// Answers all requests for content with EIO, those that wait and those to come: nothing may
    /// wait for an answer when the mount is to end.
    pub(in crate::kernel) fn cut_off(&self) {
        self.answers.cut_off();
    }

    /// Has the mount stay known as one of ours when it is left dead.
    pub(in crate::kernel) fn leave_name(&self) {
        self.control.leave_name();
    }
}
