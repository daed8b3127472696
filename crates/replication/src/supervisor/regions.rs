//! The system leader's record of lost regions: `sync` policies wait for every region that is not recorded.
//!
//! Invariant 2: shrinking the required set is a committed decision. It is taken by the system leader alone, which a
//! majority of the system group follows; a node cut off with its region commits nothing.

use super::automatic::Automatic;
use crate::node::Replication;
use crate::runtime::{self, mark};
use crate::system::SystemCommand;
use meridian_placement::CommitRule;
use meridian_types::{GroupId, NodeId, RegionName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A pause of this process longer than this makes everyone look silent: nothing is decided until it is over again.
const OWN_PAUSE: Duration = Duration::from_millis(700);
/// How long after such a pause, or after starting, silence counts for nothing.
const GRACE: Duration = Duration::from_secs(2);
/// How far behind a returning region may be when it is required again: its own catching up then delays writes by
/// less than it takes to commit the record.
const CAUGHT_UP: u64 = 64;
/// Between checks whether a lost region has caught up; they ask every node.
const RETURN_CHECK: Duration = Duration::from_secs(1);

pub(super) struct Regions {
    last_round: Instant,
    trust_after: Instant,
    next_return_check: Instant,
    automatic: Automatic,
}

impl Default for Regions {
    fn default() -> Self {
        let now = runtime::now();
        Self {
            last_round: now,
            trust_after: now + GRACE,
            next_return_check: now,
            automatic: Automatic::default(),
        }
    }
}

impl Regions {
    pub(super) async fn round(&mut self, node: &Arc<Replication>) {
        let now = runtime::now();
        if now.duration_since(self.last_round) > OWN_PAUSE {
            self.trust_after = now + GRACE;
        }
        self.last_round = now;
        if now < self.trust_after || node.group(GroupId::SYSTEM).is_none_or(|group| group.session().is_none())
        {
            return;
        }
        let state = node.system();
        for (region, nodes) in nodes_by_region(node) {
            let silent = |patience: Duration| {
                nodes.iter().all(|node_id| node.shared.peers.silence(*node_id) > patience)
            };
            let lost = state.lost_regions.contains(&region);
            if !lost && silent(node.shared.timing.region_lost_after) {
                mark("a region was recorded as lost");
                tracing::warn!(%region, "every node of the region is silent: recording it as lost");
                record(node, SystemCommand::MarkRegionLost(region)).await;
            } else if lost && !silent(node.shared.timing.heartbeat) && now >= self.next_return_check {
                self.next_return_check = now + RETURN_CHECK;
                if has_caught_up(node, &nodes).await {
                    mark("a lost region was required again");
                    tracing::info!(%region, "the region has caught up: it is required again");
                    record(node, SystemCommand::MarkRegionBack(region)).await;
                }
            }
        }
        self.automatic.round(node);
    }
}

fn nodes_by_region(node: &Replication) -> BTreeMap<RegionName, Vec<NodeId>> {
    let mut regions: BTreeMap<RegionName, Vec<NodeId>> = BTreeMap::new();
    for entry in node.everyone().nodes() {
        regions.entry(entry.region.clone()).or_default().push(entry.id);
    }
    regions
}

async fn record(node: &Arc<Replication>, command: SystemCommand) {
    if let Err(error) = node.system_write_here(command).await {
        tracing::debug!(%error, "the record is tried again");
    }
}

/// Whether the leaders of all groups that wait for other regions see one of the region's nodes close behind.
async fn has_caught_up(node: &Arc<Replication>, region: &[NodeId]) -> bool {
    let state = node.system();
    let statuses = node.status_everywhere(node.shared.timing.heartbeat * 2).await;
    let waiting = state.groups.values().filter(|group| {
        group.placement.rule != CommitRule::Majority
            && region.iter().any(|member| group.placement.data.contains_key(member))
    });
    let mut groups = waiting.map(|group| group.id);
    groups.all(|id| {
        let replicas = statuses.values().flat_map(|status| &status.replicas);
        let leading = replicas.filter(|replica| replica.group == id && replica.lease_ms.is_some());
        leading.max_by_key(|replica| replica.term).is_some_and(|leader| {
            let closest = region.iter().filter_map(|member| leader.matched.get(member)).max();
            closest.is_some_and(|matched| matched + CAUGHT_UP >= leader.committed)
        })
    })
}
