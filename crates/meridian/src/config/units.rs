//! Durations (`300ms`) and sizes (`64MiB`) as people write them in configuration files and flags.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Text that is not a duration or a size. The message shows how to write one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("{0:?} is not a duration; write a number and a unit, such as \"300ms\", \"5s\" or \"2m\"")]
    Duration(String),
    /// Not a size.
    #[error(
        "{0:?} is not a size; write a whole number and a unit, such as \"512KiB\", \"64MiB\" or \"2GiB\""
    )]
    Size(String),
}

/// Reads a duration such as `300ms`, `5s` or `1m 30s`.
///
/// # Errors
/// [`UnitError::Duration`] when the text is anything else, a bare number included.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text).map_err(|_| UnitError::Duration(cut(text)))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = || UnitError::Size(cut(text));
        let (suffix, shift) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(fail)?;
        let digits = text.strip_suffix(suffix).map(str::trim_end).ok_or_else(fail)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fail());
        }
        let number: u64 = digits.parse().map_err(|_| fail())?;
        number.checked_mul(1 << shift).map(Size).ok_or_else(fail)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        let (unit, shift) = UNITS.into_iter().find(|&(_, shift)| whole(shift)).unwrap_or(("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Serde for [`Duration`] fields in the written form; use as `#[serde(with = "units::duration")]`.
pub mod duration {
    use super::parse_duration;
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::time::Duration;

    /// Writes the shortest exact form.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*value))
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// Those of [`parse_duration`].
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_both_ways() {
        for (text, bytes) in
            [("0B", 0), ("1B", 1), ("64MiB", 64 << 20), ("3 GiB", 3 << 30), ("1TiB", 1 << 40)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes));
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
        assert_eq!(Size(1025).to_string(), "1025B");
        for text in ["", "64", "MiB", "-1MiB", "1.5MiB", "64MB", "99999999999TiB", "0x1B", "+1B"] {
            assert_eq!(text.parse::<Size>(), Err(UnitError::Size(text.into())), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "300", "-1s", "soon", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration(text.into())), "{text}");
        }
    }
}
