//! Sizes as people write them: `4096`, `64KiB`, `1GB`.
//!
//! Guarantees: a [`ByteSize`] is at least one byte and was written without room for two readings;
//! `64K`, which means 64,000 to some and 65,536 to others, is refused.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A number of bytes, not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(NonZeroU64);

/// Units and their bytes. The decimal ones are those of the SI, the binary ones of IEC 80000-13.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
];

impl ByteSize {
    /// The number of bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        if digits.is_empty() {
            return Err(SizeError::NoNumber);
        }
        let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
        let unit = unit.trim_start().to_ascii_uppercase();
        let factor = UNITS
            .into_iter()
            .find_map(|(name, factor)| (name == unit).then_some(factor))
            .ok_or(SizeError::Unit)?;
        let bytes = number.checked_mul(factor).ok_or(SizeError::TooLarge)?;
        NonZeroU64::new(bytes).map(Self).ok_or(SizeError::Zero)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if bytes.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", bytes >> shift);
            }
        }
        write!(f, "{bytes}")
    }
}

/// A size that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    #[error("a size starts with a whole number, like 64MiB")]
    NoNumber,
    #[error("the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB")]
    Unit,
    #[error("the size is too large")]
    TooLarge,
    #[error("the size must not be zero")]
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("4096B", 4096),
            ("64KiB", 64 << 10),
            ("1MiB", 1 << 20),
            ("1GiB", 1 << 30),
            ("2TiB", 2 << 40),
            ("1KB", 1000),
            ("1kB", 1000),
            ("1MB", 1_000_000),
            ("1GB", 1_000_000_000),
            ("1TB", 1_000_000_000_000),
            ("1gib", 1 << 30),
            ("64 MiB", 64 << 20),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            ("", SizeError::NoNumber),
            ("KiB", SizeError::NoNumber),
            ("-1", SizeError::NoNumber),
            (" 1", SizeError::NoNumber),
            ("+1", SizeError::NoNumber),
            ("1.5GiB", SizeError::Unit),
            ("64K", SizeError::Unit),
            ("64M", SizeError::Unit),
            ("1GiBs", SizeError::Unit),
            ("1 GiB ", SizeError::Unit),
            ("0", SizeError::Zero),
            ("0GiB", SizeError::Zero),
            ("18446744073709551616", SizeError::TooLarge),
            ("16777216TiB", SizeError::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap_err(), error, "{text:?}");
        }
        assert!("16777215TiB".parse::<ByteSize>().is_ok());
    }

    #[test]
    fn shown_sizes_read_back() {
        for text in ["1", "1023", "1KiB", "1025", "64MiB", "3GiB", "2TiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
