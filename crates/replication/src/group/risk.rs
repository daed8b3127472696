//! What is acknowledged and on one region's disks alone: the writes that losing the region now would lose.

use crate::raft::RaftTypes;
use crate::runtime;
use meridian_placement::{Placement, sole_region};
use meridian_types::NodeId;
use openraft::metrics::RaftMetrics;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Applied entries remembered. Over it the oldest are taken together: the count stays, their age is that of the older.
const REMEMBERED: usize = 8_192;

/// An applied entry, or several taken together.
#[derive(Clone, Copy, Debug)]
struct Point {
    index: u64,
    entries: u64,
    writes: u64,
    at: Instant,
}

/// What a region has alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Risk {
    pub(crate) writes: u64,
    pub(crate) entries: u64,
    pub(crate) age: Duration,
}

/// The entries that this replica applied lately, with what they hold.
#[derive(Debug, Default)]
pub(crate) struct RiskLog {
    points: Mutex<VecDeque<Point>>,
}

impl RiskLog {
    /// An entry with so many writes was applied.
    pub(crate) fn applied(&self, index: u64, writes: u64) {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        points.push_back(Point { index, entries: 1, writes, at: runtime::now() });
        if points.len() > REMEMBERED
            && let (Some(oldest), Some(next)) = (points.pop_front(), points.front_mut())
        {
            next.entries += oldest.entries;
            next.writes += oldest.writes;
            next.at = oldest.at;
        }
    }

    /// What is not in another region, of which the furthest has all up to `elsewhere`.
    pub(crate) fn beyond(&self, elsewhere: u64) -> Risk {
        let points = self.forget(elsewhere);
        Risk {
            writes: points.iter().map(|point| point.writes).sum(),
            entries: points.iter().map(|point| point.entries).sum(),
            age: points.front().map_or(Duration::ZERO, |oldest| runtime::since(oldest.at)),
        }
    }
}

impl RiskLog {
    /// The age of the oldest of that.
    pub(crate) fn age_beyond(&self, elsewhere: u64) -> Duration {
        self.forget(elsewhere).front().map_or(Duration::ZERO, |oldest| runtime::since(oldest.at))
    }

    fn forget(&self, elsewhere: u64) -> MutexGuard<'_, VecDeque<Point>> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        while points.front().is_some_and(|point| point.index <= elsewhere) {
            points.pop_front();
        }
        points
    }
}

/// Up to where some region other than the leader's has the log of a group that stands and falls with one region; `None` when it does not.
pub(crate) fn reach_elsewhere(
    placement: &Placement,
    leader: NodeId,
    metrics: &RaftMetrics<RaftTypes>,
) -> Option<u64> {
    sole_region(placement)?;
    // Not the region that placement names: while leadership moves there, the leader is still elsewhere.
    let home = placement.data.get(&leader)?;
    let away = |member: &NodeId| placement.data.get(member).is_some_and(|region| region != home);
    let elsewhere = metrics.replication.iter().flatten().filter(|(member, _)| away(member));
    Some(elsewhere.filter_map(|(_, matched)| matched.map(|id| id.index)).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_another_region_has_is_not_at_risk() {
        let log = RiskLog::default();
        for index in 1..=3 {
            log.applied(index, 2);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let age = Duration::from_millis;
        assert_eq!(log.beyond(0), Risk { writes: 6, entries: 3, age: age(300) });
        assert_eq!(log.beyond(2), Risk { writes: 2, entries: 1, age: age(100) });
        assert_eq!(log.age_beyond(2), age(100));
        assert_eq!(log.beyond(3), Risk::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_log_still_counts_everything() {
        let log = RiskLog::default();
        let count = u64::try_from(REMEMBERED).expect("a small number") + 10;
        (1..=count).for_each(|index| log.applied(index, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(log.beyond(0), Risk { writes: count, entries: count, age: Duration::from_secs(1) });
    }
}
