//! How values compare: equality of all types, order of three.

use super::token::Comparator;
use crate::value::AttributeValue;
use core::cmp::Ordering;

/// The order of two values of one ordered type; none for other types or a mix.
#[must_use]
pub fn ordered(left: &AttributeValue, right: &AttributeValue) -> Option<Ordering> {
    match (left, right) {
        (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.cmp(b)),
        (AttributeValue::N(a), AttributeValue::N(b)) => Some(a.cmp(b)),
        (AttributeValue::B(a), AttributeValue::B(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether the comparison holds. Values of different types are unequal and in no order.
#[must_use]
pub fn compare(left: &AttributeValue, comparator: Comparator, right: &AttributeValue) -> bool {
    let order = || ordered(left, right);
    match comparator {
        Comparator::Equal => left == right,
        Comparator::NotEqual => left != right,
        Comparator::Less => order().is_some_and(Ordering::is_lt),
        Comparator::LessOrEqual => order().is_some_and(Ordering::is_le),
        Comparator::Greater => order().is_some_and(Ordering::is_gt),
        Comparator::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Comparator; 6] = [
        Comparator::Equal,
        Comparator::NotEqual,
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::Greater,
        Comparator::GreaterOrEqual,
    ];

    #[test]
    fn comparators_agree_with_the_order() {
        let text = |text: &str| AttributeValue::S(text.into());
        let holds = |a: &AttributeValue, b: &AttributeValue| ALL.map(|comparator| compare(a, comparator, b));
        assert_eq!(holds(&text("a"), &text("b")), [false, true, true, true, false, false]);
        assert_eq!(holds(&text("a"), &text("a")), [true, false, false, true, false, true]);
        assert_eq!(holds(&text("b"), &text("a")), [false, true, false, false, true, true]);
        assert_eq!(
            holds(&text("1"), &AttributeValue::N(1u64.into())),
            [false, true, false, false, false, false]
        );
        assert_eq!(
            holds(&AttributeValue::Null, &AttributeValue::Null),
            [true, false, false, false, false, false]
        );
        for (a, b) in [("a", "b"), ("b", "a"), ("a", "a")] {
            for comparator in ALL {
                assert_eq!(
                    compare(&text(a), comparator, &text(b)),
                    compare(&text(b), comparator.mirrored(), &text(a))
                );
            }
        }
    }
}
