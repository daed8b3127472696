//! How a key of Redis is an item of the table, so that what several regions write at once merges by the table's rule.
//!
//! | attribute | what it holds | concurrent writes |
//! |---|---|---|
//! | `pk` | the key's bytes | |
//! | `t` | the [`Kind`] | the later one; every write sets it |
//! | `x` | when it expires, milliseconds since 1970; 0 or nothing: never | the later one |
//! | `v` | a string: a number where its text is just that, else bytes | the later one, increments add up |
//! | `h` | a hash: field to value, each as `v` | by field |
//! | `s` | a set of byte strings | by member, an addition wins |
//! | `z` | a sorted set: member to score; infinity as text | by member, increments add up |
//! | `d` | whether a hash has ever held a number with a fraction | |
//!
//! An item without `t`, one that has expired, and an empty collection are no key.

use super::error::RedisError;
use bytes::Bytes;
use meridian_dynamo::expr::{Comparator, Condition, Operand, Path, Step};
use meridian_dynamo::{AttributeValue, Item, Number};
use std::collections::BTreeMap;

pub(crate) const KEY: &str = "pk";
pub(crate) const KIND: &str = "t";
pub(crate) const EXPIRES: &str = "x";
pub(crate) const VALUE: &str = "v";
pub(crate) const HASH: &str = "h";
pub(crate) const SET: &str = "s";
pub(crate) const SORTED: &str = "z";
pub(crate) const FRACTIONS: &str = "d";

/// Members of maps.
pub(crate) type Members = BTreeMap<String, AttributeValue>;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string that is an integer of 64 bits.
    Int,
    /// A string that is another number.
    Decimal,
    /// Any other string.
    Raw,
    Hash,
    Set,
    Sorted,
}

/// The kinds that strings have.
pub(crate) const STRINGS: &[Kind] = &[Kind::Int, Kind::Decimal, Kind::Raw];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Decimal => "dec",
            Self::Raw => "raw",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Sorted => "zset",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Int, Self::Decimal, Self::Raw, Self::Hash, Self::Set, Self::Sorted];
        all.into_iter().find(|kind| kind.name() == name)
    }

    /// What TYPE answers.
    pub(crate) fn redis_type(self) -> &'static str {
        match self {
            Self::Int | Self::Decimal | Self::Raw => "string",
            other => other.name(),
        }
    }

    pub(crate) fn is_string(self) -> bool {
        STRINGS.contains(&self)
    }

    pub(crate) fn value(self) -> AttributeValue {
        AttributeValue::S(self.name().to_owned())
    }
}

/// A key that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live<'a> {
    pub(crate) item: &'a Item,
    pub(crate) kind: Kind,
    /// The moment, in milliseconds since 1970.
    pub(crate) now: i64,
}

impl<'a> Live<'a> {
    /// The key in an item, at this moment; nothing when the item is no key.
    pub(crate) fn of(item: Option<&'a Item>, now: i64) -> Option<Self> {
        let item = item?;
        let kind = match item.get(KIND)? {
            AttributeValue::S(name) => Kind::from_name(name)?,
            _ => return None,
        };
        let live = Self { item, kind, now };
        let filled = match kind {
            Kind::Hash => !live.hash().is_some_and(Members::is_empty),
            Kind::Sorted => !live.sorted().is_some_and(Members::is_empty),
            Kind::Set => item.contains_key(SET),
            Kind::Int | Kind::Decimal | Kind::Raw => true,
        };
        (filled && live.expires().is_none_or(|at| at > now)).then_some(live)
    }

    /// When it expires, if it does.
    pub(crate) fn expires(self) -> Option<i64> {
        match self.item.get(EXPIRES) {
            Some(AttributeValue::N(at)) => integer(at).filter(|at| *at > 0),
            _ => None,
        }
    }

    /// A string's bytes.
    ///
    /// # Errors
    /// [`RedisError::WrongType`].
    pub(crate) fn text(self) -> Result<Bytes, RedisError> {
        if !self.kind.is_string() {
            return Err(RedisError::WrongType);
        }
        Ok(self.item.get(VALUE).map_or_else(Bytes::new, text))
    }

    /// Checks the kind.
    ///
    /// # Errors
    /// [`RedisError::WrongType`].
    pub(crate) fn as_kind(self, kind: Kind) -> Result<Self, RedisError> {
        if self.kind == kind { Ok(self) } else { Err(RedisError::WrongType) }
    }

    fn map(self, name: &str) -> Option<&'a Members> {
        match self.item.get(name) {
            Some(AttributeValue::M(map)) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn hash(self) -> Option<&'a Members> {
        self.map(HASH)
    }

    pub(crate) fn sorted(self) -> Option<&'a Members> {
        self.map(SORTED)
    }
}

/// The bytes of a stored value.
pub(crate) fn text(value: &AttributeValue) -> Bytes {
    match value {
        AttributeValue::B(bytes) => Bytes::copy_from_slice(bytes),
        AttributeValue::N(number) => number.to_string().into(),
        AttributeValue::S(text) => Bytes::copy_from_slice(text.as_bytes()),
        _ => Bytes::new(),
    }
}

/// The integer that a number is, if it is one of 64 bits.
pub(crate) fn integer(number: &Number) -> Option<i64> {
    number.to_string().parse().ok()
}

/// How a value is stored: as the number that its text is in every character, else as bytes.
pub(crate) fn stored(bytes: &[u8]) -> (Kind, AttributeValue) {
    if let Some(number) = exact_number(bytes) {
        let kind = if integer(&number).is_some() { Kind::Int } else { Kind::Decimal };
        return (kind, AttributeValue::N(number));
    }
    (Kind::Raw, AttributeValue::B(bytes.to_vec()))
}

fn exact_number(bytes: &[u8]) -> Option<Number> {
    // 38 digits, a sign, a point and a zero before it; anything longer has another text.
    if bytes.len() > 41 || !bytes.last()?.is_ascii_digit() {
        return None;
    }
    let text = core::str::from_utf8(bytes).ok()?;
    let number: Number = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A field or member as the name of a map's entry: itself where it is text, else its bytes in hexadecimal behind a zero.
pub(crate) fn name_of(member: &[u8]) -> String {
    match core::str::from_utf8(member) {
        Ok(text) if !text.starts_with('\0') => text.to_owned(),
        _ => {
            let digits = member.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            core::iter::once('\0').chain(digits.map(digit)).collect()
        }
    }
}

/// The field or member that an entry's name stands for.
pub(crate) fn member_of(name: &str) -> Bytes {
    let Some(digits) = name.strip_prefix('\0') else { return Bytes::copy_from_slice(name.as_bytes()) };
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => nibble(*high).unwrap_or(0) << 4 | nibble(*low).unwrap_or(0),
        _ => 0,
    });
    pairs.collect()
}

/// A place of the item.
pub(crate) fn place(attribute: &str) -> Path {
    Path::attribute(attribute)
}

/// A place inside a map.
pub(crate) fn inside(attribute: &str, name: &str) -> Path {
    Path { root: attribute.to_owned(), steps: vec![Step::Name(name.to_owned())] }
}

pub(crate) fn key_item(key: &[u8]) -> Item {
    Item::from([(KEY.to_owned(), AttributeValue::B(key.to_vec()))])
}

pub(crate) fn equals(path: Path, value: AttributeValue) -> Condition {
    Condition::Compare(Operand::Path(path), Comparator::Equal, Operand::Value(value))
}

pub(crate) fn between(path: Path, low: i64, high: i64) -> Condition {
    let number = |value: i64| Operand::Value(AttributeValue::N(value.into()));
    Condition::Between(Operand::Path(path), number(low), number(high))
}

/// The key has expired.
fn expired(now: i64) -> Condition {
    between(place(EXPIRES), 1, now.max(1))
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

/// The key is there and of one of these kinds; a collection may have become empty.
pub(crate) fn is_kind(kinds: &[Kind], now: i64) -> Condition {
    let kinds = kinds.iter().map(|kind| Operand::Value(kind.value())).collect();
    Condition::And(vec![Condition::In(Operand::Path(place(KIND)), kinds), not(expired(now))])
}

/// There is no such key.
pub(crate) fn is_dead(now: i64) -> Condition {
    let kind = |kind: Kind| equals(place(KIND), kind.value());
    let no_members = |attribute: &str| {
        let nothing = Operand::Value(AttributeValue::N(Number::ZERO));
        let empty = Condition::Compare(Operand::Size(place(attribute)), Comparator::Equal, nothing);
        Condition::Or(vec![Condition::NotExists(place(attribute)), empty])
    };
    Condition::Or(vec![
        Condition::NotExists(place(KIND)),
        expired(now),
        Condition::And(vec![kind(Kind::Set), Condition::NotExists(place(SET))]),
        Condition::And(vec![kind(Kind::Hash), no_members(HASH)]),
        Condition::And(vec![kind(Kind::Sorted), no_members(SORTED)]),
    ])
}

/// The key is there.
pub(crate) fn is_live(now: i64) -> Condition {
    not(is_dead(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_stored_as_such_only_where_nothing_of_the_text_is_lost() {
        for text in ["0", "-7", "9223372036854775807", "1.5", "-0.25", "12345678901234567890"] {
            assert!(matches!(stored(text.as_bytes()).1, AttributeValue::N(_)), "{text}");
        }
        for text in ["", "00", "-0", "+1", "1.0", "1e3", ".5", "5.", " 1", "abc", "1.50", "0x10"] {
            assert_eq!(stored(text.as_bytes()), (Kind::Raw, AttributeValue::B(text.into())), "{text}");
        }
        assert_eq!(stored(b"9223372036854775808").0, Kind::Decimal);
    }

    #[test]
    fn an_expired_key_and_an_empty_one_are_no_keys() {
        let item = |kind: Kind, extra: (&str, AttributeValue)| {
            let mut item = key_item(b"k");
            item.insert(KIND.to_owned(), kind.value());
            item.insert(extra.0.to_owned(), extra.1);
            item
        };
        let number = |value: i64| AttributeValue::N(value.into());
        let cases = [
            (item(Kind::Raw, (EXPIRES, number(100))), false),
            (item(Kind::Raw, (EXPIRES, number(101))), true),
            (item(Kind::Raw, (EXPIRES, number(0))), true),
            (item(Kind::Hash, (HASH, AttributeValue::M(Members::new()))), false),
            (item(Kind::Set, (VALUE, number(1))), false),
            (item(Kind::Sorted, (SORTED, AttributeValue::M([("a".to_owned(), number(1))].into()))), true),
            (key_item(b"k"), false),
        ];
        for (item, there) in cases {
            assert_eq!(is_live(100).holds(&item), there, "{item:?}");
            assert_eq!(is_dead(100).holds(&item), !there, "{item:?}");
            assert_eq!(Live::of(Some(&item), 100).is_some(), there, "{item:?}");
        }
    }

    proptest! {
        #[test]
        fn stored_values_read_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            prop_assert_eq!(text(&stored(&bytes).1), bytes);
        }

        #[test]
        fn numbers_read_back_as_they_were(number in "-?[0-9]{1,25}(\\.[0-9]{1,15})?") {
            prop_assert_eq!(text(&stored(number.as_bytes()).1), number.as_bytes());
        }

        #[test]
        fn members_have_names_of_their_own(
            a in prop::collection::vec(any::<u8>(), 0..8), b in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            prop_assert_eq!(member_of(&name_of(&a)), a.clone());
            prop_assert_eq!(name_of(&a) == name_of(&b), a == b);
        }
    }
}
