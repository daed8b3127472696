//! Keeps links to the nodes of the cluster, as they come and go.

use super::Replication;
use crate::runtime;
use crate::transport::{Dial, Doorman, Handler, Peers};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a node that has left may still hear of it before its links end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs as long as the node.
pub(super) async fn keep(
    node: Weak<Replication>,
    peers: Arc<Peers>,
    dialer: Arc<dyn Dial>,
    handler: Arc<dyn Handler>,
) {
    let Some((roster, mut system)) =
        node.upgrade().map(|node| (Arc::clone(&node.shared.roster), node.watch_system()))
    else {
        return;
    };
    let mut tasks = JoinSet::new();
    let mut dialled = BTreeSet::new();
    loop {
        drop(system.borrow_and_update());
        let wanted = roster.peers();
        for peer in wanted.difference(&dialled) {
            let door: Arc<dyn Doorman> = Arc::clone(&roster) as _;
            let keep =
                Arc::clone(&peers).keep_dialling(*peer, Arc::clone(&dialer), door, Arc::clone(&handler));
            runtime::spawn_into(&mut tasks, keep);
        }
        // A task ends by itself once its peer is none.
        dialled = wanted;
        for gone in peers.linked().into_iter().filter(|peer| roster.is_removed(*peer)) {
            let peers = Arc::clone(&peers);
            runtime::spawn_into(&mut tasks, async move {
                runtime::sleep(FAREWELL).await;
                peers.cut(gone);
            });
        }
        if roster.is_removed(peers.own()) {
            roster.left();
        }
        while tasks.try_join_next().is_some() {}
        if system.changed().await.is_err() {
            return;
        }
    }
}
