//! Which of two writes to one register certainly came first. The ground that the quick checkers stand on.

use crate::operation::{History, Key, OpId, Operation, Value};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The writes of every register, by key and value.
pub(crate) struct Writes<'a> {
    by_value: BTreeMap<(&'a Key, Value), (OpId, &'a Operation)>,
    acknowledged: BTreeMap<&'a Key, Vec<(OpId, &'a Operation)>>,
}

impl<'a> Writes<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let mut by_value = BTreeMap::new();
        let mut acknowledged: BTreeMap<&Key, Vec<(OpId, &Operation)>> = BTreeMap::new();
        for (id, op) in history.iter() {
            let Some(value) = op.written() else { continue };
            by_value.insert((&op.key, value), (id, op));
            if op.is_acknowledged() {
                acknowledged.entry(&op.key).or_default().push((id, op));
            }
        }
        Self { by_value, acknowledged }
    }

    /// The write that stored `value` under `key`.
    pub(crate) fn writer(&self, key: &Key, value: Value) -> Option<(OpId, &'a Operation)> {
        self.by_value.get(&(key, value)).copied()
    }

    /// The acknowledged writes of `key`.
    pub(crate) fn acknowledged(&self, key: &Key) -> &[(OpId, &'a Operation)] {
        self.acknowledged.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every key that has an acknowledged write.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a Key> + '_ {
        self.acknowledged.keys().copied()
    }

    /// Whether a register that shows `seen` certainly misses the acknowledged `write`.
    ///
    /// No item misses every write, since registers are never deleted. A value never written, or whose write failed, is another kind
    /// of wrong and misses nothing.
    pub(crate) fn misses(&self, key: &Key, seen: Option<Value>, write: &Operation) -> bool {
        let Some(value) = seen else { return true };
        self.writer(key, value).is_some_and(|(_, writer)| is_before(writer, write))
    }
}

/// Walks acknowledged writes of one key along time: for a read, the write that it must not miss.
pub(crate) struct Cursor<'a> {
    /// By time of return.
    writes: Vec<(OpId, &'a Operation)>,
    next: usize,
    latest: Option<(OpId, &'a Operation)>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(mut writes: Vec<(OpId, &'a Operation)>) -> Self {
        writes.sort_by_key(|(id, op)| (op.returned, *id));
        Self { writes, next: 0, latest: None }
    }

    /// Of the writes that returned before `time`, the one that was sent last. `time` never goes back between calls.
    pub(crate) fn before(&mut self, time: u64) -> Option<(OpId, &'a Operation)> {
        while let Some((id, write)) =
            self.writes.get(self.next).copied().filter(|(_, write)| write.returned < time)
        {
            self.latest =
                self.latest.filter(|(_, known)| known.invoked >= write.invoked).or(Some((id, write)));
            self.next += 1;
        }
        self.latest
    }
}

/// Whether write `a` certainly came before the acknowledged write `b` of the same key: by their positions in the group's log
/// where both are known, or because `a` was acknowledged before `b` was sent.
fn is_before(a: &Operation, b: &Operation) -> bool {
    if let (Some(a), Some(b)) = (a.position, b.position)
        && a.group == b.group
    {
        return (a.incarnation, a.index) < (b.incarnation, b.index);
    }
    a.is_acknowledged() && a.returned < b.invoked
}
