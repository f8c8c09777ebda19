//! The moments at which certificates are judged.
//!
//! Guarantees: a [`ValidAt`] lay in the past when it was read, and is one second of UTC, whichever
//! way it was written. Doesn't: say who may choose one; only the trust store takes any.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml_edit::Datetime;

use super::pinned::Pins;

/// A moment at which an operator wants the certificates of a signer to be judged, in the place of
/// the moment of verification.
///
/// Read from a date (RFC 3339, `full-date`), which stands for its first second in UTC, or from a
/// date and time with an offset (`date-time`): one instant, since all certificates of a path have
/// to be valid at the same one. Fractions of a second are dropped, as validities have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidAt {
    /// Seconds since the Unix epoch.
    second: u64,
}

impl FromStr for ValidAt {
    type Err = ValidAtError;

    fn from_str(text: &str) -> Result<Self, ValidAtError> {
        let malformed = |_| ValidAtError::Malformed;
        // jiff reads more than RFC 3339 has, and of a date and time without an offset it would take
        // the date alone; so the form is judged first.
        let form: Datetime = text.parse().map_err(|_| ValidAtError::Malformed)?;
        let timestamp = match (form.date, form.time, form.offset) {
            (Some(date), None, None) => {
                let date: Date = date.to_string().parse().map_err(malformed)?;
                // The last day of the calendar is beyond what jiff has timestamps for.
                let midnight = date.to_zoned(TimeZone::UTC);
                midnight.map_err(|_| ValidAtError::Future)?.timestamp()
            }
            (Some(_), Some(_), Some(_)) => {
                form.to_string().parse::<Timestamp>().map_err(malformed)?
            }
            (Some(_), Some(_), None) => return Err(ValidAtError::NoOffset),
            _ => return Err(ValidAtError::Malformed),
        };
        if timestamp > Timestamp::now() {
            return Err(ValidAtError::Future);
        }
        match u64::try_from(timestamp.as_second()) {
            Ok(second) => Ok(Self { second }),
            Err(_) => Err(ValidAtError::Early),
        }
    }
}

/// A date where it is the first second of one, else a date and time in UTC.
impl fmt::Display for ValidAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = timestamp(self.second).to_zoned(TimeZone::UTC);
        if moment.time() == jiff::civil::Time::midnight() {
            moment.date().fmt(f)
        } else {
            moment.timestamp().fmt(f)
        }
    }
}

/// A text that is no [`ValidAt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValidAtError {
    /// Neither a date nor a date and time.
    #[error(
        "it is neither a date, as 2026-05-01, nor a date and time with an offset, as \
         2026-05-01T12:00:00Z"
    )]
    Malformed,
    /// A time of nobody knows where.
    #[error("its time has no offset from UTC, as Z or +02:00")]
    NoOffset,
    /// Later than now: what was valid then isn't known yet.
    #[error("it lies in the future by the clock of this host (a date begins at 00:00 UTC)")]
    Future,
    /// Before 1970, when no certificate was valid.
    #[error("it lies before 1970")]
    Early,
}

/// When the certificates of a path have to be valid, as the operator has it. Whatever it says, they
/// have to be valid together, and right in all other respects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum When {
    /// When they are verified.
    #[default]
    Now,
    /// At this moment, and at no other.
    At(ValidAt),
    /// When they are verified; or, of a signature over one of these payloads, at any moment. Who
    /// has named a payload has said more of it than a certificate could.
    NowUnlessPinned(Pins),
}

/// The moment at which certificates were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// That of the verification, in seconds since the Unix epoch.
    Now(u64),
    /// The one that the operator chose.
    Chosen(ValidAt),
}

impl Moment {
    /// The moment of this call.
    pub(super) fn now() -> Self {
        SystemTime::now().into()
    }

    /// Seconds since the Unix epoch.
    pub(super) fn second(self) -> u64 {
        match self {
            Self::Now(second) | Self::Chosen(ValidAt { second }) => second,
        }
    }
}

/// As now; before 1970 nothing was valid.
impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self::Now(since.unwrap_or_default().as_secs())
    }
}

impl From<ValidAt> for Moment {
    fn from(chosen: ValidAt) -> Self {
        Self::Chosen(chosen)
    }
}

/// A second since the Unix epoch, as RFC 3339 writes it.
pub(super) fn shown(second: u64) -> String {
    timestamp(second).to_string()
}

fn timestamp(second: u64) -> Timestamp {
    i64::try_from(second)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_one_instant() {
        for (text, shown) in [
            ("2025-05-01", "2025-05-01"),
            ("2025-05-01T00:00:00Z", "2025-05-01"),
            ("2025-05-01T02:00:00+02:00", "2025-05-01"),
            ("2025-04-30T19:30:00-04:30", "2025-05-01"),
            ("2025-05-01T12:00:00Z", "2025-05-01T12:00:00Z"),
            ("2025-05-01 12:00:00z", "2025-05-01T12:00:00Z"),
            ("2025-05-01T00:00:00.999Z", "2025-05-01"),
            ("2024-02-29", "2024-02-29"),
            ("1970-01-01", "1970-01-01"),
        ] {
            let read: ValidAt = text.parse().unwrap();
            assert_eq!(read.to_string(), shown, "{text}");
            // What is shown is what is read.
            assert_eq!(shown.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_of_the_past_is_refused() {
        use ValidAtError::{Early, Future, Malformed, NoOffset};
        for (text, error) in [
            ("", Malformed),
            ("yesterday", Malformed),
            ("now", Malformed),
            ("2025", Malformed),
            ("2025-05", Malformed),
            ("20250501", Malformed),
            ("2025-5-1", Malformed),
            ("25-05-01", Malformed),
            ("2025-02-29", Malformed),
            ("2025-13-01", Malformed),
            ("2025-00-10", Malformed),
            ("01.05.2025", Malformed),
            ("05/01/2025", Malformed),
            ("2025-W18-4", Malformed),
            (" 2025-05-01", Malformed),
            ("2025-05-01 ", Malformed),
            ("2025-05-01\n", Malformed),
            ("2025-05-01Z", Malformed),
            ("12:00:00", Malformed),
            ("2025-05-01T25:00:00Z", Malformed),
            ("2025-05-01T12:00:00Z[Europe/Berlin]", Malformed),
            ("+002025-05-01", Malformed),
            ("1746057600", Malformed),
            ("2025-05-01T12:00:00", NoOffset),
            ("2025-05-01 12:00:00", NoOffset),
            ("1969-12-31", Early),
            ("1969-12-31T23:59:59Z", Early),
            ("0000-01-01", Early),
            ("9998-01-01", Future),
            ("9999-12-31", Future),
        ] {
            assert_eq!(text.parse::<ValidAt>(), Err(error), "{text:?}");
        }
        let now = Timestamp::now();
        let later = now + std::time::Duration::from_secs(60);
        assert_eq!(later.to_string().parse::<ValidAt>(), Err(Future));
        let before = now - std::time::Duration::from_secs(1);
        before.to_string().parse::<ValidAt>().unwrap();
        // Of a host whose clock is beyond all calendars.
        assert!(shown(u64::MAX).starts_with("9999-"));
    }
}
