//! What items weigh, and the bounds on weight and nesting. Sizes are the API's, not those of the disk form.

use crate::error::DynamoError;
use crate::value::{AttributeValue, Item};

/// The largest item, in bytes.
pub const MAX_ITEM_SIZE: usize = 400 * 1024;
/// The most levels of a value: it, and what is inside maps and lists, each one level.
pub const MAX_NESTING: usize = 32;

/// What a value that is nested too deep is refused with.
pub const NESTING_MESSAGE: &str = "Nesting Levels have exceeded supported limits: Attributes in the item have nested \
                                   levels beyond supported limit";

/// The size of an item: names and values.
#[must_use]
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// The size of a value, without a name.
#[must_use]
pub fn value_size(value: &AttributeValue) -> usize {
    // A map or list takes three bytes, and one for each member.
    const CONTAINER: usize = 3;
    const MEMBER: usize = 1;
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.size(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::Bool(_) | AttributeValue::Null => 1,
        AttributeValue::M(map) => {
            CONTAINER + map.iter().map(|(name, value)| MEMBER + name.len() + value_size(value)).sum::<usize>()
        }
        AttributeValue::L(list) => {
            CONTAINER + list.iter().map(|value| MEMBER + value_size(value)).sum::<usize>()
        }
        AttributeValue::Ss(set) => set.iter().map(alloc::string::String::len).sum(),
        AttributeValue::Ns(set) => set.iter().map(|number| number.size()).sum(),
        AttributeValue::Bs(set) => set.iter().map(alloc::vec::Vec::len).sum(),
    }
}

/// Whether a value has more than [`MAX_NESTING`] levels. Looks no deeper than that.
#[must_use]
pub fn nests_too_deep(value: &AttributeValue) -> bool {
    fn deeper_than(value: &AttributeValue, levels: usize) -> bool {
        levels == 0
            || match value {
                AttributeValue::M(map) => map.values().any(|value| deeper_than(value, levels - 1)),
                AttributeValue::L(list) => list.iter().any(|value| deeper_than(value, levels - 1)),
                _ => false,
            }
    }
    deeper_than(value, MAX_NESTING)
}

/// Refuses an item that is too large to be put.
///
/// # Errors
/// `ValidationException`.
pub fn check_put(item: &Item) -> Result<(), DynamoError> {
    if item_size(item) > MAX_ITEM_SIZE {
        return Err(DynamoError::validation("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}

/// Refuses an item that an update made too deep or too large.
///
/// # Errors
/// `ValidationException`.
pub fn check_updated(item: &Item) -> Result<(), DynamoError> {
    if item.values().any(nests_too_deep) {
        return Err(DynamoError::validation("Nesting Levels have exceeded supported limits"));
    }
    if item_size(item) > MAX_ITEM_SIZE {
        return Err(DynamoError::validation("Item size to update has exceeded the maximum allowed size"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    fn wrapped(levels: usize) -> AttributeValue {
        (0..levels).fold(AttributeValue::Null, |inner, _| AttributeValue::L(vec![inner]))
    }

    #[test]
    fn sizes_follow_the_rules_of_the_api() {
        let text = |text: &str| AttributeValue::S(text.into());
        assert_eq!(value_size(&text("äb")), 3);
        assert_eq!(value_size(&AttributeValue::B(vec![0; 7])), 7);
        assert_eq!(value_size(&AttributeValue::Bool(false)), 1);
        assert_eq!(value_size(&AttributeValue::L(vec![text("ab"), AttributeValue::Null])), 3 + 3 + 2);
        assert_eq!(value_size(&AttributeValue::M([("key".into(), text("ab"))].into())), 3 + 1 + 3 + 2);
        assert_eq!(value_size(&AttributeValue::Ss(["a".into(), "bc".into()].into())), 3);
        assert_eq!(value_size(&AttributeValue::Ns([1u64.into(), 100u64.into()].into())), 4);
        assert_eq!(value_size(&AttributeValue::Bs([vec![1], Vec::new()].into())), 1);
        assert_eq!(item_size(&Item::from([("name".into(), text("ab"))])), 6);
    }

    #[test]
    fn the_largest_item_is_400_kb() {
        let item = |len: usize| Item::from([("a".into(), AttributeValue::S("x".repeat(len)))]);
        assert_eq!(check_put(&item(MAX_ITEM_SIZE - 1)), Ok(()));
        assert_eq!(check_updated(&item(MAX_ITEM_SIZE - 1)), Ok(()));
        assert!(check_put(&item(MAX_ITEM_SIZE)).is_err());
        assert!(check_updated(&item(MAX_ITEM_SIZE)).is_err());
    }

    #[test]
    fn nesting_ends_at_32_levels() {
        assert!(!nests_too_deep(&wrapped(MAX_NESTING - 1)));
        assert!(nests_too_deep(&wrapped(MAX_NESTING)));
        let empty_inside =
            (1..MAX_NESTING).fold(AttributeValue::L(vec![]), |inner, _| AttributeValue::L(vec![inner]));
        assert!(!nests_too_deep(&empty_inside));
        assert!(check_updated(&Item::from([(String::new(), wrapped(MAX_NESTING))])).is_err());
    }
}
