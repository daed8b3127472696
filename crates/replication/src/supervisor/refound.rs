//! After a group was founded anew, the seed says where it cut the old log.

use crate::node::Replication;
use crate::raft::refound::founded_at;
use crate::runtime;
use crate::system::SystemCommand;
use std::sync::Arc;
use std::time::Duration;

const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// On a seed: says that it has founded its groups, until that is committed.
pub(super) async fn report(node: &Arc<Replication>) {
    let state = node.system();
    for group in state.groups.values() {
        if group.unfounded().is_none_or(|next| next.seed != node.own()) {
            continue;
        }
        let cut = match founded_at(&node.shared.store, group.replica()) {
            Ok(Some(cut)) => cut,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(group = %group.id, %error, "cannot read where the group was cut");
                continue;
            }
        };
        let command = SystemCommand::Founded { group: group.id, incarnation: group.incarnation, cut };
        match node.system_write(command, runtime::now() + COMMAND_TIMEOUT).await {
            Ok(Ok(_)) => {}
            Ok(Err(refused)) => tracing::warn!(group = %group.id, %refused, "the founding came too late"),
            Err(error) => tracing::debug!(group = %group.id, %error, "the founding is reported again"),
        }
    }
}
