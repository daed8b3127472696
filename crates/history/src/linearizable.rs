//! Linearizability of registers, key by key: is there one order of the operations that respects real time and explains every
//! answer?
//!
//! The search is Wing and Gong's, with Lowe's memory of what was tried ("Testing for linearizability", 2017). It walks
//! frontiers: which operations are placed, and what the register holds then. An answer that fits the present value and changes
//! nothing is placed at once, since placing it early can never hurt. An unknown write may be placed at any time after it was sent,
//! or never. The memory that the search takes is bounded, and past the bound the answer is "undecided", not "fine".

use crate::operation::{Call, Consistency, History, Key, OpId, Operation, Outcome, Reply, Value};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What the search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Keys whose operations fit no order, each with an operation that the longest partial order could not place.
    pub violations: Vec<(Key, OpId)>,
    /// Keys for which the bound was reached first.
    pub undecided: Vec<Key>,
}

impl Verdict {
    /// Whether every key was shown to be linearizable.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }
}

/// Judges the consistent reads, writes and compare-and-sets of every key, each key starting empty. Eventual reads, appends and
/// additions are not judged.
///
/// `budget` bounds the search of each key: about the number of frontiers that it may remember, a frontier counting more the more
/// operations overlap. A million is some 100 MB at worst.
#[must_use]
pub fn check_linearizable(history: &History, budget: usize) -> Verdict {
    let mut keys: BTreeMap<&Key, Vec<(OpId, &Operation)>> = BTreeMap::new();
    for (id, op) in history.iter() {
        keys.entry(&op.key).or_default().push((id, op));
    }
    let mut verdict = Verdict::default();
    for (key, operations) in keys {
        match Register::new(operations).search(budget) {
            Search::Fits => {}
            Search::Stuck(op) => verdict.violations.push((key.clone(), op)),
            Search::Bounded => verdict.undecided.push(key.clone()),
        }
    }
    verdict
}

/// What an operation does to the register.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// It shows the value to be this.
    Is(Option<Value>),
    /// It shows the value not to be this.
    IsNot(Option<Value>),
    /// It sets the value.
    Set(Value),
    /// It shows the value to be the first and sets it to the second.
    Swap(Option<Value>, Value),
}

impl Effect {
    /// The value afterwards, or `None` when the effect does not fit.
    fn apply(self, value: Option<Value>) -> Option<Option<Value>> {
        match self {
            Self::Is(seen) => (seen == value).then_some(value),
            Self::IsNot(other) => (other != value).then_some(value),
            Self::Set(new) => Some(Some(new)),
            Self::Swap(expected, new) => (expected == value).then_some(Some(new)),
        }
    }

    fn changes_nothing(self) -> bool {
        matches!(self, Self::Is(_) | Self::IsNot(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    id: OpId,
    effect: Effect,
    invoked: u64,
    returned: u64,
}

/// A state of the search. Equal frontiers have equal futures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frontier {
    /// Every answered step before this one is placed.
    base: usize,
    /// Answered steps after `base` that are placed too, in order.
    ahead: Vec<usize>,
    /// Unknown steps that are placed, in order.
    unknown: Vec<usize>,
    /// What the register holds.
    value: Option<Value>,
}

impl Frontier {
    /// Its memory, in steps.
    fn cost(&self) -> usize {
        1 + self.ahead.len() + self.unknown.len()
    }
}

enum Search {
    Fits,
    Stuck(OpId),
    Bounded,
}

/// The operations of one key, by time of sending.
struct Register {
    answered: Vec<Step>,
    unknown: Vec<Step>,
}

impl Register {
    fn new(operations: Vec<(OpId, &Operation)>) -> Self {
        let mut answered = Vec::new();
        let mut unknown = Vec::new();
        for (id, op) in operations {
            let step = |effect| Step { id, effect, invoked: op.invoked, returned: op.returned };
            match (&op.call, op.outcome) {
                (Call::Read(Consistency::Consistent), Outcome::Ok(Reply::Saw(seen))) => {
                    answered.push(step(Effect::Is(seen)));
                }
                (Call::Write(value), Outcome::Ok(Reply::Done)) => answered.push(step(Effect::Set(*value))),
                (Call::Write(value), Outcome::Unknown) => unknown.push(step(Effect::Set(*value))),
                (Call::CompareAndSet(old, new), Outcome::Ok(Reply::Done)) => {
                    answered.push(step(Effect::Swap(*old, *new)));
                }
                (Call::CompareAndSet(old, _), Outcome::Ok(Reply::Refused)) => {
                    answered.push(step(Effect::IsNot(*old)));
                }
                (Call::CompareAndSet(old, new), Outcome::Unknown) => {
                    unknown.push(step(Effect::Swap(*old, *new)));
                }
                _ => {}
            }
        }
        Self::drop_unseen(&answered, &mut unknown);
        answered.sort_by_key(|step| (step.invoked, step.id));
        unknown.sort_by_key(|step| (step.invoked, step.id));
        Self { answered, unknown }
    }

    /// Unknown writes that no answer can tell from never having happened need not be tried. A refusal can be explained by any
    /// value, so then all are kept.
    fn drop_unseen(answered: &[Step], unknown: &mut Vec<Step>) {
        if answered.iter().any(|step| matches!(step.effect, Effect::IsNot(_))) {
            return;
        }
        let mut seen: BTreeSet<Value> = BTreeSet::new();
        for step in answered.iter().chain(unknown.iter()) {
            if let Effect::Is(Some(value)) | Effect::Swap(Some(value), _) = step.effect {
                seen.insert(value);
            }
        }
        unknown.retain(|step| match step.effect {
            Effect::Set(value) | Effect::Swap(_, value) => seen.contains(&value),
            Effect::Is(_) | Effect::IsNot(_) => false,
        });
    }

    fn search(&self, budget: usize) -> Search {
        let start = Frontier { base: 0, ahead: Vec::new(), unknown: Vec::new(), value: None };
        let mut seen = BTreeSet::from([start.clone()]);
        let mut open = Vec::from([start]);
        let mut spent = 0;
        let mut furthest = 0;
        let mut stuck = self.answered.first().map(|step| step.id);
        while let Some(frontier) = open.pop() {
            if frontier.base == self.answered.len() {
                return Search::Fits;
            }
            let candidates = self.candidates(&frontier);
            let placed = frontier.base + frontier.ahead.len();
            if placed >= furthest {
                furthest = placed;
                // Of what could come next the one that must: whatever is placed, it is not after this.
                stuck = candidates
                    .iter()
                    .filter_map(|i| self.answered.get(*i))
                    .min_by_key(|s| s.returned)
                    .map(|s| s.id);
            }
            for next in self.successors(&frontier, &candidates) {
                if seen.contains(&next) {
                    continue;
                }
                spent += next.cost();
                if spent > budget {
                    return Search::Bounded;
                }
                seen.insert(next.clone());
                open.push(next);
            }
        }
        // Without answered steps the start is the end, so there is one here.
        stuck.map_or(Search::Fits, Search::Stuck)
    }

    /// The answered steps that real time allows next.
    fn candidates(&self, frontier: &Frontier) -> Vec<usize> {
        let mut horizon = u64::MAX;
        let mut candidates = Vec::new();
        for (index, step) in self.answered.iter().enumerate().skip(frontier.base) {
            if step.invoked > horizon {
                break;
            }
            if frontier.ahead.binary_search(&index).is_err() {
                horizon = horizon.min(step.returned);
                candidates.push(index);
            }
        }
        candidates
    }

    /// What may be placed next, the most likely last.
    fn successors(&self, frontier: &Frontier, candidates: &[usize]) -> Vec<Frontier> {
        let fitting = candidates.iter().filter_map(|index| {
            let step = self.answered.get(*index)?;
            step.effect.apply(frontier.value).map(|value| (*index, step, value))
        });
        let mut next: Vec<_> = fitting.collect();
        if let Some((index, ..)) = next.iter().find(|(_, step, _)| step.effect.changes_nothing()) {
            return Vec::from([self.place(frontier, *index, frontier.value)]);
        }
        let mut successors = Vec::new();
        let horizon = candidates.iter().filter_map(|i| self.answered.get(*i)).map(|step| step.returned).min();
        for (index, step) in self.unknown.iter().enumerate() {
            let allowed = horizon.is_some_and(|horizon| step.invoked <= horizon);
            if let Some(value) = step.effect.apply(frontier.value)
                && let Err(at) = frontier.unknown.binary_search(&index)
                && allowed
            {
                let mut placed = frontier.clone();
                placed.unknown.insert(at, index);
                placed.value = value;
                successors.push(placed);
            }
        }
        // The step that returned first was most likely the next.
        next.sort_by_key(|(_, step, _)| core::cmp::Reverse(step.returned));
        successors.extend(next.into_iter().map(|(index, _, value)| self.place(frontier, index, value)));
        successors
    }

    fn place(&self, frontier: &Frontier, index: usize, value: Option<Value>) -> Frontier {
        let mut placed = frontier.clone();
        placed.value = value;
        if let Err(at) = placed.ahead.binary_search(&index) {
            placed.ahead.insert(at, index);
        }
        let run = placed.ahead.iter().zip(placed.base..).take_while(|(index, base)| **index == *base).count();
        placed.base += run;
        placed.ahead.drain(..run);
        placed
    }
}
