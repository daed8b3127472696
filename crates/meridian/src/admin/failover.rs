//! What the admin API says of regions that are given up.

use meridian_types::{GroupId, NodeName, PolicyName, RegionName};
use serde::{Deserialize, Serialize};

/// What one region has alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// Acknowledged writes.
    pub writes: u64,
    /// The log entries that hold them.
    pub entries: u64,
    /// The age of the oldest of them, in milliseconds.
    pub ms: u64,
    /// How long ago the leader said so, in milliseconds.
    pub heard_ms: u64,
}

/// `GET /v1/failover?from=REGION`: what giving the region up would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverPlan {
    /// The region.
    pub from: RegionName,
    /// Whether something is heard from it. Then it can still be left without a loss.
    pub answers: bool,
    /// For how long its leaders may have gone on acknowledging writes once they were no longer heard, in milliseconds.
    pub grace_ms: u64,
    /// The groups that stand and fall with it.
    pub groups: Vec<PlannedGroup>,
}

/// `GET /v1/regions/{name}/expel`: what going on without the region would do to the active-active policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpulsionPlan {
    /// The region.
    pub region: RegionName,
    /// Whether something is heard from it. Then it is not expelled.
    pub answers: bool,
    /// Whether it is expelled already.
    pub expelled: bool,
    /// The groups of its writes that are founded anew from what the other regions have. Those of semi-sync policies are not among them: the others have
    /// all that they have acknowledged.
    pub groups: Vec<PlannedGroup>,
}

/// `POST /v1/regions/{name}/expel`: the order to go on without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expel {
    /// Must be true: what other regions lack is lost until the region is back.
    #[serde(default)]
    pub accept_loss: bool,
}

/// A group of a region that may be given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// The group.
    pub group: GroupId,
    /// Its policy.
    pub policy: PolicyName,
    /// Its incarnation now.
    pub incarnation: u32,
    /// What its leader last said was on the region's disks alone; `null` when nobody has heard.
    pub at_risk: Option<AtRisk>,
}

/// `POST /v1/failover`: the order to give a region up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    /// The region.
    pub from: RegionName,
    /// Only the groups of this policy.
    #[serde(default)]
    pub policy: Option<PolicyName>,
    /// Must be true: what other regions lack is lost until the region is back.
    #[serde(default)]
    pub accept_loss: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverDone {
    /// The region.
    pub from: RegionName,
    /// Its groups.
    pub groups: Vec<FailedOver>,
}

/// A group that goes on elsewhere, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedOver {
    /// The group.
    pub group: GroupId,
    /// Its policy.
    pub policy: PolicyName,
    /// Its incarnation now.
    pub incarnation: u32,
    /// The node from whose replica it goes on.
    pub seed: Option<NodeName>,
    /// That node's region: the new primary.
    pub region: Option<RegionName>,
    /// The last log index that was taken over; `null` while the seed has not said.
    pub cut: Option<u64>,
    /// What the old leader last said was at risk.
    pub at_risk: Option<AtRisk>,
    /// Why it does not go on.
    pub error: Option<String>,
}

/// A group that was founded anew, as the system group records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refoundation {
    /// The group.
    pub group: GroupId,
    /// The incarnation that began.
    pub incarnation: u32,
    /// The incarnation that it goes on from.
    pub base: u32,
    /// The region that was given up.
    pub from: RegionName,
    /// The node from whose replica it goes on.
    pub seed: Option<NodeName>,
    /// The last log index that was taken over; `null` while the seed has not said.
    pub cut: Option<u64>,
    /// Milliseconds since 1970 when it was decided.
    pub decided_ms: u64,
    /// Whether no operator asked for it.
    pub automatic: bool,
    /// What the old leader last said was at risk.
    pub at_risk: Option<AtRisk>,
    /// Writes that the region turned out to have above the cut, once it was back; `null` before.
    pub found_writes: Option<u64>,
    /// The items of those writes.
    pub found_items: Option<u64>,
}
