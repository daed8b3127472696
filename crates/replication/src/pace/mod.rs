//! How fast members that are far behind are brought up, so that those who write meanwhile are not slowed. Pure: times are arguments.
//!
//! A node spends so many bytes a second on all of them together, log entries and snapshots alike, and less while [`GiveWay`] finds that
//! clients' writes suffer. Members that keep up take no part in it. That a member arrives however fast others write is seen to by
//! [`Chase`]: whoever does not come closer is charged half.

mod bucket;
mod chase;
mod give_way;

use crate::replica_id::ReplicaId;
use bucket::Bucket;
use chase::Chase;
use give_way::GiveWay;
use meridian_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A member that lacks more committed entries than this is far behind: more than any round trip's worth.
const FAR: u64 = 4_096;

/// Paces what one node sends to members that are far behind.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    bucket: Bucket,
    give_way: GiveWay,
    chases: BTreeMap<(ReplicaId, NodeId), Chase>,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let (bucket, give_way) = (Bucket::default(), GiveWay::new());
        Self { bytes_per_s, bucket, give_way, chases: BTreeMap::new(), bytes: 0 }
    }

    /// How long entries of so many bytes wait that leave a member `lag` entries behind; nothing for one that keeps up.
    pub(crate) fn entries(
        &mut self,
        to: (ReplicaId, NodeId),
        lag: u64,
        bytes: u64,
        now: Duration,
    ) -> Duration {
        if self.reached(to, lag) {
            return Duration::ZERO;
        }
        let chase = self.chases.entry(to).or_default();
        chase.look(lag, now);
        let charge = bytes >> chase.halvings;
        self.take(bytes, charge, now)
    }

    /// A member is `lag` entries behind: whether it has arrived.
    pub(crate) fn reached(&mut self, to: (ReplicaId, NodeId), lag: u64) -> bool {
        let arrived = lag <= FAR;
        if arrived {
            self.chases.remove(&to);
        }
        arrived
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

    /// How long what has waited has to wait still, because a calm has begun meanwhile.
    pub(crate) fn calm(&mut self, now: Duration) -> Duration {
        self.give_way.send(now)
    }

    /// A client's write was answered after so long.
    pub(crate) fn served(&mut self, took: Duration, now: Duration) {
        if !self.chases.is_empty() {
            self.give_way.served(took, now);
        }
    }

    /// Whether a member of a group is far behind and being brought up.
    pub(crate) fn chases(&self, group: ReplicaId) -> bool {
        self.chases.range((group, NodeId(0))..=(group, NodeId(u64::MAX))).next().is_some()
    }

    /// Members that are far behind, and the bytes that were sent to such.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.chases.len() as u64, self.bytes)
    }

    fn take(&mut self, bytes: u64, charge: u64, now: Duration) -> Duration {
        self.bytes = self.bytes.saturating_add(bytes);
        let calm = self.give_way.send(now);
        let rate = self.give_way.of(self.bytes_per_s);
        let wait = self.bucket.take(charge, rate, now).max(calm);
        self.give_way.used(now + wait);
        wait
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
        while lag > FAR && now < Duration::from_secs(4_000) {
            // The wire and the other side take a moment as well.
            now += pace.entries(member(1), lag, ENTRIES * 4096, now);
            now += pace.calm(now) + Duration::from_micros(200);
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
        assert!(took < 55, "{took} s");
    }

    proptest! {
        #[test]
        fn however_fast_others_write_a_member_arrives(rate in MB..64 * MB, lag in FAR..400_000, per_s in 0_u64..100_000) {
            let (took, _) = chase(rate, lag, per_s);
            prop_assert!(took < 3_600, "{took} s");
        }

        #[test]
        fn no_second_takes_more_than_the_rate(sizes in proptest::collection::vec(1_u64..4 * MB, 1..100)) {
            let (mut pace, mut now, mut sent) = (Pace::new(MB), Duration::ZERO, 0);
            for bytes in sizes {
                now += pace.part(member(1), bytes, now);
                // All but the last one have been paid for, or are the burst.
                prop_assert!(u128::from(sent) <= (now + bucket::BURST).as_micros() * u128::from(MB) / 1_000_000 + 100);
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
        assert_eq!(waits, [32, 8, 2], "of a rate that is not known to be bearable yet");
    }
}
