//! The vocabulary of histories: operations, their times and their outcomes. Judges nothing.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use meridian_types::Position;

/// The item that an operation was about.
pub type Key = Arc<str>;

/// What a write stored. Each write of a history stores a value of its own, so that a read names the write it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

/// A client: a session that does one thing after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// The place of an operation in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub usize);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}", self.0)
    }
}

/// What a read asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The latest acknowledged state.
    Consistent,
    /// Whatever a replica has.
    Eventual,
}

/// What the client asked of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Read the register.
    Read(Consistency),
    /// Replace the register's value.
    Write(Value),
    /// Replace the register's value when it is the expected one (`None`: when there is none).
    CompareAndSet(Option<Value>, Value),
    /// Append a value to the key's list.
    Append(Value),
    /// Add to the key's counter.
    Add(i64),
}

/// What the store answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The write took effect.
    Done,
    /// The condition of a compare-and-set did not hold; nothing changed.
    Refused,
    /// A read saw this (`None`: no item).
    Saw(Option<Value>),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store answered.
    Ok(Reply),
    /// It certainly did not happen and never will.
    Failed,
    /// It may have happened, or may yet.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub client: ClientId,
    /// On what.
    pub key: Key,
    /// What was asked.
    pub call: Call,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was sent, on one monotonic clock for the whole history, in nanoseconds.
    pub invoked: u64,
    /// When the outcome was known, on the same clock; for [`Outcome::Unknown`] when the client gave up.
    pub returned: u64,
    /// The operations whose tokens the request carried: a read must be no older than any of them.
    pub after: Vec<OpId>,
    /// Where the write landed, when the store said so; makes the order of writes exact.
    pub position: Option<Position>,
}

impl Operation {
    /// The value that a register write would leave behind.
    #[must_use]
    pub fn written(&self) -> Option<Value> {
        match self.call {
            Call::Write(value) | Call::CompareAndSet(_, value) => Some(value),
            Call::Read(_) | Call::Append(_) | Call::Add(_) => None,
        }
    }

    /// Whether the store acknowledged that a write took effect.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.outcome == Outcome::Ok(Reply::Done)
    }

    /// Whether the operation may have changed something: acknowledged, or unknown.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.is_acknowledged() || self.outcome == Outcome::Unknown
    }
}

/// Operations of many clients, in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation; its id is for [`Operation::after`] of later ones.
    pub fn push(&mut self, operation: Operation) -> OpId {
        self.operations.push(operation);
        OpId(self.operations.len() - 1)
    }

    /// The operation of this id.
    #[must_use]
    pub fn get(&self, id: OpId) -> Option<&Operation> {
        self.operations.get(id.0)
    }

    /// All operations with their ids, as they were added.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Operation)> {
        self.operations.iter().enumerate().map(|(index, operation)| (OpId(index), operation))
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// One line that shows an operation to a person.
    #[must_use]
    pub fn describe(&self, id: OpId) -> String {
        let Some(op) = self.get(id) else { return alloc::format!("{id}: not in this history") };
        let Operation { client, key, call, outcome, invoked, returned, .. } = op;
        alloc::format!("{id}: client {} {call:?} {key} -> {outcome:?}, {invoked}..{returned} ns", client.0)
    }
}
