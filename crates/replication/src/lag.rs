//! How long after their leader took them writes can be read here: the lag of replication, by the node that led.

use crate::runtime;
use crate::transport::Peers;
use meridian_types::NodeId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Upper bounds of the buckets, in milliseconds. Narrow where links between regions are.
pub const LAG_BUCKETS_MS: [u64; 20] =
    [2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 60_000];

/// A histogram of lags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagHistogram {
    /// Writes in each bucket of [`LAG_BUCKETS_MS`]; those above the last are in none.
    pub buckets: [u64; LAG_BUCKETS_MS.len()],
    /// All writes.
    pub count: u64,
    /// Milliseconds of all writes together.
    pub sum_ms: u64,
}

impl LagHistogram {
    fn add(&mut self, lag_ms: u64, writes: u64) {
        let bucket = LAG_BUCKETS_MS.partition_point(|bound| *bound < lag_ms);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += writes;
        }
        self.count += writes;
        self.sum_ms = self.sum_ms.saturating_add(lag_ms.saturating_mul(writes));
    }

    /// Adds what another histogram has.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        self.count += other.count;
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }
}

/// The lags of all replicas of one node.
#[derive(Debug)]
pub(crate) struct Lag {
    peers: Arc<Peers>,
    by_leader: Mutex<BTreeMap<NodeId, LagHistogram>>,
}

impl Lag {
    pub(crate) fn new(peers: Arc<Peers>) -> Arc<Self> {
        Arc::new(Self { peers, by_leader: Mutex::default() })
    }

    /// What was measured since the node started, by leader.
    pub(crate) fn figures(&self) -> BTreeMap<NodeId, LagHistogram> {
        self.by_leader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The lag of one replica, which follows whoever leads.
#[derive(Debug)]
pub(crate) struct ReplicaLag {
    node: Arc<Lag>,
    /// Whose messages came last; [`NOBODY`] before the first.
    leader: AtomicU64,
}

const NOBODY: u64 = u64::MAX;

impl ReplicaLag {
    pub(crate) fn new(node: &Arc<Lag>) -> Arc<Self> {
        Arc::new(Self { node: Arc::clone(node), leader: AtomicU64::new(NOBODY) })
    }

    /// A message from the leader came.
    pub(crate) fn heard(&self, leader: NodeId) {
        self.leader.store(leader.0, Ordering::Relaxed);
    }

    /// Entries of the leader can be read here from now on: its wall clock when it took each, and the writes in it.
    pub(crate) fn applied(&self, entries: &[(u64, u64)]) {
        let leader = NodeId(self.leader.load(Ordering::Relaxed));
        if entries.is_empty() || leader.0 == NOBODY {
            return;
        }
        let ahead_ms = self.node.peers.link(leader).and_then(|link| link.clock_ahead_ms()).unwrap_or(0);
        let there = runtime::wall_ms().saturating_add_signed(ahead_ms);
        let mut by_leader = self.node.by_leader.lock().unwrap_or_else(PoisonError::into_inner);
        let lags = by_leader.entry(leader).or_default();
        for &(stamp_ms, writes) in entries {
            lags.add(there.saturating_sub(stamp_ms), writes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_counts_in_the_first_bucket_that_holds_it() {
        let mut lags = LagHistogram::default();
        lags.add(0, 1);
        lags.add(2, 2);
        lags.add(3, 4);
        lags.add(60_001, 8);
        assert_eq!(lags.buckets[..2], [3, 4]);
        assert_eq!(lags.buckets.iter().sum::<u64>(), 7, "what is above the last bound is in no bucket");
        let mut both = lags;
        both.merge(&lags);
        assert_eq!((both.count, both.sum_ms, both.buckets[0]), (30, 2 * (4 + 12 + 8 * 60_001), 6));
    }

    #[test]
    fn nothing_is_measured_before_the_leader_is_known() {
        let lag = Lag::new(Peers::new(NodeId(1)));
        let replica = ReplicaLag::new(&lag);
        replica.applied(&[(0, 5)]);
        assert_eq!(lag.figures(), BTreeMap::new(), "what a start finds in its own log is nobody's lag");
        replica.heard(NodeId(2));
        replica.applied(&[(runtime::wall_ms() - 100_000, 3), (u64::MAX, 1)]);
        let figures = lag.figures();
        assert_eq!(figures.keys().copied().collect::<Vec<_>>(), [NodeId(2)]);
        assert_eq!(
            (figures[&NodeId(2)].count, figures[&NodeId(2)].buckets[0]),
            (4, 1),
            "a stamp ahead is no lag"
        );
    }
}
