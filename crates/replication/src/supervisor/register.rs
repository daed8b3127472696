//! Tells the system group with which disk, protocol and address this node runs.

use crate::node::Replication;
use crate::runtime;
use crate::system::{Started, SystemCommand, SystemError};
use crate::transport::{Doorman, PROTOCOL};
use std::sync::{Arc, Weak};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(200);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until the system group knows.
pub(super) async fn run(node: Weak<Replication>) {
    loop {
        runtime::sleep(EVERY).await;
        let Some(node) = node.upgrade() else { return };
        if register(&node).await {
            return;
        }
    }
}

async fn register(node: &Arc<Replication>) -> bool {
    let roster = &node.shared.roster;
    let state = node.system();
    let Some(known) = state.nodes.get(&node.own()) else { return false };
    let started =
        Started { node: node.own(), disk: roster.disk(), protocol: PROTOCOL, peer: roster.own_address() };
    if (known.disk, known.protocol, &known.peer) == (Some(started.disk), PROTOCOL, &started.peer) {
        return true;
    }
    match node.system_write(SystemCommand::NodeStarted(started), runtime::now() + COMMAND_TIMEOUT).await {
        Ok(Ok(_)) => true,
        Ok(Err(refused @ SystemError::OtherDisk(_))) => {
            roster.expelled(&refused.to_string());
            true
        }
        Ok(Err(_)) | Err(_) => false,
    }
}
