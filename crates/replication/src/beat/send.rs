//! A leader's side: tells every peer of the groups that this node leads, and notes who heard it.

use super::{Beat, Refused};
use crate::group::{Group, LeaderId};
use crate::node::Replication;
use crate::raft::{decode, encode};
use crate::runtime::{self, mark};
use crate::supervisor::Rounds;
use crate::transport::{Kind, Link};
use meridian_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Runs as long as the node.
pub(crate) async fn run(node: Weak<Replication>) {
    let Some(period) = node.upgrade().map(|node| node.shared.timing.heartbeat) else { return };
    let mut rounds = Rounds::every(period, node);
    let mut disk = DiskWatch::default();
    while let Some(node) = rounds.next().await {
        if disk.hangs(node.shared.store.sync_under_way(), node.shared.timing.lease) {
            mark("a leader with a hanging disk was silent");
            continue;
        }
        for (peer, led) in led_by_peer(&node) {
            if let Some(link) = node.shared.peers.link(peer) {
                runtime::spawn(tell(link, led, node.shared.timing.lease));
            }
        }
    }
}

/// Notes for how long one sync has been under way. A leader whose disk hangs can commit nothing by itself, and as long as it
/// is heard nobody replaces it; so it is silent until the disk answers.
#[derive(Default)]
struct DiskWatch {
    sync: Option<(u64, Instant)>,
}

impl DiskWatch {
    /// Whether the sync that is under way now has been for longer than `patience`.
    fn hangs(&mut self, under_way: Option<u64>, patience: Duration) -> bool {
        self.sync = under_way.map(|number| match self.sync {
            Some((same, since)) if same == number => (number, since),
            _ => (number, runtime::now()),
        });
        self.sync.is_some_and(|(_, since)| runtime::since(since) > patience)
    }
}

/// A group that this node leads, and what to say of it.
struct Led {
    group: Arc<Group>,
    leader: LeaderId,
    beat: Beat,
}

fn led_by_peer(node: &Replication) -> BTreeMap<NodeId, Vec<Led>> {
    let mut by_peer: BTreeMap<NodeId, Vec<Led>> = BTreeMap::new();
    for group in node.groups() {
        let Some(leader) = group.held_leadership() else { continue };
        let metrics = group.metrics.borrow_watched();
        let committed = metrics.cluster_committed.as_ref().map_or(0, |id| id.index);
        let beat = Beat { group: group.id, incarnation: group.incarnation, term: leader.term, committed };
        for (member, _) in metrics.membership_config.membership().nodes().filter(|(id, _)| **id != node.own())
        {
            by_peer.entry(*member).or_default().push(Led { group: Arc::clone(&group), leader, beat });
        }
    }
    by_peer
}

async fn tell(link: Arc<Link>, led: Vec<Led>, patience: Duration) {
    let beats: Vec<Beat> = led.iter().map(|led| led.beat).collect();
    let Ok(payload) = encode(&beats) else { return };
    let sent = runtime::now();
    let Ok(answer) = link.call(Kind::Beat, GroupId::SYSTEM, payload, patience).await else { return };
    let Ok(refused) = decode::<Refused>(&answer) else { return };
    for Led { group, leader, beat } in led {
        if !refused.contains(&beat.group) {
            group.acks.acked(link.peer(), leader, sent);
        } else if let Err(error) = group.raft.trigger().heartbeat().await {
            tracing::debug!(group = %group.id, %error, "cannot ask why a beat was refused");
        }
    }
}
