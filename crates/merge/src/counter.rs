//! Counters: for each origin the sum of what it added, and how much of that an assignment or removal has seen.
//!
//! What an assignment has not seen survives it. An origin that finds all it added seen begins a new sum, so that the old one can
//! be forgotten. Source of the problem, and of a solution that needs more messages: Baquero, Almeida, Lerche, "The Problem with
//! Embedded CRDT Counters and a Solution", 2016.

use crate::context::Context;
use crate::stamp::{Origin, Stamp};
use alloc::collections::BTreeMap;
use meridian_dynamo::Number;
use meridian_dynamo::number::NumberError;
use meridian_types::Hlc;

/// What one origin added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The first addition of the sum.
    pub(crate) start: Hlc,
    /// The last addition of the sum.
    pub(crate) last: Hlc,
    /// All additions from the first to the last.
    pub(crate) sum: Number,
    /// The part of it that counts no more; never from before the start.
    pub(crate) reset: Option<Reset>,
}

/// How much of a sum has been seen by an assignment or removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    /// The last addition seen.
    pub(crate) upto: Hlc,
    /// The sum as it was then.
    pub(crate) sum: Number,
    /// The newest write that has seen just this much.
    pub(crate) at: Stamp,
}

impl Tally {
    /// Whether nothing of it counts any more.
    fn is_spent(&self) -> bool {
        self.reset.as_ref().is_some_and(|reset| reset.upto >= self.last)
    }

    fn join(&mut self, other: Tally) {
        let newer = |reset: &Reset| (reset.upto, reset.at);
        self.reset = [self.reset.take(), other.reset].into_iter().flatten().max_by_key(newer);
        if other.last > self.last {
            (self.start, self.last, self.sum) = (other.start, other.last, other.sum);
        }
        // A new sum begins only where the one before was seen to be spent.
        self.reset.take_if(|reset| reset.upto < self.start);
    }
}

/// What all origins added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter(pub(crate) BTreeMap<Origin, Tally>);

impl Counter {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn live(&self) -> impl Iterator<Item = (&Origin, &Tally)> + Clone {
        self.0.iter().filter(|(_, tally)| !tally.is_spent())
    }

    /// The newest addition of those that are in a sum that counts.
    pub(crate) fn newest(&self) -> Option<Stamp> {
        self.live().map(|(origin, tally)| Stamp { hlc: tally.last, origin: *origin }).max()
    }

    /// What has to be added up.
    pub(crate) fn terms(&self) -> impl Iterator<Item = Number> + Clone {
        self.live().flat_map(|(_, tally)| {
            let gone = tally.reset.as_ref().map(|reset| reset.sum.negated());
            core::iter::once(tally.sum).chain(gone)
        })
    }

    /// Adds at an origin.
    ///
    /// # Errors
    /// [`NumberError`] when the origin's sum does not fit a number; nothing has changed then.
    pub(crate) fn add(&mut self, stamp: Stamp, amount: Number) -> Result<(), NumberError> {
        match self.0.get_mut(&stamp.origin).filter(|tally| !tally.is_spent()) {
            Some(tally) => {
                tally.sum = tally.sum.checked_add(amount)?;
                tally.last = stamp.hlc;
            }
            None => {
                let tally = Tally { start: stamp.hlc, last: stamp.hlc, sum: amount, reset: None };
                self.0.insert(stamp.origin, tally);
            }
        }
        Ok(())
    }

    /// Lets nothing count that has been added so far, by a write at `at`.
    pub(crate) fn reset(&mut self, at: Stamp) {
        for tally in self.0.values_mut().filter(|tally| !tally.is_spent()) {
            tally.reset = Some(Reset { upto: tally.last, sum: tally.sum, at });
        }
    }

    /// Forgets what every origin knows to be spent: they all begin new sums.
    pub(crate) fn forget(&mut self, floor: Hlc) {
        self.0.retain(|_, tally| {
            !(tally.is_spent() && tally.reset.as_ref().is_some_and(|reset| reset.at.hlc <= floor))
        });
    }

    pub(crate) fn join(&mut self, seen: &Context, other: Counter, other_seen: &Context) {
        let stamp = |origin: Origin, tally: &Tally| Stamp { hlc: tally.last, origin };
        // What one has seen and does not hold any more was spent and forgotten.
        self.0.retain(|origin, tally| {
            other.0.contains_key(origin) || !other_seen.covers(stamp(*origin, tally))
        });
        for (origin, theirs) in other.0 {
            match self.0.get_mut(&origin) {
                Some(ours) => ours.join(theirs),
                None if seen.covers(stamp(origin, &theirs)) => {}
                None => {
                    self.0.insert(origin, theirs);
                }
            }
        }
    }
}
