//! Exact addition and subtraction: a result that does not fit 38 digits is refused, never rounded.

use super::{Number, NumberError};

impl Number {
    /// The exact sum.
    ///
    /// # Errors
    /// [`NumberError`] when the sum has more than 38 significant digits or is out of range.
    pub fn checked_add(self, other: Number) -> Result<Number, NumberError> {
        if self.is_zero() {
            return Ok(other);
        }
        if other.is_zero() {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // Canonical coefficients end in a digit that is not zero. So when the exponents differ, the sum's last digit is
        // the low one's, nothing cancels behind it, and a scaled coefficient past 128 bits means more than 38 digits:
        // it is at least 3.4e38, of which the other number, below 1e38, cannot take away enough.
        let shift = u32::from(high.exponent.abs_diff(low.exponent));
        let scaled = 10u128
            .checked_pow(shift)
            .and_then(|power| high.coefficient().checked_mul(power))
            .ok_or(NumberError::TooPrecise)?;
        let (negative, coefficient) = if high.negative == low.negative {
            (low.negative, scaled.checked_add(low.coefficient()).ok_or(NumberError::TooPrecise)?)
        } else if scaled >= low.coefficient() {
            (high.negative, scaled - low.coefficient())
        } else {
            (low.negative, low.coefficient() - scaled)
        };
        Number::from_parts(negative, coefficient, i32::from(low.exponent))
    }

    /// The exact difference.
    ///
    /// # Errors
    /// As [`Number::checked_add`].
    pub fn checked_sub(self, other: Number) -> Result<Number, NumberError> {
        self.checked_add(other.negated())
    }

    /// The number with the opposite sign.
    #[must_use]
    pub fn negated(self) -> Number {
        Number { negative: !self.negative && !self.is_zero(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn sums_are_exact_or_refused() {
        for (a, b, sum) in [
            ("0", "-0", "0"),
            ("0.1", "0.2", "0.3"),
            ("5", "-5", "0"),
            ("-1", "0.5", "-0.5"),
            ("0.5", "-1", "-0.5"),
            ("99", "1", "100"),
            ("1e37", "1", "10000000000000000000000000000000000001"),
            ("5e37", "5e37", "1e38"),
            ("99999999999999999999999999999999999999", "1", "1e38"),
            ("1e38", "-1", "99999999999999999999999999999999999999"),
            ("1.5", "1.5", "3"),
        ] {
            assert_eq!(number(a).checked_add(number(b)), Ok(number(sum)), "{a} + {b}");
            assert_eq!(number(b).checked_add(number(a)), Ok(number(sum)), "{b} + {a}");
            assert_eq!(number(sum).checked_sub(number(b)), Ok(number(a)), "{sum} - {b}");
        }
        assert_eq!(number("1e38").checked_add(number("1")), Err(NumberError::TooPrecise));
        assert_eq!(number("1e125").checked_add(number("1e-130")), Err(NumberError::TooPrecise));
        assert_eq!(number("9e125").checked_add(number("9e125")), Err(NumberError::Overflow));
        assert_eq!(number("1.1e-130").checked_sub(number("1e-130")), Err(NumberError::Underflow));
    }
}
