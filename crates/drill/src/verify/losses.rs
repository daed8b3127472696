//! What was lost and what happened twice, from the samples and from what was found afterwards. Pure.

use crate::sample::{End, Kind, Micros, Sample, WriteId};
use std::collections::{BTreeMap, BTreeSet};

/// What the reading back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Acknowledged puts and appends that no region shows.
    pub lost: BTreeSet<WriteId>,
    /// Writes that regions show differently, though all were asked for a consistent read after all writes had ended.
    pub disagreeing: BTreeSet<WriteId>,
    /// Appends that took effect more often than once, with the number of times too many.
    pub repeated: BTreeMap<WriteId, u32>,
    /// Writes that were refused and are there all the same.
    pub refused_but_present: BTreeSet<WriteId>,
    /// Each counter's value, the lowest and the highest that any region showed.
    pub counters: BTreeMap<u16, (u64, u64)>,
    /// What could not be read back, in words. Then the figures are lower bounds and the drill has failed.
    pub unread: Vec<String>,
}

/// The losses behind the figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// When each lost write was acknowledged.
    pub acknowledged_at: Vec<Micros>,
    /// Lost adds of each counter that lost any.
    pub adds_of: BTreeMap<u16, u64>,
    /// How often appends took effect beyond once.
    pub surplus_appends: u64,
    /// What counters have beyond all adds that can have happened, at least.
    pub surplus_adds: u64,
}

impl Verification {
    /// How many items some region showed an old state of.
    #[must_use]
    pub fn disagreements(&self) -> u64 {
        let counters = self.counters.values().filter(|(lowest, highest)| lowest < highest).count();
        (self.disagreeing.len() + counters) as u64
    }

    /// Compares what was found with what was acknowledged.
    #[must_use]
    pub fn losses(&self, samples: &[Sample]) -> Losses {
        let repeated = self.repeated.values().map(|times| u64::from(*times)).sum();
        let mut losses = Losses { surplus_appends: repeated, ..Losses::default() };
        let lost = |one: &&Sample| one.end == End::Done && one.id().is_some_and(|id| self.lost.contains(&id));
        losses.acknowledged_at.extend(samples.iter().filter(lost).map(|one| one.returned));
        let mut adds: BTreeMap<u16, Vec<&Sample>> = BTreeMap::new();
        for one in samples.iter().filter(|one| one.kind == Kind::Add) {
            adds.entry(one.lane).or_default().push(one);
        }
        for (counter, adds) in adds {
            let Some(found) = self.counters.get(&counter) else { continue };
            losses.take_counter(counter, &adds, found.1);
        }
        losses
    }
}

impl Losses {
    fn take_counter(&mut self, counter: u16, adds: &[&Sample], found: u64) {
        let mut acknowledged: Vec<&Sample> =
            adds.iter().filter(|one| one.end == End::Done).copied().collect();
        acknowledged.sort_unstable_by_key(|one| one.returned);
        let certain = acknowledged.len() as u64;
        let possible = certain + adds.iter().filter(|one| one.end == End::Unknown).count() as u64;
        let surplus = acknowledged.iter().map(|one| surplus_seen_by(one, adds)).max().unwrap_or(0);
        self.surplus_adds += surplus.max(found.saturating_sub(possible));
        let undone = rolled_back(&acknowledged);
        let missing = certain.saturating_sub(found);
        let lost = missing.max(undone.len() as u64);
        if lost == 0 {
            return;
        }
        self.adds_of.insert(counter, lost);
        self.acknowledged_at.extend(undone.iter().copied());
        // Missing without a trace in the answers: no later add showed it, so it was among the latest.
        let traceless = usize::try_from(lost).unwrap_or(usize::MAX).saturating_sub(undone.len());
        self.acknowledged_at.extend(acknowledged.iter().rev().take(traceless).map(|one| one.returned));
    }
}

/// How far an add's answer is beyond the adds that had been sent by then and may have taken effect.
fn surplus_seen_by(one: &Sample, adds: &[&Sample]) -> u64 {
    let possible =
        adds.iter().filter(|other| other.end != End::Refused && other.invoked < one.returned).count();
    one.value.saturating_sub(possible as u64)
}

/// When those adds were acknowledged that a later add shows to be gone: it was sent after their acknowledgement, and
/// was answered with a value that is not greater.
fn rolled_back(acknowledged: &[&Sample]) -> Vec<Micros> {
    let mut by_start: Vec<&Sample> = acknowledged.to_vec();
    by_start.sort_unstable_by_key(|one| one.invoked);
    // From the latest acknowledgement backwards: the lowest value among the adds sent after it.
    let mut later = by_start.iter().rev().peekable();
    let mut lowest_later = u64::MAX;
    let mut gone = Vec::new();
    for one in acknowledged.iter().rev() {
        while let Some(next) = later.next_if(|next| next.invoked > one.returned) {
            lowest_later = lowest_later.min(next.value);
        }
        if one.value >= lowest_later {
            gone.push(one.returned);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(invoked: Micros, returned: Micros, end: End, value: u64) -> Sample {
        Sample { path: 0, lane: 3, kind: Kind::Add, end, invoked, returned, sequence: 0, value, floor: 0 }
    }

    fn losses(adds: &[Sample], found: (u64, u64)) -> Losses {
        let counters = BTreeMap::from([(3, found)]);
        Verification { counters, ..Verification::default() }.losses(adds)
    }

    #[test]
    fn a_counter_within_its_bounds_has_lost_nothing_and_doubled_nothing() {
        let adds = [add(0, 10, End::Done, 1), add(20, 30, End::Unknown, 0), add(40, 50, End::Refused, 0)];
        for found in [(1, 1), (2, 2), (1, 2)] {
            assert_eq!(losses(&adds, found), Losses::default(), "{found:?}");
        }
    }

    #[test]
    fn beyond_the_unknown_ones_an_effect_was_doubled() {
        let adds = [add(0, 10, End::Done, 1), add(20, 30, End::Unknown, 0), add(40, 50, End::Refused, 0)];
        assert_eq!(losses(&adds, (3, 3)).surplus_adds, 1);
    }

    #[test]
    fn what_no_region_shows_is_lost_and_what_one_shows_is_not() {
        let adds = [add(0, 10, End::Done, 1), add(20, 30, End::Done, 2)];
        let lost = losses(&adds, (1, 1));
        assert_eq!((lost.adds_of, lost.acknowledged_at), (BTreeMap::from([(3, 1)]), vec![30]));
        assert_eq!(losses(&adds, (1, 2)), Losses::default());
        let counters = BTreeMap::from([(3, (1, 2)), (4, (2, 2))]);
        assert_eq!(Verification { counters, ..Verification::default() }.disagreements(), 1);
    }

    #[test]
    fn an_add_that_a_later_one_did_not_see_is_lost_even_when_an_unknown_one_hides_it() {
        let adds = [
            add(0, 10, End::Done, 1),
            add(20, 30, End::Done, 2),
            add(25, 90, End::Unknown, 0),
            add(40, 50, End::Done, 2),
        ];
        let lost = losses(&adds, (3, 3));
        assert_eq!((lost.adds_of, lost.acknowledged_at), (BTreeMap::from([(3, 1)]), vec![30]));
    }

    #[test]
    fn overlapping_adds_may_be_answered_in_either_order() {
        let adds = [add(0, 30, End::Done, 2), add(5, 20, End::Done, 1)];
        assert_eq!(losses(&adds, (2, 2)), Losses::default());
    }

    #[test]
    fn an_answer_beyond_all_that_was_sent_by_then_shows_a_doubled_effect_that_later_unknown_ones_would_hide()
    {
        let adds = [add(0, 10, End::Done, 2), add(20, 30, End::Unknown, 0), add(40, 50, End::Unknown, 0)];
        assert_eq!(losses(&adds, (2, 2)).surplus_adds, 1);
    }

    #[test]
    fn only_acknowledged_puts_count_as_lost() {
        let put = |sequence, end| Sample { kind: Kind::Put, sequence, end, ..add(0, 10, End::Done, 0) };
        let samples = [put(1, End::Done), put(2, End::Unknown), put(3, End::Done)];
        let lost = samples[..2].iter().filter_map(Sample::id).collect();
        let lost = Verification { lost, ..Verification::default() }.losses(&samples);
        assert_eq!(lost.acknowledged_at, vec![10]);
    }

    #[test]
    fn a_repeated_append_is_a_surplus() {
        let id = WriteId { kind: Kind::Append, path: 0, lane: 0, sequence: 0 };
        let repeated = BTreeMap::from([(id, 2)]);
        assert_eq!(Verification { repeated, ..Verification::default() }.losses(&[]).surplus_appends, 2);
    }
}
