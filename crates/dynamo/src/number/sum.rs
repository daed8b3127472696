//! Sums of many numbers, exact whatever is in between: terms that do not fit 38 digits together may cancel out again.

use super::{MAX_DIGITS, MAX_MAGNITUDE, Number};

/// Decimal digits of a limb.
const LIMB: usize = 9;
const BASE: i64 = 1_000_000_000;
/// The power of ten of the lowest digit that a number can have: a number's leading digit is 10^-130 at least, and 37
/// digits may follow.
const LOWEST: i32 = -167;
/// Digits from [`LOWEST`] to 10^125, and a limb and more for what is carried over: 297 and 18.
const LIMBS: usize = 35;

/// What a sum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Exactly this.
    Exact(Number),
    /// It does not fit a number; this is the nearest to zero of those next to it, or the largest there is.
    Cut(Number),
}

impl Sum {
    /// The number, exact or not.
    #[must_use]
    pub fn nearest(self) -> Number {
        match self {
            Self::Exact(number) | Self::Cut(number) => number,
        }
    }
}

/// The sum of all terms, in any order the same. Good for a billion terms.
#[must_use]
pub fn sum(terms: impl Iterator<Item = Number> + Clone) -> Sum {
    // Nearly all sums fit at every step.
    if let Ok(sum) = terms.clone().try_fold(Number::ZERO, Number::checked_add) {
        return Sum::Exact(sum);
    }
    let mut limbs = [0i64; LIMBS];
    terms.for_each(|term| add(&mut limbs, term));
    carry(&mut limbs);
    let negative = limbs.iter().rev().find(|limb| **limb != 0).is_some_and(|limb| *limb < 0);
    if negative {
        limbs.iter_mut().for_each(|limb| *limb = -*limb);
        carry(&mut limbs);
    }
    read(negative, &limbs)
}

/// Adds a term limb by limb; what overflows a limb stays there until [`carry`].
fn add(limbs: &mut [i64; LIMBS], term: Number) {
    let (negative, mut coefficient, exponent) = term.parts();
    // Not negative: see LOWEST.
    let place = usize::try_from(i32::from(exponent) - LOWEST).unwrap_or(0);
    let mut at = place / LIMB;
    // The first piece is short, so that the rest falls on whole limbs.
    let mut room = LIMB - place % LIMB;
    let mut shift = 10i64.pow(u32::try_from(place % LIMB).unwrap_or(0));
    while coefficient > 0 {
        let cut = 10u128.pow(u32::try_from(room).unwrap_or(0));
        let piece = i64::try_from(coefficient % cut).unwrap_or(0) * shift;
        if let Some(limb) = limbs.get_mut(at) {
            *limb += if negative { -piece } else { piece };
        }
        coefficient /= cut;
        (at, room, shift) = (at + 1, LIMB, 1);
    }
}

/// Brings all limbs but the last into `0..BASE`; the last one has the sign of the whole.
fn carry(limbs: &mut [i64; LIMBS]) {
    let mut over = 0;
    for limb in &mut limbs[..LIMBS - 1] {
        let value = *limb + over;
        (*limb, over) = (value.rem_euclid(BASE), value.div_euclid(BASE));
    }
    limbs[LIMBS - 1] += over;
}

/// The number of which these limbs, none below zero, are the digits.
fn read(negative: bool, limbs: &[i64; LIMBS]) -> Sum {
    let mut coefficient = 0u128;
    let (mut digits, mut exact, mut exponent) = (0, true, LOWEST);
    let all = LIMBS * LIMB;
    for place in (0..all).rev() {
        let power = 10i64.pow(u32::try_from(place % LIMB).unwrap_or(0));
        let digit = u128::try_from(limbs[place / LIMB] / power % 10).unwrap_or(0);
        if digits == MAX_DIGITS {
            exact &= digit == 0;
        } else if digits > 0 || digit > 0 {
            coefficient = coefficient * 10 + digit;
            digits += 1;
            exponent = LOWEST + i32::try_from(place).unwrap_or(0);
        }
    }
    match Number::from_parts(negative, coefficient, exponent) {
        Ok(number) if exact => Sum::Exact(number),
        Ok(number) => Sum::Cut(number),
        Err(_) if exponent < 0 => Sum::Cut(Number::ZERO),
        Err(_) => {
            let nines = 10u128.pow(MAX_DIGITS) - 1;
            let largest = Number::from_parts(negative, nines, MAX_MAGNITUDE - MAX_DIGITS.cast_signed() + 1);
            Sum::Cut(largest.unwrap_or(Number::ZERO))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn of(texts: &[&str]) -> Sum {
        let terms: Vec<Number> = texts.iter().map(|text| text.parse().unwrap()).collect();
        sum(terms.into_iter())
    }

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn what_cancels_out_costs_no_digit() {
        assert_eq!(of(&[]), Sum::Exact(Number::ZERO));
        assert_eq!(of(&["1", "-1.5"]), Sum::Exact(number("-0.5")));
        assert_eq!(of(&["1e40", "1", "-1e40"]), Sum::Exact(number("1")));
        assert_eq!(of(&["-1e40", "-1", "1e40"]), Sum::Exact(number("-1")));
        assert_eq!(of(&["9e125", "9e125", "-9e125", "1e-130", "-9e125"]), Sum::Exact(number("1e-130")));
        let nines = "9".repeat(38);
        assert_eq!(of(&[&nines, "2", "-1e38"]), Sum::Exact(number("1")));
        assert_eq!(of(&["1.1e-130", "1e40", "-1e40", "-1e-130"]), Sum::Cut(Number::ZERO));
    }

    #[test]
    fn what_does_not_fit_is_cut_towards_zero() {
        assert_eq!(of(&["1e40", "1"]), Sum::Cut(number("1e40")));
        assert_eq!(of(&["1e40", "-1"]), Sum::Cut(number(&["9".repeat(38), "00".into()].concat())));
        assert_eq!(of(&["-1e40", "-1"]), Sum::Cut(number("-1e40")));
        let largest = ["9.", &"9".repeat(37), "e125"].concat();
        assert_eq!(of(&["9e125", "9e125"]), Sum::Cut(number(&largest)));
        assert_eq!(of(&["-9e125", "-9e125"]), Sum::Cut(number(&["-", &largest].concat())));
        assert_eq!(of(&["9e125", "1e125"]).nearest(), number(&largest));
    }

    fn any_number() -> impl Strategy<Value = Number> {
        (any::<bool>(), 0..10u128.pow(38), -140i32..60, 0u32..38).prop_filter_map(
            "in range",
            |(negative, coefficient, exponent, cut)| {
                Number::from_parts(negative, coefficient / 10u128.pow(cut), exponent).ok()
            },
        )
    }

    proptest! {
        #[test]
        fn the_order_of_terms_does_not_matter_and_opposites_vanish(
            terms in proptest::collection::vec(any_number(), 1..8),
            keep in any_number(),
        ) {
            let expected = sum(terms.iter().copied());
            prop_assert_eq!(sum(terms.iter().rev().copied()), expected);
            let opposites = terms.iter().map(|term| term.negated());
            let all: Vec<Number> = terms.iter().copied().chain([keep]).chain(opposites).collect();
            prop_assert_eq!(sum(all.into_iter()), Sum::Exact(keep));
        }
    }
}
