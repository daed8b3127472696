//! What a command does to its key, as decisions: what to write under which condition, given what is known of the item.
//!
//! Most commands begin with a guess that is right nearly always. Where the condition does not hold, the item that it failed on is
//! what the next decision goes by; so each write is one atomic step, and nothing is read before it that it does not need.

use super::error::RedisError;
use super::layout::{EXPIRES, KIND, Kind, Live, is_dead, key_item, place};
use super::reply::Reply;
use bytes::Bytes;
use meridian_dynamo::expr::{Condition, Path, SetAction, SetValue, UpdateExpr, ValueAction};
use meridian_dynamo::write::{ReturnValues, WriteKind};
use meridian_dynamo::{AttributeValue, Item, Number};

/// What is known of a key's item.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Nothing yet.
    Unknown,
    /// This is it; nothing when there is none.
    Item(Option<Item>),
}

impl Seen {
    /// The key, when it is known and there.
    pub(crate) fn live(&self, now: i64) -> Option<Live<'_>> {
        match self {
            Self::Item(item) => Live::of(item.as_ref(), now),
            Self::Unknown => None,
        }
    }
}

/// What to do next.
pub(crate) enum Next {
    /// The command is done.
    Answer(Result<Reply, RedisError>),
    /// The item has to be known first.
    Read,
    /// This is to be written. Where its condition fails, the decision is taken again with the item that there is.
    Write(Box<Attempt>),
}

/// Makes a reply of the attributes that the write returned. The second part: the collection may have become empty.
type Finish = Box<dyn FnOnce(Option<&Item>) -> Finished + Send>;

/// How a write ended.
pub(crate) enum Finished {
    /// The command is done.
    Done(Result<Reply, RedisError>),
    /// The last member is gone, and so the key has to go, as long as this holds.
    Emptied(Reply, Condition),
    /// That was the first of two writes.
    Again,
}

/// One conditional write.
pub(crate) struct Attempt {
    pub(crate) kind: WriteKind,
    pub(crate) condition: Option<Condition>,
    pub(crate) returns: ReturnValues,
    pub(crate) finish: Finish,
}

/// Takes the decision at a moment, in milliseconds since 1970.
pub(crate) type Decide = Box<dyn Fn(&Seen, i64) -> Next + Send + Sync>;

impl Attempt {
    pub(crate) fn new(kind: WriteKind, condition: Option<Condition>) -> Self {
        let finish: Finish = Box::new(|_| Finished::Done(Ok(Reply::Simple("OK"))));
        Self { kind, condition, returns: ReturnValues::None, finish }
    }

    /// Answers this.
    pub(crate) fn answer(self, reply: Reply) -> Next {
        self.finish(ReturnValues::None, move |_| Finished::Done(Ok(reply)))
    }

    /// Answers what comes of the attributes that are returned.
    pub(crate) fn returning(
        self,
        returns: ReturnValues,
        reply: impl FnOnce(&Item) -> Result<Reply, RedisError> + Send + 'static,
    ) -> Next {
        let nothing = Item::new();
        self.finish(returns, move |item| Finished::Done(reply(item.unwrap_or(&nothing))))
    }

    /// Goes on by what comes of the attributes that are returned.
    pub(crate) fn finish(
        self,
        returns: ReturnValues,
        finish: impl FnOnce(Option<&Item>) -> Finished + Send + 'static,
    ) -> Next {
        Next::Write(Box::new(Self { returns, finish: Box::new(finish), ..self }))
    }
}

/// A new item with its kind and one attribute, as long as there is no such key.
pub(crate) fn create(
    key: &Bytes,
    kind: Kind,
    attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    now: i64,
) -> Attempt {
    Attempt::new(WriteKind::Put { item: fresh(key, kind, attributes) }, Some(is_dead(now)))
}

/// The item of a key that begins.
pub(crate) fn fresh(
    key: &Bytes,
    kind: Kind,
    attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> Item {
    let mut item = key_item(key);
    item.insert(KIND.to_owned(), kind.value());
    item.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// The expiry as it is stored; said even where there is none, so that it goes with the value that it was written with.
pub(crate) fn expiry(at: Option<i64>) -> (&'static str, AttributeValue) {
    (EXPIRES, AttributeValue::N(at.unwrap_or(0).into()))
}

/// Changes of one item.
#[derive(Default)]
pub(crate) struct Update(UpdateExpr);

impl Update {
    /// An update that also says what the key holds, so that a write at the same moment elsewhere does not.
    pub(crate) fn of(kind: Kind) -> Self {
        Self::default().set(place(KIND), kind.value())
    }

    pub(crate) fn set(mut self, path: Path, value: AttributeValue) -> Self {
        self.0.sets.push(SetAction { path, value: SetValue::Value(value) });
        self
    }

    pub(crate) fn expire(self, at: Option<i64>) -> Self {
        let (name, value) = expiry(at);
        self.set(place(name), value)
    }

    pub(crate) fn remove(mut self, path: Path) -> Self {
        self.0.removes.push(path);
        self
    }

    pub(crate) fn add(mut self, path: Path, value: AttributeValue) -> Self {
        self.0.adds.push(ValueAction { path, value });
        self
    }

    pub(crate) fn add_number(self, path: Path, number: impl Into<Number>) -> Self {
        self.add(path, AttributeValue::N(number.into()))
    }

    pub(crate) fn delete(mut self, path: Path, value: AttributeValue) -> Self {
        self.0.deletes.push(ValueAction { path, value });
        self
    }

    /// The write of it.
    pub(crate) fn on(self, key: &Bytes, condition: Condition) -> Attempt {
        let kind = WriteKind::Update { key: key_item(key), update: self.0 };
        Attempt::new(kind, Some(condition))
    }
}

/// Removes the item, as long as the condition holds.
pub(crate) fn delete(key: &Bytes, condition: Condition) -> Attempt {
    Attempt::new(WriteKind::Delete { key: key_item(key) }, Some(condition))
}

/// Both hold.
pub(crate) fn both(one: Condition, other: Condition) -> Condition {
    Condition::And(vec![one, other])
}
