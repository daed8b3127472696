//! Checks of what is left when all is over: acknowledged writes are there, once, and nothing else is.

use crate::operation::{Call, History, Key, OpId, Value};
use crate::order::Writes;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What a consistent read of every key found after the last operation. A key that is absent holds nothing; a key that was not read
/// back must be in `unread`, or its writes count as lost.
#[derive(Clone, Debug, Default)]
pub struct FinalState {
    /// Registers.
    pub registers: BTreeMap<Key, Value>,
    /// Lists, in their order.
    pub lists: BTreeMap<Key, Vec<Value>>,
    /// Counters.
    pub counters: BTreeMap<Key, i64>,
    /// Keys that could not be read back: nothing is judged of them.
    pub unread: BTreeSet<Key>,
}

/// Something that the final state shows to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalViolation {
    /// An acknowledged write is not there.
    #[error("{key}: acknowledged write lost: {op}")]
    Lost {
        /// The key.
        key: Key,
        /// The write.
        op: OpId,
    },
    /// One append is in the list more than once.
    #[error("{key}: value {value:?} of {op} took effect {times} times")]
    Duplicate {
        /// The key.
        key: Key,
        /// The append.
        op: OpId,
        /// The value.
        value: Value,
        /// How often it is there.
        times: usize,
    },
    /// A value that nobody wrote, or whose write had certainly failed.
    #[error("{key}: holds {value:?}, which no write that may have happened wrote")]
    Phantom {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
    },
    /// A counter outside of what its additions allow.
    #[error("{key}: counter is {found}; the additions allow {least} to {most}")]
    Counter {
        /// The key.
        key: Key,
        /// The counter's value.
        found: i64,
        /// All acknowledged additions, and those unknown ones that lower it.
        least: i64,
        /// All acknowledged additions, and those unknown ones that raise it.
        most: i64,
    },
}

impl FinalViolation {
    /// The acknowledged write that was lost, if that is what is wrong.
    #[must_use]
    pub fn lost(&self) -> Option<OpId> {
        if let Self::Lost { op, .. } = self { Some(*op) } else { None }
    }
}

/// Judges the final state against the history; empty when all is well.
///
/// A register must not be older than any acknowledged write: after a rollback every write that is newer than what is left
/// counts as lost. A list must hold every acknowledged append once, and
/// may hold each unknown one once. A counter must lie between the acknowledged additions and those plus the unknown ones;
/// so a counter shows a duplicate for certain only when few additions are unknown, while a list always does.
#[must_use]
pub fn check_final(history: &History, state: &FinalState) -> Vec<FinalViolation> {
    let mut found = Vec::new();
    check_registers(history, state, &mut found);
    check_lists(history, state, &mut found);
    check_counters(history, state, &mut found);
    found
}

/// The age, at `fault_at`, of the oldest acknowledged write that was lost: the measured RPO, in nanoseconds.
///
/// 0 when none was lost, or when all that was lost was acknowledged after the fault.
#[must_use]
pub fn loss_age(history: &History, violations: &[FinalViolation], fault_at: u64) -> u64 {
    let lost = violations.iter().filter_map(FinalViolation::lost).filter_map(|op| history.get(op));
    lost.map(|op| fault_at.saturating_sub(op.returned)).max().unwrap_or(0)
}

fn check_registers(history: &History, state: &FinalState, found: &mut Vec<FinalViolation>) {
    let writes = Writes::of(history);
    for (key, value) in &state.registers {
        if writes.writer(key, *value).is_none_or(|(_, op)| !op.may_have_happened()) {
            found.push(FinalViolation::Phantom { key: key.clone(), value: *value });
        }
    }
    for key in writes.keys().filter(|key| !state.unread.contains(*key)) {
        let seen = state.registers.get(key).copied();
        for (id, op) in writes.acknowledged(key) {
            if writes.misses(key, seen, op) {
                found.push(FinalViolation::Lost { key: key.clone(), op: *id });
            }
        }
    }
}

fn check_lists(history: &History, state: &FinalState, found: &mut Vec<FinalViolation>) {
    let mut times: BTreeMap<(&Key, Value), usize> = BTreeMap::new();
    for (key, values) in &state.lists {
        for value in values {
            *times.entry((key, *value)).or_default() += 1;
        }
    }
    for (id, op) in history.iter().filter(|(_, op)| !state.unread.contains(&op.key)) {
        let Call::Append(value) = op.call else { continue };
        let (key, times) = (op.key.clone(), times.remove(&(&op.key, value)).unwrap_or(0));
        match times {
            0 if op.is_acknowledged() => found.push(FinalViolation::Lost { key, op: id }),
            1.. if !op.may_have_happened() => found.push(FinalViolation::Phantom { key, value }),
            2.. => found.push(FinalViolation::Duplicate { key, op: id, value, times }),
            _ => {}
        }
    }
    // What is left was appended by nobody.
    found.extend(times.into_keys().map(|(key, value)| FinalViolation::Phantom { key: key.clone(), value }));
}

fn check_counters(history: &History, state: &FinalState, found: &mut Vec<FinalViolation>) {
    let mut bounds: BTreeMap<&Key, (i64, i64)> = BTreeMap::new();
    for key in state.counters.keys() {
        bounds.insert(key, (0, 0));
    }
    for (_, op) in history.iter().filter(|(_, op)| op.may_have_happened()) {
        let Call::Add(amount) = op.call else { continue };
        let (least, most) = bounds.entry(&op.key).or_default();
        if op.is_acknowledged() || amount < 0 {
            *least = least.saturating_add(amount);
        }
        if op.is_acknowledged() || amount > 0 {
            *most = most.saturating_add(amount);
        }
    }
    for (key, (least, most)) in bounds.into_iter().filter(|(key, _)| !state.unread.contains(*key)) {
        let value = state.counters.get(key).copied().unwrap_or(0);
        if !(least..=most).contains(&value) {
            found.push(FinalViolation::Counter { key: key.clone(), found: value, least, most });
        }
    }
}
