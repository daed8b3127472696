//! What is acknowledged and on one region's disks alone: the writes that losing the region now would lose.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
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
        points.push_back(Point { index, entries: 1, writes, at: Instant::now() });
        if points.len() > REMEMBERED
            && let (Some(oldest), Some(next)) = (points.pop_front(), points.front_mut())
        {
            next.entries += oldest.entries;
            next.writes += oldest.writes;
            next.at = oldest.at;
        }
    }

    /// What is not in another region, of which the furthest has all up to `elsewhere`. Forgets the rest.
    pub(crate) fn beyond(&self, elsewhere: u64) -> Risk {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        while points.front().is_some_and(|point| point.index <= elsewhere) {
            points.pop_front();
        }
        Risk {
            writes: points.iter().map(|point| point.writes).sum(),
            entries: points.iter().map(|point| point.entries).sum(),
            age: points.front().map_or(Duration::ZERO, |oldest| oldest.at.elapsed()),
        }
    }
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
