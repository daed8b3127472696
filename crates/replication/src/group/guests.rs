//! Guests: nodes that ask a group's leader to be members, without a vote, although placement does not name them any more. They still have
//! a replica of an old incarnation, and without the state of the new one they cannot tell which of its writes were lost (invariant 4).

use crate::runtime;
use meridian_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a guest is one after it has last asked. It asks every other second.
const STAY: Duration = Duration::from_secs(10);

/// The guests of a group, by the word of its leader; as many as the cluster has nodes at most.
#[derive(Debug, Default)]
pub(crate) struct Guests(Mutex<BTreeMap<NodeId, Instant>>);

impl Guests {
    /// Takes a node in, or has it stay longer.
    pub(crate) fn welcome(&self, node: NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node, runtime::now());
    }

    /// Who has asked lately.
    pub(crate) fn present(&self) -> BTreeSet<NodeId> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|_, asked| runtime::since(*asked) < STAY);
        guests.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guest_stays_for_as_long_as_it_asks() {
        let guests = Guests::default();
        guests.welcome(NodeId(1));
        guests.welcome(NodeId(2));
        tokio::time::sleep(STAY / 2).await;
        guests.welcome(NodeId(2));
        tokio::time::sleep(STAY / 2).await;
        assert_eq!(guests.present(), BTreeSet::from([NodeId(2)]));
        tokio::time::sleep(STAY).await;
        assert_eq!(guests.present(), BTreeSet::new());
    }
}
