//! The newest log entries of a group, in memory, so that replication reads no table in the steady state.
//!
//! The budget is shared by all groups of a store: a group gives up its oldest entries when the store is over its budget and
//! the group is over its even share, so the sum stays within the budget plus one entry a group.

use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 64;

fn cost(entry: &Bytes) -> usize {
    entry.len() + OVERHEAD
}

/// The bytes that all tails of a store may hold together.
pub(crate) struct TailBudget {
    limit: usize,
    used: AtomicUsize,
    tails: AtomicUsize,
}

impl TailBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), tails: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn share(&self) -> usize {
        self.limit / self.tails.load(Ordering::Relaxed).max(1)
    }
}

/// A contiguous run of entries that ends at the last entry of the log.
pub(crate) struct Tail {
    budget: Arc<TailBudget>,
    entries: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(budget: Arc<TailBudget>) -> Self {
        budget.tails.fetch_add(1, Ordering::Relaxed);
        Self { budget, entries: VecDeque::new(), first: 0, bytes: 0 }
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn charge(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn refund(&mut self, entry: Option<Bytes>) {
        if let Some(entry) = entry {
            self.bytes -= cost(&entry);
            self.budget.used.fetch_sub(cost(&entry), Ordering::Relaxed);
        }
    }

    /// Adds the entry at `index`. An index that does not follow the last one starts the run anew.
    pub(crate) fn push(&mut self, index: u64, entry: Bytes) {
        if index != self.end() {
            self.clear();
        }
        if self.entries.is_empty() {
            self.first = index;
        }
        self.charge(cost(&entry));
        self.entries.push_back(entry);
        while self.budget.used() > self.budget.limit && self.bytes > self.budget.share() {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        let gone = self.entries.pop_front();
        self.first += u64::from(gone.is_some());
        self.refund(gone);
    }

    /// Forgets the entry at `index` and every later one.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        while !self.entries.is_empty() && self.end() > index {
            let gone = self.entries.pop_back();
            self.refund(gone);
        }
    }

    /// Forgets every entry up to and including `index`.
    pub(crate) fn purge_upto(&mut self, index: u64) {
        while !self.entries.is_empty() && self.first <= index {
            self.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.pop_front();
        }
    }

    /// The entries of the range, at most `max_bytes` of them but at least one, when the first is in memory.
    pub(crate) fn get(&self, range: Range<u64>, max_bytes: usize) -> Option<Vec<(u64, Bytes)>> {
        if range.start < self.first || range.start >= self.end() {
            return None;
        }
        let skip = usize::try_from(range.start - self.first).ok()?;
        let wanted = range.end.min(self.end()) - range.start;
        let mut bytes = 0_usize;
        let mut out = Vec::new();
        for (index, entry) in (range.start..range.start + wanted).zip(self.entries.iter().skip(skip)) {
            bytes = bytes.saturating_add(entry.len());
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push((index, entry.clone()));
        }
        Some(out)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.tails.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    #[test]
    fn serves_a_range_only_when_its_start_is_in_memory() {
        let mut tail = Tail::new(TailBudget::new(1 << 20));
        for index in 10..20 {
            tail.push(index, entry(8));
        }
        assert!(tail.get(9..12, usize::MAX).is_none());
        assert!(tail.get(20..21, usize::MAX).is_none());
        let got = tail.get(18..30, usize::MAX).unwrap();
        assert_eq!(got.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [18, 19]);
        assert_eq!(tail.get(10..20, 16).unwrap().len(), 2);
        assert_eq!(tail.get(10..20, 1).unwrap().len(), 1, "at least one");
    }

    #[test]
    fn stays_within_the_shared_budget() {
        let budget = TailBudget::new(10 * (100 + OVERHEAD));
        let mut a = Tail::new(Arc::clone(&budget));
        for index in 0..100 {
            a.push(index, entry(100));
        }
        assert_eq!(a.entries.len(), 10, "alone, a group may use the whole budget");
        let mut b = Tail::new(Arc::clone(&budget));
        for index in 0..100 {
            b.push(index, entry(100));
        }
        assert_eq!(b.entries.len(), 5, "a newcomer gets its share");
        a.push(100, entry(100));
        assert_eq!(a.entries.len(), 5, "and the other falls back to its own with its next entry");
        assert!(budget.used() <= budget.limit);
        drop(a);
        drop(b);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn cuts_at_both_ends_and_restarts_after_a_gap() {
        let mut tail = Tail::new(TailBudget::new(1 << 20));
        for index in 1..=10 {
            tail.push(index, entry(1));
        }
        tail.truncate_from(8);
        tail.purge_upto(3);
        assert_eq!((tail.first, tail.end()), (4, 8));
        tail.push(8, entry(1));
        tail.push(100, entry(1));
        assert_eq!((tail.first, tail.end()), (100, 101));
        tail.purge_upto(200);
        assert!(tail.get(100..101, usize::MAX).is_none());
        assert_eq!(tail.budget.used(), 0);
    }
}
