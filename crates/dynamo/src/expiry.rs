//! When an item of a table with a time to live has expired.

use crate::expr::{Condition, Operand, Path};
use crate::value::AttributeValue;

/// Items that expired longer ago than this stay, as in the real API: they are more likely a mistake than meant.
const TOO_OLD_S: u64 = 5 * 365 * 24 * 60 * 60;

/// Holds of an item whose attribute is a number of seconds since 1970 not after `now_s`, and not more than five years before it.
#[must_use]
pub fn has_expired(attribute: &str, now_s: u64) -> Condition {
    let bound = |seconds: u64| Operand::Value(AttributeValue::N(seconds.into()));
    let at = Operand::Path(Path::attribute(attribute));
    Condition::Between(at, bound(now_s.saturating_sub(TOO_OLD_S).max(1)), bound(now_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Item;
    use alloc::borrow::ToOwned;

    #[test]
    fn only_numbers_of_the_last_five_years_have_expired() {
        let now = 1_800_000_000;
        let number = |text: &str| AttributeValue::N(text.parse().unwrap());
        let cases = [
            (number("1800000000"), true),
            (number("1799999999.5"), true),
            (number("1800000001"), false),
            // Milliseconds, as is often meant by mistake.
            (number("1800000000000"), false),
            (number("1700000000"), true),
            (number("1600000000"), false),
            (number("0"), false),
            (number("-5"), false),
            (AttributeValue::S("1700000000".to_owned()), false),
        ];
        for (value, expired) in cases {
            let item = Item::from([("until".to_owned(), value.clone())]);
            assert_eq!(has_expired("until", now).holds(&item), expired, "{value:?}");
        }
        assert!(!has_expired("other", now).holds(&Item::new()));
    }
}
