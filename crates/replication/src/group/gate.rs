//! Follows the answerable index of a group while this node leads it.

use super::{LeaderId, leadership, matched};
use crate::raft::Raft;
use crate::runtime::{self, watch};
use crate::system::SystemState;
use meridian_placement::CommitGate;
use meridian_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;

/// Up to where the leader may answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answerable {
    /// The leadership that this is about; `None` when this node does not lead.
    pub(crate) leader: Option<LeaderId>,
    /// Highest index that satisfies the commit rule. Never goes back within one leadership.
    pub(crate) index: u64,
}

/// Starts to follow; ends with the Raft.
pub(crate) fn follow(
    group: GroupId,
    raft: Raft,
    mut system: watch::Receiver<Arc<SystemState>>,
    own: NodeId,
) -> watch::Receiver<Answerable> {
    let (publish, follow) = watch::channel(Answerable::default());
    runtime::spawn(async move {
        // The whole metrics: openraft publishes its parts before it.
        let mut progress = raft.metrics();
        let mut gate = None;
        loop {
            progress.borrow_and_update();
            let leading = leadership(&progress.borrow_watched());
            let now = match leading {
                None => {
                    gate = None;
                    Answerable::default()
                }
                Some(leader) => {
                    if gate.is_none() || system.has_changed().unwrap_or(false) {
                        gate = make_gate(group, &system.borrow_and_update(), own);
                    }
                    let index = answerable(&progress.borrow_watched(), gate.as_ref());
                    let before: Answerable = *publish.borrow();
                    let floor = if before.leader == Some(leader) { before.index } else { 0 };
                    Answerable { leader: Some(leader), index: index.max(floor) }
                }
            };
            publish.send_if_modified(|published| std::mem::replace(published, now) != now);
            tokio::select! {
                biased;
                changed = progress.changed() => if changed.is_err() { return },
                changed = system.changed() => {
                    if changed.is_err() { return }
                    gate = None;
                }
            }
        }
    });
    follow
}

fn make_gate(group: GroupId, system: &SystemState, own: NodeId) -> Option<CommitGate> {
    // The system group has no rule beyond its majority.
    let info = system.groups.get(&group)?;
    Some(CommitGate::new(&system.placement_with(info, own), own, &system.excused_regions(info)))
}

fn answerable(
    metrics: &openraft::metrics::RaftMetrics<crate::raft::RaftTypes>,
    gate: Option<&CommitGate>,
) -> u64 {
    let committed = metrics.cluster_committed.map_or(0, |id| id.index);
    // The leader's own entry is there too, and says what is on its disk. What it has applied need not be: a majority of
    // the others commits without it.
    let on_disk = |node: NodeId| matched(metrics, node).unwrap_or(0);
    gate.map_or(committed, |gate| gate.answerable(committed, on_disk))
}
