//! Numbers as text: the API's grammar and its refusals on the way in, plain decimal digits on the way out.

use super::{MAX_DIGITS, MAX_MAGNITUDE, MIN_MAGNITUDE, Number};
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Why a number was refused, in the API's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a number.
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotANumber(String),
    /// More than 38 significant digits.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooPrecise,
    /// Further from zero than `9.99E+125`.
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// Nearer to zero than `1E-130`.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
}

impl FromStr for Number {
    type Err = NumberError;

    /// Reads `[+-] digits[.digits] [e [+-] digits]`, with at least one digit and nothing around it.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let not_a_number = || NumberError::NotANumber(text.into());
        let scanned = scan(text.as_bytes()).ok_or_else(not_a_number)?;
        // An exponent that does not fit 64 bits is no number at all; within them it is out of range.
        let written: i64 = match scanned.exponent {
            "" => 0,
            digits => digits.parse().map_err(|_| not_a_number())?,
        };
        let exponent = written.saturating_sub(i64::try_from(scanned.fraction_digits).unwrap_or(i64::MAX));
        if scanned.significant == 0 {
            // Zero is held to the range too, as if its last written digit were a 1.
            return in_range(exponent).map(|()| Number::ZERO);
        }
        if scanned.significant > MAX_DIGITS as usize {
            return Err(NumberError::TooPrecise);
        }
        let exponent = exponent.saturating_add(i64::try_from(scanned.trailing_zeros).unwrap_or(i64::MAX));
        in_range(exponent.saturating_add(scanned.significant as i64 - 1))?;
        // In range, so far inside an i16.
        let exponent = i16::try_from(exponent).unwrap_or(0);
        Ok(Number::canonical(scanned.negative, scanned.coefficient, exponent))
    }
}

fn in_range(magnitude: i64) -> Result<(), NumberError> {
    if magnitude > i64::from(MAX_MAGNITUDE) {
        Err(NumberError::Overflow)
    } else if magnitude < i64::from(MIN_MAGNITUDE) {
        Err(NumberError::Underflow)
    } else {
        Ok(())
    }
}

/// The pieces of a number's text.
struct Scanned<'a> {
    negative: bool,
    /// The significant digits as a number, without trailing zeros; right only with at most 38 of them.
    coefficient: u128,
    /// How many digits `coefficient` stands for; 0 for zero.
    significant: usize,
    /// Zeros behind the last significant digit, before and behind the point.
    trailing_zeros: usize,
    /// Digits written behind the point.
    fraction_digits: usize,
    /// The exponent's sign and digits; empty without one.
    exponent: &'a str,
}

fn scan(bytes: &[u8]) -> Option<Scanned<'_>> {
    let (negative, mut rest) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, bytes),
    };
    let (mut coefficient, mut significant, mut trailing_zeros) = (0u128, 0usize, 0usize);
    let (mut digits, mut fraction_digits, mut point) = (0usize, 0usize, false);
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                fraction_digits += usize::from(point);
                if byte != b'0' {
                    // Zeros kept back turn out to be inside the number.
                    for _ in 0..trailing_zeros {
                        coefficient = coefficient.wrapping_mul(10);
                    }
                    coefficient = coefficient.wrapping_mul(10).wrapping_add(u128::from(byte - b'0'));
                    significant += trailing_zeros + 1;
                    trailing_zeros = 0;
                } else if significant > 0 {
                    trailing_zeros += 1;
                }
            }
            b'.' if !point => point = true,
            _ => break,
        }
        rest = tail;
    }
    if digits == 0 {
        return None;
    }
    let exponent = match rest.split_first() {
        None => "",
        Some((b'e' | b'E', tail)) => {
            let unsigned = tail.strip_prefix(b"+").or_else(|| tail.strip_prefix(b"-")).unwrap_or(tail);
            if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
                return None;
            }
            core::str::from_utf8(tail).ok()?
        }
        Some(_) => return None,
    };
    Some(Scanned { negative, coefficient, significant, trailing_zeros, fraction_digits, exponent })
}

/// As many zeros as the longest number has in front or behind: 1E+125 and 1E-130.
const ZEROS: &str = match core::str::from_utf8(&[b'0'; 136]) {
    Ok(zeros) => zeros,
    Err(_) => "",
};

impl fmt::Display for Number {
    /// Plain decimal digits, without an exponent, as the API answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let mut buffer = [0u8; MAX_DIGITS as usize];
        let digits = decimal_digits(self.coefficient(), &mut buffer);
        if self.is_negative() {
            f.write_str("-")?;
        }
        let zeros = |n: i32| ZEROS.get(..usize::try_from(n).unwrap_or(0)).unwrap_or(ZEROS);
        let whole = self.magnitude() + 1;
        if whole <= 0 {
            f.write_str("0.")?;
            f.write_str(zeros(-whole))?;
            return f.write_str(digits);
        }
        match usize::try_from(whole).ok().and_then(|at| digits.split_at_checked(at)) {
            Some((whole, "")) => f.write_str(whole),
            Some((whole, fraction)) => write!(f, "{whole}.{fraction}"),
            None => {
                f.write_str(digits)?;
                f.write_str(zeros(i32::from(self.exponent)))
            }
        }
    }
}

/// Writes the decimal digits of a coefficient of at most 38 digits to the end of `buffer`.
fn decimal_digits(mut coefficient: u128, buffer: &mut [u8; MAX_DIGITS as usize]) -> &str {
    let mut start = buffer.len();
    while coefficient > 0 && start > 0 {
        start -= 1;
        if let Ok(mut small) = u64::try_from(coefficient) {
            // The cheap way as soon as the rest fits 64 bits.
            start += 1;
            while small > 0 && start > 0 {
                start -= 1;
                buffer[start] = b'0' + u8::try_from(small % 10).unwrap_or(0);
                small /= 10;
            }
            break;
        }
        buffer[start] = b'0' + u8::try_from(coefficient % 10).unwrap_or(0);
        coefficient /= 10;
    }
    core::str::from_utf8(&buffer[start..]).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn one_canonical_text_per_value() {
        for (written, canonical) in [
            ("0", "0"),
            ("-0.000", "0"),
            ("+5", "5"),
            ("5.", "5"),
            (".5", "0.5"),
            ("-.5e0", "-0.5"),
            ("00042", "42"),
            ("1.200", "1.2"),
            ("1e+2", "100"),
            ("1.5E+3", "1500"),
            ("120.50", "120.5"),
            ("1E3", "1000"),
            ("1e00000000000000000000005", "100000"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("0.00012345678901234567890123456789012345678", "0.00012345678901234567890123456789012345678"),
            ("100000000000000000000000000000000000000000", "100000000000000000000000000000000000000000"),
        ] {
            assert_eq!(written.parse::<Number>().unwrap().to_string(), canonical, "{written}");
        }
        let largest = "9.9999999999999999999999999999999999999E+125".parse::<Number>().unwrap().to_string();
        assert_eq!(largest.len(), 126);
        let smallest = "1E-130".parse::<Number>().unwrap().to_string();
        assert_eq!((smallest.len(), smallest.ends_with("01")), (132, true));
    }

    #[test]
    fn refusals_use_the_words_of_the_api() {
        for text in
            ["", "+", "-", ".", "e5", "1e", "1e+", "1 ", " 1", "1_0", "NaN", "1.2.3", "++5", "0x1", "1-", "١"]
        {
            let message = text.parse::<Number>().unwrap_err().to_string();
            assert_eq!(
                message,
                alloc::format!("The parameter cannot be converted to a numeric value: {text}")
            );
        }
        let error = |text: &str| text.parse::<Number>().unwrap_err();
        assert_eq!(error("123456789012345678901234567890123456789"), NumberError::TooPrecise);
        assert_eq!(error("1.00000000000000000000000000000000000001"), NumberError::TooPrecise);
        assert_eq!(error("1e126"), NumberError::Overflow);
        assert_eq!(error("-1e126"), NumberError::Overflow);
        assert_eq!(error("1e-131"), NumberError::Underflow);
        assert_eq!(error("0e126"), NumberError::Overflow);
        assert_eq!(error("0.0e-130"), NumberError::Underflow);
        assert_eq!(error("1e9223372036854775807"), NumberError::Overflow);
        assert!(matches!(error("1e9223372036854775808"), NumberError::NotANumber(_)));
        assert_eq!("0e125".parse(), Ok(Number::ZERO));
    }
}
