//! A byte form of numbers whose byte order is the numbers' order. It is part of the disk format: never change it.
//!
//! One byte for the sign (1 negative, 2 zero, 3 positive), one for the magnitude, then two digits a byte, leading digit
//! first, then a terminator, so that the form ends by itself. The bytes of a negative number behind the sign are
//! turned over, since the one further from zero comes first.

use super::{MIN_MAGNITUDE, Number, digit_count};
use alloc::vec::Vec;

const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
/// Below every digit pair, so that a number comes before the longer ones that it starts.
const END: u8 = 0;

/// Appends the byte form of `number`.
pub fn encode(number: Number, out: &mut Vec<u8>) {
    let Some(digits) = digit_count(number.coefficient()) else {
        out.push(ZERO);
        return;
    };
    let turn = if number.negative { 0xff } else { 0 };
    out.push(if number.negative { NEGATIVE } else { POSITIVE });
    // The magnitude is within -130..=125: exactly a byte.
    out.push(u8::try_from(number.magnitude() - MIN_MAGNITUDE).unwrap_or(u8::MAX) ^ turn);
    let pairs = digits.div_ceil(2);
    // Left-aligned: an odd number of digits gets a zero behind. 39 digits at most, within 128 bits: the first of 38
    // digits is never padded.
    let mut rest = number.coefficient() * if digits.is_multiple_of(2) { 1 } else { 10 };
    let start = out.len();
    for _ in 0..pairs {
        out.push((u8::try_from(rest % 100).unwrap_or(0) + 1) ^ turn);
        rest /= 100;
    }
    out[start..].reverse();
    out.push(END ^ turn);
}

/// Reads one number from the front of `bytes`; also says how many bytes it took. `None` when they are not the byte
/// form of any number.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(Number, usize)> {
    let turn = match *bytes.first()? {
        ZERO => return Some((Number::ZERO, 1)),
        NEGATIVE => 0xff,
        POSITIVE => 0,
        _ => return None,
    };
    let magnitude = i32::from(*bytes.get(1)? ^ turn) + MIN_MAGNITUDE;
    let (mut coefficient, mut digits) = (0u128, 0i32);
    let mut last = 0;
    for (at, byte) in bytes.iter().enumerate().skip(2) {
        let pair = byte ^ turn;
        if pair == END {
            let number = Number::from_parts(turn != 0, coefficient, magnitude - digits + 1).ok()?;
            // A last pair of zeros, or a first one below ten, is not how a number is written.
            return (last > 1 && number.magnitude() == magnitude).then_some((number, at + 1));
        }
        if pair > 100 || digits >= 38 {
            return None;
        }
        last = pair;
        coefficient = coefficient * 100 + u128::from(pair - 1);
        digits += 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_pinned_because_disks_depend_on_it() {
        let form = |text: &str| {
            let mut out = Vec::new();
            encode(text.parse().unwrap(), &mut out);
            out
        };
        assert_eq!(form("0"), [2]);
        assert_eq!(form("1"), [3, 130, 11, 0]);
        assert_eq!(form("123"), [3, 132, 13, 31, 0]);
        assert_eq!(form("-123"), [1, !132, !13, !31, 255]);
        assert_eq!(form("1E-130"), [3, 0, 11, 0]);
        assert_eq!(form("9e125"), [3, 255, 91, 0]);
        assert_eq!(form("12345678901234567890123456789012345678").len(), 22);
    }

    #[test]
    fn garbage_is_refused() {
        let long = [[3, 130].as_slice(), &[100; 20], &[0]].concat();
        for bytes in [
            &[][..],
            &[0],
            &[4],
            &[3],
            &[3, 130],
            &[3, 130, 11],
            &[3, 130, 0],
            &[3, 130, 102, 0],
            &[3, 130, 1, 0],
            &long,
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
