//! A group's leader says when a region that the policy has named has caught up: from then on it is waited for.

use super::Rounds;
use super::members::caught_up;
use crate::node::Replication;
use crate::runtime;
use crate::system::SystemCommand;
use std::sync::{Arc, Weak};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(500);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs as long as the node.
pub(super) async fn run(node: Weak<Replication>) {
    let mut rounds = Rounds::every(EVERY, node);
    while let Some(node) = rounds.next().await {
        round(&node).await;
    }
}

async fn round(node: &Arc<Replication>) {
    let state = node.system();
    for group in node.groups().into_iter().filter(|group| group.session().is_some()) {
        let Some(info) = state.groups.get(&group.id) else { continue };
        for region in &info.arriving {
            let mut there = info.placement.data.iter().filter(|(_, of)| *of == region);
            if !there.any(|(member, _)| caught_up(&group, *member)) {
                continue;
            }
            let command = SystemCommand::RegionArrived { group: group.id, region: region.clone() };
            match node.system_write(command, runtime::now() + COMMAND_TIMEOUT).await {
                Ok(_) => {
                    tracing::info!(group = %group.id, %region, "the region has caught up: it is required now");
                }
                Err(error) => tracing::debug!(group = %group.id, %error, "the region is required later"),
            }
        }
    }
}
