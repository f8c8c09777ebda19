//! Moments, as a status tells them: in whole seconds of UTC.

use std::time::SystemTime;

use jiff::Timestamp;

/// A moment in whole seconds; `None` for one that no calendar has.
pub(super) fn second_of(time: SystemTime) -> Option<Timestamp> {
    let time = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(time.as_second()).ok()
}

/// This second, as the host's clock has it.
#[cfg(feature = "mount")]
pub(crate) fn now() -> Option<Timestamp> {
    second_of(SystemTime::now())
}
