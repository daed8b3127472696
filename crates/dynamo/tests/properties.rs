//! What holds for all numbers, values and items.
#![allow(clippy::cast_possible_truncation, reason = "counts of digits are small")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::arbitrary::{item, number, value};
use meridian_dynamo::codec::{decode_item, encode_item};
use meridian_dynamo::json::{JsonItem, item_from_json, item_to_json};
use meridian_dynamo::number::{NumberError, order};
use meridian_dynamo::size::{item_size, nests_too_deep};
use meridian_dynamo::{AttributeValue, Item, Number};
use proptest::prelude::*;
use std::cmp::Ordering;

/// Decimal digits on paper: a sign and the digits of the value times ten to the `SHIFT`, lowest first.
#[derive(Clone, Debug)]
struct Paper {
    negative: bool,
    digits: Vec<u8>,
}

/// Places behind the point: more than the smallest number with 38 digits needs.
const SHIFT: usize = 170;
/// Room for the sum of the largest numbers.
const PLACES: usize = SHIFT + 130;

impl Paper {
    /// From plain decimal digits, which is how numbers show themselves.
    fn write(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut digits = vec![0; PLACES];
        for (place, digit) in fraction.bytes().enumerate() {
            digits[SHIFT - 1 - place] = digit - b'0';
        }
        for (place, digit) in whole.bytes().rev().enumerate() {
            digits[SHIFT + place] = digit - b'0';
        }
        Self { negative, digits }
    }

    fn cmp_digits(&self, other: &Self) -> Ordering {
        self.digits.iter().rev().cmp(other.digits.iter().rev())
    }

    fn is_zero(&self) -> bool {
        self.digits.iter().all(|digit| *digit == 0)
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            _ if self.is_zero() && other.is_zero() => Ordering::Equal,
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.cmp_digits(other),
            (true, true) => other.cmp_digits(self),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        if self.negative == other.negative {
            let mut carry = 0;
            let digits = self.digits.iter().zip(&other.digits).map(|(a, b)| {
                let sum = a + b + carry;
                carry = sum / 10;
                sum % 10
            });
            return Self { negative: self.negative, digits: digits.collect() };
        }
        let (large, small) = if self.cmp_digits(other).is_ge() { (self, other) } else { (other, self) };
        let mut borrow = 0;
        let digits = large.digits.iter().zip(&small.digits).map(|(a, b)| {
            let difference = 10 + a - b - borrow;
            borrow = u8::from(difference < 10);
            difference % 10
        });
        Self { negative: large.negative, digits: digits.collect() }
    }

    /// The number on the paper by the rules of the API.
    fn read(&self) -> Result<Number, NumberError> {
        let Some(highest) = self.digits.iter().rposition(|digit| *digit != 0) else {
            return Ok(Number::ZERO);
        };
        let lowest = self.digits.iter().position(|digit| *digit != 0).unwrap();
        if highest - lowest >= 38 {
            return Err(NumberError::TooPrecise);
        }
        let magnitude = highest as i32 - SHIFT as i32;
        if magnitude > 125 {
            return Err(NumberError::Overflow);
        }
        if magnitude < -130 {
            return Err(NumberError::Underflow);
        }
        let digits: String =
            self.digits[lowest..=highest].iter().rev().map(|digit| char::from(b'0' + digit)).collect();
        let sign = if self.negative { "-" } else { "" };
        Ok(format!("{sign}{digits}e{}", lowest as i32 - SHIFT as i32).parse().unwrap())
    }
}

fn paper(number: Number) -> Paper {
    Paper::write(&number.to_string())
}

fn order_bytes(number: Number) -> Vec<u8> {
    let mut bytes = Vec::new();
    order::encode(number, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn numbers_have_one_text_and_one_byte_form(a in number()) {
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(paper(a).read(), Ok(a));
        let bytes = order_bytes(a);
        prop_assert_eq!(order::decode(&bytes), Some((a, bytes.len())));
        prop_assert_eq!(order::decode(&[&bytes[..], &[1, 2]].concat()), Some((a, bytes.len())));
        prop_assert_eq!(postcard::from_bytes(&postcard::to_allocvec(&a).unwrap()), Ok(a));
    }

    #[test]
    fn number_order_is_byte_order_is_the_order_on_paper(a in number(), b in number()) {
        let expected = paper(a).cmp(&paper(b));
        prop_assert_eq!(a.cmp(&b), expected);
        prop_assert_eq!(order_bytes(a).cmp(&order_bytes(b)), expected);
    }

    #[test]
    fn sums_and_differences_are_those_on_paper(a in number(), b in number()) {
        prop_assert_eq!(a.checked_add(b), paper(a).plus(&paper(b)).read());
        prop_assert_eq!(a.checked_sub(b), paper(a).plus(&paper(b.negated())).read());
    }

    #[test]
    fn sums_of_neighbours_are_those_on_paper(
        a in number(), digits in "[1-9][0-9]{0,37}", offset in -40..40i32, negative: bool,
    ) {
        // Numbers of random magnitudes hardly ever meet.
        let magnitude = paper(a).digits.iter().rposition(|digit| *digit != 0).unwrap_or(SHIFT) as i32 - SHIFT as i32;
        let exponent = magnitude + offset - digits.len() as i32;
        if let Ok(b) = Number::from_parts(negative, digits.parse().unwrap(), exponent) {
            prop_assert_eq!(a.checked_add(b), paper(a).plus(&paper(b)).read());
        }
    }

    #[test]
    fn texts_with_the_same_value_are_the_same_number(a in number(), zeros in 0..5usize, shift in -20..20i32) {
        let text = a.to_string();
        let point = if text.contains('.') { "" } else { "." };
        let padded = format!("{text}{point}{}e0", "0".repeat(zeros));
        prop_assert_eq!(padded.parse(), Ok(a));
        if let Ok(shifted) = format!("{text}e{shift}").parse::<Number>() {
            prop_assert_eq!(format!("{shifted}e{}", -shift).parse(), Ok(a));
        }
    }

    #[test]
    fn items_survive_disk_wire_and_json(item in item()) {
        let bytes = encode_item(&item);
        prop_assert_eq!(&decode_item(&bytes).unwrap(), &item);
        let wire = postcard::to_allocvec(&item).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Item>(&wire).unwrap(), &item);
        let json = item_to_json(&item);
        prop_assert_eq!(serde_json::to_string(&JsonItem(&item)).unwrap(), json.to_string());
        prop_assert_eq!(&item_from_json(json).unwrap(), &item);
        prop_assert!(!item.values().any(nests_too_deep));
        prop_assert!(item_size(&item) >= item.keys().map(String::len).sum());
    }

    #[test]
    fn the_disk_form_is_the_only_one(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let bytes = [&[1], &bytes[..]].concat();
        if let Ok(item) = decode_item(&bytes) {
            prop_assert_eq!(encode_item(&item), bytes);
        }
    }

    #[test]
    fn damaged_items_are_errors_or_other_items(item in item(), at: prop::sample::Index, flip in 1..=255u8) {
        let mut bytes = encode_item(&item);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = decode_item(&bytes) {
            prop_assert_ne!(&other, &item);
            prop_assert_eq!(encode_item(&other), bytes);
        }
    }

    #[test]
    fn comparisons_are_consistent(a in value(), b in value()) {
        use meridian_dynamo::expr::{Comparator, compare};
        let holds = |comparator| compare(&a, comparator, &b);
        prop_assert_eq!(holds(Comparator::Equal), !holds(Comparator::NotEqual));
        let scalar = |value: &AttributeValue| matches!(value, AttributeValue::S(_) | AttributeValue::N(_) | AttributeValue::B(_));
        let orders = [Comparator::Less, Comparator::Equal, Comparator::Greater].map(holds);
        if a.kind() == b.kind() && scalar(&a) {
            prop_assert_eq!(orders.iter().filter(|holds| **holds).count(), 1);
            prop_assert_eq!(holds(Comparator::LessOrEqual), !holds(Comparator::Greater));
            prop_assert_eq!(holds(Comparator::GreaterOrEqual), !holds(Comparator::Less));
        } else {
            prop_assert!(!holds(Comparator::LessOrEqual) && !holds(Comparator::GreaterOrEqual));
        }
    }
}
