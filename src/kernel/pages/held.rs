//! What lives as long as a mount through EROFS.

use super::answers::Answers;
use crate::kernel::control::Control;

/// What lives as long as a mount through EROFS.
#[derive(Debug)]
pub(in crate::kernel) struct Held {
    pub(super) answers: Answers,
    pub(super) _control: Control,
}

impl Held {
    /// Answers all requests for content with EIO, those that wait and those to come: nothing may
    /// wait for an answer when the mount is to end.
    pub(in crate::kernel) fn cut_off(&self) {
        self.answers.cut_off();
    }
}
