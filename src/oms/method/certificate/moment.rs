//! The moments at which certificates are judged.
//!
//! Guarantees: a [`ValidAt`] lay in the past when it was read, and is one second of UTC, whichever
//! way it was written. Doesn't: say who may choose one; only the trust store takes any.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::{Date, date};
use toml_edit::{Datetime, Offset};
use x509_cert::der::DateTime;

use super::pinned::Pins;
use super::x509::Certificate;

/// Seconds of a day.
const DAY: u64 = 86_400;

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
        let form: Datetime = text.parse().map_err(|_| ValidAtError::Malformed)?;
        let second = second_of(form)?;
        // Before 1970 by a fraction is before 1970: a second is the one that an instant lies in.
        let second = u64::try_from(second).map_err(|_| ValidAtError::Early)?;
        if second > Moment::now().second() {
            return Err(ValidAtError::Future);
        }
        Ok(Self { second })
    }
}

/// The second that something begins at, or lies in, since the Unix epoch.
fn second_of(form: Datetime) -> Result<i64, ValidAtError> {
    let day = form.date.ok_or(ValidAtError::Malformed)?;
    let since_midnight = match (form.time, form.offset) {
        (None, _) => 0,
        (Some(_), None) => return Err(ValidAtError::NoOffset),
        (Some(time), Some(offset)) => {
            // TOML leaves it out where it likes, RFC 3339 doesn't. A leap second is the one before.
            let second = time.second.ok_or(ValidAtError::Malformed)?.min(59);
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            let minute = i64::from(time.hour) * 60 + i64::from(time.minute) - minutes;
            minute * 60 + i64::from(second)
        }
    };
    let year = i16::try_from(day.year).map_err(|_| ValidAtError::Malformed)?;
    let small = |part: u8| i8::try_from(part).map_err(|_| ValidAtError::Malformed);
    let day =
        Date::new(year, small(day.month)?, small(day.day)?).map_err(|_| ValidAtError::Malformed)?;
    Ok(day.duration_since(date(1970, 1, 1)).as_secs() + since_midnight)
}

/// A date where it is the first second of one, else a date and time in UTC.
impl fmt::Display for ValidAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = shown(self.second);
        match text.split_once('T') {
            Some((date, _)) if self.second.is_multiple_of(DAY) => f.write_str(date),
            _ => f.write_str(&text),
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
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Seconds since the Unix epoch.
    pub fn second(self) -> u64 {
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

/// Seconds since the Unix epoch, the first and the last included: a validity has whole seconds, and
/// its last belongs to it (RFC 5280, section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub first: u64,
    /// The last second, not before the first.
    pub last: u64,
}

impl Span {
    pub(super) const ALWAYS: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    pub(super) fn at(second: u64) -> Self {
        Self {
            first: second,
            last: second,
        }
    }

    /// What of it lies in the validity of a certificate, if anything does.
    pub(super) fn within(self, certificate: &Certificate) -> Option<Self> {
        let (first, last) = certificate.validity();
        let both = Self {
            first: self.first.max(first.as_secs()),
            last: self.last.min(last.as_secs()),
        };
        (both.first <= both.last).then_some(both)
    }
}

/// As RFC 3339 writes its ends.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", shown(self.first), shown(self.last))
    }
}

/// A second since the Unix epoch, as RFC 3339 writes it; the last one that it has (and that stands
/// for "no expiry", RFC 5280, section 4.1.2.5) for all that are later.
pub(super) fn shown(second: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(second))
        .unwrap_or(DateTime::INFINITY)
        .to_string()
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
            ("1969-12-31T23:30:00-00:30", "1970-01-01"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
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
            ("2025-05-01T12:00Z", Malformed),
            ("2025-05-01T12:00+02:00", Malformed),
            ("2025-05-01T12:00:00", NoOffset),
            ("2025-05-01 12:00:00", NoOffset),
            ("1969-12-31", Early),
            ("1969-12-31T23:59:59Z", Early),
            ("1969-12-31T23:59:59.5Z", Early),
            ("1970-01-01T00:29:59.9+00:30", Early),
            ("0000-01-01", Early),
            ("9998-01-01", Future),
            ("9999-12-31", Future),
            ("9999-12-31T23:59:59Z", Future),
            ("9999-12-31T23:59:59-23:59", Future),
        ] {
            assert_eq!(text.parse::<ValidAt>(), Err(error), "{text:?}");
        }
        let now = Moment::now().second();
        assert_eq!(shown(now + 60).parse::<ValidAt>(), Err(Future));
        shown(now - 1).parse::<ValidAt>().unwrap();
    }

    /// "No expiry" (RFC 5280, section 4.1.2.5) is shown as certificates have it; so is what lies
    /// beyond all calendars, of a host with such a clock.
    #[test]
    fn the_last_second_is_shown_as_it_is() {
        let last = "9999-12-31T23:59:59Z";
        for second in [253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(shown(second), last);
        }
        assert_eq!(shown(253_402_300_798), "9999-12-31T23:59:58Z");
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(
            Span::ALWAYS.to_string(),
            format!("1970-01-01T00:00:00Z to {last}")
        );
    }
}
