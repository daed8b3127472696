//! A length of time as policies write it: `300ms`, `10s`, `2m`.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, in whole milliseconds. Its text form is a number and a unit: `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    ms: u64,
}

/// Text that is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time; write a number and a unit, such as \"300ms\", \"10s\" or \"2m\"")]
pub struct SpanError(String);

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self { ms }
    }

    /// The same as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let fail = || SpanError(text.chars().take(64).collect());
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or_else(fail)?;
        let number: u64 = number.parse().map_err(|_| fail())?;
        number.checked_mul(factor).map(Self::from_millis).ok_or_else(fail)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |factor: u64| self.ms > 0 && self.ms.is_multiple_of(factor);
        let (unit, factor) = UNITS.into_iter().rev().find(|(_, factor)| whole(*factor)).unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.ms / factor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn people_write_units() {
        for (text, ms) in [("0ms", 0), ("300ms", 300), ("10s", 10_000), ("2 m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse::<Span>(), Ok(Span::from_millis(ms)), "{text}");
        }
        for text in
            ["", "10", "s", "-1s", "1.5s", "10 parsecs", "99999999999999999999s", "99999999999999999h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(ms: u64) {
            let span = Span::from_millis(ms);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }
}
