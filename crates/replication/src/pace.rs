//! How fast members that are far behind are brought up, so that those who write meanwhile are not slowed. Pure: times are arguments.
//!
//! A node spends so many bytes a second on all of them together, log entries and snapshots alike. Members that keep up take no part in
//! it. That a member arrives however fast others write is seen to by [`Chase`]: whoever does not come closer is charged half.

use crate::replica_id::ReplicaId;
use meridian_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A member that lacks more committed entries than this is far behind: more than any round trip's worth.
const FAR: u64 = 4_096;
/// Between looks whether a member comes closer.
const LOOK: Duration = Duration::from_secs(5);
/// It comes closer when it has made up for this part of what it lacked since the last look: it then arrives within ten minutes
/// wherever it began.
const CLOSER: u64 = 16;
/// How often the charge is halved at most: it is as good as nothing then.
const MOST_HALVINGS: u32 = 20;
/// What may be sent at once after a pause, in time at the full rate. Above the time between two wake-ups, below what anybody notices.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket: bytes are paid for with time.
#[derive(Debug)]
struct Bucket {
    bytes_per_s: u64,
    /// When all that was taken is paid for.
    paid_at: Duration,
}

impl Bucket {
    /// Takes bytes; how long to wait before they are sent.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let wait = self.paid_at.saturating_sub(now + BURST);
        let us = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_s.max(1));
        let cost = Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now).saturating_add(cost);
        wait
    }
}

/// One member that is far behind, and whether it comes closer.
#[derive(Debug, Default)]
struct Chase {
    looked: Option<(Duration, u64)>,
    halvings: u32,
    snapshots: u32,
}

impl Chase {
    fn look(&mut self, lag: u64, now: Duration) {
        match self.looked {
            Some((at, _)) if now.saturating_sub(at) < LOOK => {}
            Some((_, before)) if lag > before - before / CLOSER => {
                self.halve(1);
                self.looked = Some((now, lag));
            }
            _ => self.looked = Some((now, lag)),
        }
    }

    /// One that needs another snapshot, because the log did not wait for it, was too slow by far.
    fn snapshot(&mut self) {
        if self.snapshots > 0 {
            self.halve(2);
        }
        self.snapshots += 1;
    }

    fn halve(&mut self, times: u32) {
        self.halvings = (self.halvings + times).min(MOST_HALVINGS);
    }
}

/// Paces what one node sends to members that are far behind.
#[derive(Debug)]
pub(crate) struct Pace {
    bucket: Bucket,
    chases: BTreeMap<(ReplicaId, NodeId), Chase>,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let bucket = Bucket { bytes_per_s, paid_at: Duration::ZERO };
        Self { bucket, chases: BTreeMap::new(), bytes: 0 }
    }

    /// How long entries of so many bytes wait that leave a member `lag` entries behind; nothing for one that keeps up.
    pub(crate) fn entries(
        &mut self,
        to: (ReplicaId, NodeId),
        lag: u64,
        bytes: u64,
        now: Duration,
    ) -> Duration {
        if lag <= FAR {
            self.chases.remove(&to);
            return Duration::ZERO;
        }
        let chase = self.chases.entry(to).or_default();
        chase.look(lag, now);
        let charge = bytes >> chase.halvings;
        self.take(bytes, charge, now)
    }

    /// A snapshot begins.
    pub(crate) fn snapshot(&mut self, to: (ReplicaId, NodeId)) {
        self.chases.entry(to).or_default().snapshot();
    }

    /// How long a part of a snapshot waits.
    pub(crate) fn part(&mut self, to: (ReplicaId, NodeId), bytes: u64, now: Duration) -> Duration {
        let charge = bytes >> self.chases.entry(to).or_default().halvings;
        self.take(bytes, charge, now)
    }

    /// Forgets a member that is not sent to any more.
    pub(crate) fn forget(&mut self, to: (ReplicaId, NodeId)) {
        self.chases.remove(&to);
    }

    /// Members that are far behind, and the bytes that were sent to such.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.chases.len() as u64, self.bytes)
    }

    fn take(&mut self, bytes: u64, charge: u64, now: Duration) -> Duration {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bucket.take(charge, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::GroupId;
    use proptest::prelude::*;

    const MB: u64 = 1 << 20;

    fn member(node: u64) -> (ReplicaId, NodeId) {
        (GroupId(1).into(), NodeId(node))
    }

    #[test]
    fn members_that_keep_up_never_wait() {
        let mut pace = Pace::new(MB);
        assert_eq!(pace.entries(member(1), 100_000, 10 * MB, Duration::ZERO), Duration::ZERO, "the burst");
        assert!(pace.entries(member(1), 90_000, MB, Duration::ZERO) > Duration::from_secs(9));
        assert_eq!(pace.entries(member(2), FAR, 10 * MB, Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.entries(member(1), 10, MB, Duration::ZERO), Duration::ZERO, "it has arrived");
        assert_eq!(pace.figures(), (0, 11 * MB));
    }

    /// Sends batches to a member of which `per_s` new ones come up; the seconds until it has arrived, and the bytes sent by then.
    fn chase(rate: u64, mut lag: u64, per_s: u64) -> (u64, u64) {
        const ENTRIES: u64 = 64;
        let (mut pace, mut now, mut grown, mut sent) = (Pace::new(rate), Duration::ZERO, 0, 0);
        while lag > FAR && now < Duration::from_secs(3_600) {
            // The wire and the other side take a moment as well.
            now += pace.entries(member(1), lag, ENTRIES * 4096, now) + Duration::from_micros(200);
            sent += ENTRIES * 4096;
            let all = u64::try_from(now.as_micros()).unwrap_or(u64::MAX) * per_s / 1_000_000;
            lag = (lag + all - grown).saturating_sub(ENTRIES);
            grown = all;
        }
        (now.as_secs(), sent)
    }

    #[test]
    fn without_writers_the_rate_is_kept() {
        let (took, sent) = chase(16 * MB, 160_000, 0);
        assert!(sent / took.max(1) < 18 * MB, "{sent} bytes in {took} s");
        assert!(took < 45, "{took} s");
    }

    proptest! {
        #[test]
        fn however_fast_others_write_a_member_arrives(rate in MB..64 * MB, lag in FAR..400_000, per_s in 0_u64..100_000) {
            let (took, _) = chase(rate, lag, per_s);
            prop_assert!(took < 600, "{took} s");
        }

        #[test]
        fn no_second_takes_more_than_the_rate(sizes in proptest::collection::vec(1_u64..4 * MB, 1..100)) {
            let (mut pace, mut now, mut sent) = (Pace::new(MB), Duration::ZERO, 0);
            for bytes in sizes {
                now += pace.part(member(1), bytes, now);
                // All but the last one have been paid for, or are the burst.
                prop_assert!(u128::from(sent) <= (now + BURST).as_micros() * u128::from(MB) / 1_000_000 + 100);
                sent += bytes;
            }
        }
    }

    #[test]
    fn snapshots_that_are_overtaken_become_faster() {
        let mut pace = Pace::new(MB);
        let wait = |pace: &mut Pace| {
            pace.snapshot(member(1));
            let now = pace.bucket.paid_at;
            pace.part(member(1), 8 * MB, now);
            pace.bucket.paid_at - now
        };
        let waits: Vec<u64> = (0..3).map(|_| wait(&mut pace).as_secs()).collect();
        assert_eq!(waits, [8, 2, 0]);
    }
}
