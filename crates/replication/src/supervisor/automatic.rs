//! Gives a lost region up without an operator, for policies that say so (`auto_failover`).

use crate::node::{Replication, groups_of_region};
use crate::runtime::{self, mark};
use crate::system::SystemState;
use crate::wire::FailoverOrder;
use meridian_placement::{Absence, gives_up};
use meridian_types::{NodeId, Policy, RegionName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Between tries for regions whose groups could not all be founded anew.
const RETRY: Duration = Duration::from_secs(2);

/// What the system leader does about lost regions. One thing at a time.
pub(super) struct Automatic {
    free: Arc<Semaphore>,
}

impl Default for Automatic {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(1)) }
    }
}

impl Automatic {
    /// On the system leader, when its own view can be trusted.
    pub(super) fn round(&self, node: &Arc<Replication>) {
        let state = node.system();
        let due = state.lost_regions.iter().flat_map(|region| {
            let policies = state.policies.values().map(|entry| &entry.policy);
            policies
                .filter(|policy| is_due(node, &state, region, policy, false))
                .map(move |policy| (region, policy))
        });
        let Some((region, policy)) = due.into_iter().next() else { return };
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { return };
        let (node, region, policy) = (Arc::clone(node), region.clone(), policy.clone());
        runtime::spawn(async move {
            give_up(&node, &region, &policy).await;
            runtime::sleep(RETRY).await;
            drop(permit);
        });
    }
}

fn nodes_of(node: &Replication, region: &RegionName) -> Vec<NodeId> {
    node.everyone().nodes().filter(|entry| entry.region == *region).map(|entry| entry.id).collect()
}

fn is_due(
    node: &Replication,
    state: &SystemState,
    region: &RegionName,
    policy: &Policy,
    heard_by_others: bool,
) -> bool {
    let silences = nodes_of(node, region).into_iter().map(|id| node.shared.peers.silence(id));
    let absence = Absence {
        recorded: state.lost_regions.contains(region),
        silent_for: silences.min().unwrap_or_default(),
        heard_by_others,
    };
    let after = policy.automatic_after().map(meridian_types::Span::duration);
    gives_up(absence, after)
        && groups_of_region(state, &node.risks_known(), region, Some(&policy.name)).is_ok()
}

async fn give_up(node: &Arc<Replication>, region: &RegionName, policy: &Policy) {
    // A leader that alone hears nothing is itself cut off from the region, and the others may not be.
    let said = node.status_everywhere(node.shared.timing.heartbeat * 2).await;
    let others = said.values().filter(|said| said.node != node.own());
    let hears = |silent: &[NodeId]| nodes_of(node, region).iter().any(|id| !silent.contains(id));
    let heard_by_others = others.into_iter().any(|said| hears(&said.silent));
    if !is_due(node, &node.system(), region, policy, heard_by_others) {
        return;
    }
    mark("a region was given up by policy");
    let order = FailoverOrder { from: region.clone(), policy: Some(policy.name.clone()), automatic: true };
    match node.fail_over_here(&order).await {
        Ok(groups) => {
            for group in groups.iter().filter(|group| group.error.is_some()) {
                tracing::error!(?group, "the group does not go on");
            }
        }
        Err(error) => {
            tracing::warn!(%region, policy = %policy.name, %error, "the region is not given up yet");
        }
    }
}
