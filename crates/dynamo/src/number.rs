//! Numbers of up to 38 significant digits, exact, with one form per value.
//!
//! A number is `± coefficient × 10^exponent`, the coefficient without trailing zeros, so equal numbers are equal
//! bytes. What the API says of a number it refuses is [`NumberError`]; byte encodings are in [`order`].

mod arithmetic;
pub mod order;
pub mod sum;
mod text;

use core::cmp::Ordering;
use serde::{Deserialize, Serialize};
pub use text::NumberError;

/// The most significant digits of a number.
pub const MAX_DIGITS: u32 = 38;
/// The power of ten of the leading digit of the largest numbers: `9.99E+125`.
pub const MAX_MAGNITUDE: i32 = 125;
/// The power of ten of the leading digit of the numbers nearest to zero: `1E-130`.
pub const MIN_MAGNITUDE: i32 = -130;

/// An exact decimal number within the API's range. Ordered by value.
///
/// The coefficient is split in two words to keep the type, and with it every attribute value, at eight-byte alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Number {
    high: u64,
    low: u64,
    exponent: i16,
    negative: bool,
}

/// What is sent between nodes: sign, coefficient and exponent. Checked again on arrival.
#[derive(Serialize, Deserialize)]
struct Parts(bool, u128, i16);

impl Number {
    /// Zero.
    pub const ZERO: Number = Number { high: 0, low: 0, exponent: 0, negative: false };

    /// Builds `± coefficient × 10^exponent` in its one form.
    ///
    /// # Errors
    /// [`NumberError`] when the value has more than 38 significant digits or is out of range.
    pub fn from_parts(negative: bool, coefficient: u128, exponent: i32) -> Result<Self, NumberError> {
        let Some(digits) = digit_count(coefficient) else {
            return Ok(Self::ZERO);
        };
        let (coefficient, stripped) = strip_zeros(coefficient);
        if digits - stripped > MAX_DIGITS {
            return Err(NumberError::TooPrecise);
        }
        let magnitude = i64::from(exponent) + i64::from(digits) - 1;
        if magnitude > i64::from(MAX_MAGNITUDE) {
            return Err(NumberError::Overflow);
        }
        if magnitude < i64::from(MIN_MAGNITUDE) {
            return Err(NumberError::Underflow);
        }
        // magnitude is within -130..=125 and a coefficient has at most 39 digits, so this fits.
        let exponent = i16::try_from(i64::from(exponent) + i64::from(stripped)).unwrap_or(0);
        Ok(Self::canonical(negative, coefficient, exponent))
    }

    /// `coefficient` without trailing zeros and in range, checked by the caller.
    fn canonical(negative: bool, coefficient: u128, exponent: i16) -> Self {
        let [low, high] = split(coefficient);
        Self { high, low, exponent, negative }
    }

    /// Sign, coefficient and exponent, as [`Number::from_parts`] takes them.
    pub(crate) fn parts(self) -> (bool, u128, i16) {
        (self.negative, self.coefficient(), self.exponent)
    }

    fn coefficient(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }

    /// Whether the number is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.high == 0 && self.low == 0
    }

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// How many significant digits the number has; 0 for zero.
    #[must_use]
    pub fn significant_digits(self) -> u32 {
        digit_count(self.coefficient()).unwrap_or(0)
    }

    /// The power of ten of the leading digit; 0 for zero.
    fn magnitude(self) -> i32 {
        match digit_count(self.coefficient()) {
            // At most 38 digits.
            Some(digits) => i32::from(self.exponent) + digits.cast_signed() - 1,
            None => 0,
        }
    }

    /// What the number counts for in an item's size, in bytes: one, and one for each two digits before and behind the
    /// point, and one for a sign. Source: measured against the service, since the guide says "approximately".
    #[must_use]
    pub fn size(self) -> usize {
        let digits = self.significant_digits().cast_signed();
        if digits == 0 {
            return 1;
        }
        let whole = (self.magnitude() + 1).clamp(0, digits);
        let half = |n: i32| usize::try_from((n + 1) / 2).unwrap_or(0);
        1 + half(whole) + half(digits - whole) + usize::from(self.negative)
    }

    fn cmp_absolute(self, other: Self) -> Ordering {
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let (a, b) = (self.coefficient(), other.coefficient());
            let (da, db) = (self.significant_digits(), other.significant_digits());
            // Both have at most 38 digits, so the shorter one scaled up fits 128 bits.
            let scaled_a = a * 10u128.pow(db.saturating_sub(da));
            let scaled_b = b * 10u128.pow(da.saturating_sub(db));
            scaled_a.cmp(&scaled_b)
        })
    }

    /// -1, 0 or 1.
    fn sign(self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| match self.sign() {
            0 => Ordering::Equal,
            1 => self.cmp_absolute(*other),
            _ => other.cmp_absolute(*self),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        let (coefficient, stripped) = strip_zeros(u128::from(value));
        // A u64 has at most 19 trailing zeros.
        Self::canonical(false, coefficient, i16::try_from(stripped).unwrap_or(0))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        let mut number = Self::from(value.unsigned_abs());
        number.negative = value < 0;
        number
    }
}

impl From<Number> for Parts {
    fn from(number: Number) -> Self {
        let (negative, coefficient, exponent) = number.parts();
        Parts(negative, coefficient, exponent)
    }
}

impl TryFrom<Parts> for Number {
    type Error = NumberError;

    fn try_from(Parts(negative, coefficient, exponent): Parts) -> Result<Self, NumberError> {
        Self::from_parts(negative, coefficient, i32::from(exponent))
    }
}

/// The number of decimal digits; none for zero.
fn digit_count(coefficient: u128) -> Option<u32> {
    let log = match u64::try_from(coefficient) {
        Ok(small) => small.checked_ilog10(),
        Err(_) => coefficient.checked_ilog10(),
    };
    Some(log? + 1)
}

/// Removes trailing zeros, and says how many there were. Zero is returned as it is.
fn strip_zeros(mut coefficient: u128) -> (u128, u32) {
    let mut stripped = 0;
    // 128-bit division is slow; most numbers leave it at once.
    while let Err(_wide) = u64::try_from(coefficient) {
        if !coefficient.is_multiple_of(10) {
            return (coefficient, stripped);
        }
        coefficient /= 10;
        stripped += 1;
    }
    let [mut small, _] = split(coefficient);
    while small != 0 && small.is_multiple_of(10) {
        small /= 10;
        stripped += 1;
    }
    (u128::from(small), stripped)
}

/// The low and the high word.
#[allow(clippy::cast_possible_truncation, reason = "taking the words apart is the point")]
fn split(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_match_what_the_service_charges() {
        for (text, size) in [
            ("0", 1),
            ("-0", 1),
            ("42", 2),
            ("-42", 3),
            ("1", 2),
            ("123", 3),
            ("1.5", 3),
            ("0.5", 2),
            ("100000", 2),
            ("1E-130", 2),
            ("12.345", 4),
        ] {
            assert_eq!(number(text).size(), size, "{text}");
        }
    }

    #[test]
    fn order_is_by_value() {
        let texts = [
            "-1E+125", "-12", "-1.23", "-1.2", "-1E-130", "0", "1E-130", "0.001", "1.2", "1.23", "12", "100",
            "9E125",
        ];
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn forged_parts_are_refused_or_mended() {
        let encode = |parts: Parts| postcard::to_allocvec(&parts).unwrap();
        let mended: Number = postcard::from_bytes(&encode(Parts(true, 0, 7))).unwrap();
        assert_eq!(mended, Number::ZERO);
        let mended: Number = postcard::from_bytes(&encode(Parts(false, 100, 0))).unwrap();
        assert_eq!(mended, Number::from(100u64));
        assert!(postcard::from_bytes::<Number>(&encode(Parts(false, u128::MAX, 0))).is_err());
        assert!(postcard::from_bytes::<Number>(&encode(Parts(false, 1, 126))).is_err());
    }
}
