//! Timings of replication, derived from one number: the longest round trip that the cluster must live with.

use crate::replica_id::ReplicaId;
use crate::runtime::{Mistake, errs};
use meridian_placement::lease;
use openraft::SnapshotPolicy;
use std::time::Duration;

/// Between heartbeats of openraft, which every idle group pays for.
const OPENRAFT_HEARTBEAT: Duration = Duration::from_secs(20);
/// Entries in one append at most.
const APPEND_ENTRIES: u64 = 512;
/// How long a group's log may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Entries after which the state is taken as a snapshot, so that the log before it can go.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a member that was away for a moment needs no snapshot.
    pub keep: u64,
    /// A follower this far behind is sent a snapshot when the log no longer reaches back to it.
    pub lag_threshold: u64,
    /// Bytes a second that this node sends to all members together that are far behind. One that does not come closer gets more.
    pub catch_up_rate: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { snapshot_every: 10_000, keep: 10_000, lag_threshold: 20_000, catch_up_rate: 16 << 20 }
    }
}

/// How often leaders are heard and how long silence is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats of a node to a peer, for all groups that it leads.
    pub heartbeat: Duration,
    /// How long a leader may serve after a heartbeat that a majority answered, and how long followers wait for the
    /// next one before they may vote for another. The default is three heartbeats.
    pub lease: Duration,
    /// A region whose every node has been silent for this long is recorded as lost.
    pub region_lost_after: Duration,
}

impl Default for Timing {
    /// For round trips up to 250 ms.
    fn default() -> Self {
        Self::for_round_trip(Duration::from_millis(250))
    }
}

/// What the holder of a lease may use of it.
pub(crate) fn held(lease: Duration) -> Duration {
    if errs(Mistake::IgnoreDrift) { lease } else { lease::holder_lease(lease) }
}

impl Timing {
    /// Timings for a cluster whose longest round trip is `longest`.
    #[must_use]
    pub fn for_round_trip(longest: Duration) -> Self {
        // A fifth more than the round trip, for the time that the peers themselves need; never below 300 ms, so that
        // a busy machine is not taken for a dead one.
        let heartbeat = longest.mul_f64(1.2).max(Duration::from_millis(300));
        Self { heartbeat, lease: heartbeat * 3, region_lost_after: heartbeat * 5 }
    }

    /// The lease as its holder counts it: a tenth shorter than what followers grant, which allows for clocks whose
    /// rates differ by 10 % (invariant 9).
    #[must_use]
    pub fn holder_lease(&self) -> Duration {
        held(self.lease)
    }

    /// What the system group grants to the leaders of groups that live and die with one region.
    pub(crate) fn region_lease(&self) -> Duration {
        lease::region_lease(self.lease)
    }

    /// How long a candidate has before the next member stands: the pre-vote, the vote and the first message as leader take
    /// a round trip each.
    pub(crate) fn turn(&self) -> Duration {
        self.heartbeat * 2
    }

    pub(crate) fn raft_config(&self, group: ReplicaId, log: &LogLimits) -> openraft::Config {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // The mistake includes what made it plausible: openraft's heartbeats as the only ones.
        let trusting = errs(Mistake::TrustOpenraftLease);
        let heartbeat = if trusting { self.heartbeat } else { OPENRAFT_HEARTBEAT };
        openraft::Config {
            cluster_name: format!("group-{group}"),
            // Leases, pre-votes and the moment to stand are ours (`beat`, `group::promise`, `supervisor::campaign`). openraft's
            // own heartbeats only catch what nothing else noticed, and its lease must not refuse what ours allows.
            heartbeat_interval: ms(heartbeat),
            election_timeout_min: ms(OPENRAFT_HEARTBEAT) * 2,
            election_timeout_max: ms(OPENRAFT_HEARTBEAT) * 6,
            enable_elect: false,
            // A leader sends entries before they are on its own disk. One that restarts may have lost some that others
            // have: under the same term it would give other entries the same ids, and replicas would differ for good.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(false),
            // A replica that was damaged comes back empty (`raft::reseed`). That a store has silently lost what it had acknowledged, which
            // this would hide, the store tells by itself: it does not open then.
            allow_log_reversion: Some(true),
            max_payload_entries: APPEND_ENTRIES,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(log.snapshot_every),
            max_in_snapshot_log_to_keep: log.keep,
            replication_lag_threshold: log.lag_threshold,
            backoff: "50ms 100ms ..500ms".to_owned(),
            ..openraft::Config::default()
        }
    }
}
