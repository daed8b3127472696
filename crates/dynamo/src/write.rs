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
