//! Writes as values: what a validated PutItem, UpdateItem or DeleteItem asks, and what it does to one item.
//!
//! [`evaluate`] is pure, total and deterministic: the leader calls it once, and only its result is replicated.

use crate::error::DynamoError;
use crate::expr::{Condition, UpdateExpr};
use crate::key::{ItemKey, TableSchema};
use crate::read::stored_size;
use crate::size;
use crate::value::Item;
use meridian_types::TableName;
use serde::{Deserialize, Serialize};

/// Which image of the item the answer carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnValues {
    /// None.
    #[default]
    None,
    /// The whole item before the write.
    AllOld,
    /// The attributes that the update names, before it.
    UpdatedOld,
    /// The whole item after the write.
    AllNew,
    /// The attributes that the update names, after it.
    UpdatedNew,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WriteKind {
    /// Replaces the item.
    Put {
        /// The new item, key included.
        item: Item,
    },
    /// Changes attributes; creates the item when there is none.
    Update {
        /// The key attributes, and no others.
        key: Item,
        /// What to change.
        update: UpdateExpr,
    },
    /// Removes the item.
    Delete {
        /// The key attributes, and no others.
        key: Item,
    },
}

/// One conditional write of one item. Travels between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteOp {
    /// The table.
    pub table: TableName,
    /// What to do.
    pub kind: WriteKind,
    /// What must hold of the current item.
    pub condition: Option<Condition>,
    /// What to answer.
    pub return_values: ReturnValues,
    /// Whether a failed condition answers with the item that failed it.
    pub return_on_failure: bool,
}

impl WriteOp {
    /// The item's key under `schema`.
    ///
    /// # Errors
    /// `ValidationException` when a key attribute is missing, of the wrong type, empty, too long, or (in a bare key)
    /// accompanied by others.
    pub fn key(&self, schema: &TableSchema) -> Result<ItemKey, DynamoError> {
        match &self.kind {
            WriteKind::Put { item } => schema.key_of_item(item),
            WriteKind::Update { key, .. } | WriteKind::Delete { key } => schema.key_of_request(key),
        }
    }

    /// Like [`WriteOp::key`], in the words that BatchWriteItem has for an item without its key.
    ///
    /// # Errors
    /// As [`WriteOp::key`].
    pub fn batch_key(&self, schema: &TableSchema) -> Result<ItemKey, DynamoError> {
        match &self.kind {
            WriteKind::Put { item } => schema.key_of_request(&schema.key_attributes(item)),
            _ => self.key(schema),
        }
    }

    /// Checks what depends on the table's key and on no item.
    ///
    /// # Errors
    /// As [`WriteOp::key`], and `ValidationException` for an update of a key attribute.
    pub fn check(&self, schema: &TableSchema) -> Result<ItemKey, DynamoError> {
        let key = self.key(schema)?;
        if let WriteKind::Update { update, .. } = &self.kind {
            update.check_keys(schema)?;
        }
        Ok(key)
    }
}

/// What becomes of the item.
#[derive(Clone, Debug, PartialEq)]
pub enum After {
    /// Nothing changes (a delete of what is not there).
    Unchanged,
    /// The item is now this.
    Put(Item),
    /// The item is gone.
    Delete,
}

/// What the client is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteOutcome {
    /// The image that [`ReturnValues`] asked for.
    pub attributes: Option<Item>,
    /// Bytes of the item before, 0 when there was none.
    pub size_before: u32,
    /// Bytes of the item after, 0 when there is none.
    pub size_after: u32,
}

impl WriteOutcome {
    /// The bytes that consumed capacity counts: the larger image.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.size_before.max(self.size_after))
    }
}

/// The result of evaluating a write against the current item.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// What to store.
    pub after: After,
    /// What to answer once it is stored.
    pub outcome: WriteOutcome,
}

/// What `op` does to `current`, the item that its key names now (`None` when there is none).
///
/// Deterministic and total: the same arguments give the same result on every node.
///
/// # Errors
/// `ConditionalCheckFailedException` when the condition does not hold; `ValidationException` when the key does not
/// match the schema, the update does not fit the item, or the item would be too large or too deep.
pub fn evaluate(
    schema: &TableSchema,
    current: Option<&Item>,
    op: &WriteOp,
) -> Result<Evaluated, DynamoError> {
    op.check(schema)?;
    let nothing = Item::new();
    if let Some(condition) = &op.condition
        && !condition.holds(current.unwrap_or(&nothing))
    {
        let item = if op.return_on_failure { current.cloned() } else { None };
        return Err(DynamoError::ConditionalCheckFailed { item });
    }
    let after = match &op.kind {
        WriteKind::Put { item } => {
            size::check_put(item)?;
            After::Put(item.clone())
        }
        WriteKind::Update { key, update } => {
            let item = update.apply(current.unwrap_or(key))?;
            size::check_updated(&item)?;
            After::Put(item)
        }
        WriteKind::Delete { .. } if current.is_none() => After::Unchanged,
        WriteKind::Delete { .. } => After::Delete,
    };
    let stored = match &after {
        After::Put(item) => Some(item),
        After::Unchanged | After::Delete => None,
    };
    let outcome = WriteOutcome {
        attributes: returned(op, current, stored),
        size_before: current.map_or(0, stored_size),
        size_after: stored.map_or(0, stored_size),
    };
    Ok(Evaluated { after, outcome })
}

fn returned(op: &WriteOp, before: Option<&Item>, after: Option<&Item>) -> Option<Item> {
    let touched = |item: Option<&Item>| match &op.kind {
        WriteKind::Update { update, .. } => {
            item.map(|item| update.touched(item)).filter(|item| !item.is_empty())
        }
        _ => None,
    };
    match op.return_values {
        ReturnValues::None => None,
        ReturnValues::AllOld => before.cloned(),
        ReturnValues::AllNew => after.cloned(),
        ReturnValues::UpdatedOld => touched(before),
        ReturnValues::UpdatedNew => touched(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Path, SetAction, SetValue};
    use crate::key::{KeyAttribute, KeyKind};
    use crate::number::Number;
    use crate::value::AttributeValue;
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn schema() -> TableSchema {
        TableSchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None }
    }

    fn key() -> Item {
        Item::from([("pk".into(), AttributeValue::S("a".into()))])
    }

    fn with_n(n: i64) -> Item {
        let mut item = key();
        item.insert("n".into(), AttributeValue::N(n.into()));
        item
    }

    fn op(kind: WriteKind) -> WriteOp {
        WriteOp {
            table: TableName::new("abc").unwrap(),
            kind,
            condition: None,
            return_values: ReturnValues::AllOld,
            return_on_failure: false,
        }
    }

    /// `SET n = if_not_exists(n, 0) + 1`.
    fn increment() -> UpdateExpr {
        let path = Path::attribute("n");
        let number = |n: i64| Box::new(SetValue::Value(AttributeValue::N(n.into())));
        let present = Box::new(SetValue::IfNotExists(path.clone(), number(0)));
        UpdateExpr {
            sets: vec![SetAction { path, value: SetValue::Plus(present, number(1)) }],
            ..UpdateExpr::default()
        }
    }

    #[test]
    fn puts_replace_and_deletes_remove() {
        let put = op(WriteKind::Put { item: with_n(2) });
        let done = evaluate(&schema(), Some(&with_n(1)), &put).unwrap();
        assert_eq!(done.after, After::Put(with_n(2)));
        assert_eq!(done.outcome.attributes, Some(with_n(1)));
        assert_eq!((done.outcome.size_before, done.outcome.size_after), (6, 6));
        let delete = op(WriteKind::Delete { key: key() });
        assert_eq!(evaluate(&schema(), Some(&with_n(1)), &delete).unwrap().after, After::Delete);
        let nothing = evaluate(&schema(), None, &delete).unwrap();
        assert_eq!((nothing.after, nothing.outcome.attributes), (After::Unchanged, None));
    }

    #[test]
    fn an_update_creates_what_is_not_there_and_returns_what_was_asked() {
        let mut update = op(WriteKind::Update { key: key(), update: increment() });
        let answers = [
            (ReturnValues::None, None, None),
            (ReturnValues::AllOld, None, Some(with_n(1))),
            (ReturnValues::AllNew, Some(with_n(1)), Some(with_n(2))),
            (ReturnValues::UpdatedOld, None, Some(1)).map_n(),
            (ReturnValues::UpdatedNew, Some(1), Some(2)).map_n(),
        ];
        for (wanted, created, changed) in answers {
            update.return_values = wanted;
            let first = evaluate(&schema(), None, &update).unwrap();
            assert_eq!(first.after, After::Put(with_n(1)));
            assert_eq!(first.outcome.attributes, created, "{wanted:?}");
            let second = evaluate(&schema(), Some(&with_n(1)), &update).unwrap();
            assert_eq!(second.after, After::Put(with_n(2)));
            assert_eq!(second.outcome.attributes, changed, "{wanted:?}");
        }
    }

    trait MapN {
        fn map_n(self) -> (ReturnValues, Option<Item>, Option<Item>);
    }

    impl MapN for (ReturnValues, Option<i64>, Option<i64>) {
        fn map_n(self) -> (ReturnValues, Option<Item>, Option<Item>) {
            let only = |n: i64| Item::from([("n".into(), AttributeValue::N(n.into()))]);
            (self.0, self.1.map(only), self.2.map(only))
        }
    }

    #[test]
    fn a_failed_condition_changes_nothing_and_shows_the_item_when_asked() {
        let mut put = op(WriteKind::Put { item: with_n(2) });
        put.condition = Some(Condition::NotExists(Path::attribute("pk")));
        assert!(evaluate(&schema(), None, &put).is_ok());
        let failed = evaluate(&schema(), Some(&with_n(1)), &put).unwrap_err();
        assert_eq!(failed, DynamoError::ConditionalCheckFailed { item: None });
        put.return_on_failure = true;
        let failed = evaluate(&schema(), Some(&with_n(1)), &put).unwrap_err();
        assert_eq!(failed, DynamoError::ConditionalCheckFailed { item: Some(with_n(1)) });
    }

    #[test]
    fn keys_are_checked_and_cannot_be_updated() {
        let update = UpdateExpr { removes: vec![Path::attribute("pk")], ..UpdateExpr::default() };
        let error = evaluate(&schema(), None, &op(WriteKind::Update { key: key(), update })).unwrap_err();
        assert!(error.to_string().contains("Cannot update attribute pk"), "{error}");
        let error = evaluate(&schema(), None, &op(WriteKind::Put { item: Item::new() })).unwrap_err();
        assert!(error.to_string().contains("Missing the key pk"), "{error}");
        let batch = op(WriteKind::Put { item: Item::new() }).batch_key(&schema()).unwrap_err();
        assert_eq!(batch.to_string(), "The provided key element does not match the schema");
    }

    #[test]
    fn an_update_cannot_make_an_item_too_large() {
        let mut large = key();
        large.insert("x".into(), AttributeValue::S("x".repeat(size::MAX_ITEM_SIZE - 10)));
        let value = SetValue::Value(AttributeValue::S("y".repeat(20)));
        let sets = vec![SetAction { path: Path::attribute("y"), value }];
        let update = UpdateExpr { sets, ..UpdateExpr::default() };
        let write = op(WriteKind::Update { key: key(), update });
        let error = evaluate(&schema(), Some(&large), &write).unwrap_err();
        assert_eq!(error.to_string(), "Item size to update has exceeded the maximum allowed size");
    }

    proptest! {
        #[test]
        fn writes_survive_the_way_between_nodes(n in any::<i64>(), on_failure in any::<bool>()) {
            let mut write = op(WriteKind::Put { item: with_n(n) });
            write.condition = Some(Condition::Exists(Path::attribute("n")));
            write.return_on_failure = on_failure;
            let bytes = postcard::to_allocvec(&write).unwrap();
            prop_assert_eq!(postcard::from_bytes::<WriteOp>(&bytes).unwrap(), write);
        }

        #[test]
        fn increments_add_up(times in 1u32..50) {
            let update = op(WriteKind::Update { key: key(), update: increment() });
            let mut item: Option<Item> = None;
            for _ in 0..times {
                let After::Put(next) = evaluate(&schema(), item.as_ref(), &update).unwrap().after else {
                    panic!("an update puts");
                };
                item = Some(next);
            }
            let expected = AttributeValue::N(Number::from(u64::from(times)));
            prop_assert_eq!(item.and_then(|item| item.get("n").cloned()), Some(expected));
        }
    }
}
