//! What stands between a leader and its clients besides Raft: a newer incarnation, and the lease of its region.
//!
//! Invariant 3 for groups that live and die with one region: a severed region goes on electing leaders inside, so a majority of the
//! group proves nothing about the rest of the world. Its leader serves only while the system group, which spans the regions, has
//! granted the region a lease; a group is founded anew elsewhere only after such a lease must have ended.

use crate::config::held;
use crate::replica_id::ReplicaId;
use crate::runtime::{self, Mistake, errs, watch};
use crate::system::{GroupInfo, SystemState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between looks whether a lease that was out is back. It is out for as long as the system group has no leader, which is rare.
const POLL: Duration = Duration::from_millis(20);

/// The lease that this node's region holds from the system group.
#[derive(Debug)]
pub(crate) struct RegionLease {
    granted: Duration,
    asked: Mutex<Option<Instant>>,
}

impl RegionLease {
    /// None yet; each one will be `granted` long.
    pub(crate) fn new(granted: Duration) -> Self {
        Self { granted, asked: Mutex::default() }
    }

    /// A lease was granted that this node had asked for at `asked`: it counts from then.
    pub(crate) fn renewed(&self, asked: Instant) {
        let mut newest = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(Some(asked));
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> Option<Duration> {
        let asked = (*self.asked.lock().unwrap_or_else(PoisonError::into_inner))?;
        held(self.granted).checked_sub(runtime::since(asked))
    }
}

/// Says of one replica whether it may serve.
#[derive(Clone)]
pub(crate) struct Fence {
    id: ReplicaId,
    system: watch::Receiver<Arc<SystemState>>,
    lease: Arc<RegionLease>,
}

impl Fence {
    pub(crate) fn new(
        id: ReplicaId,
        system: watch::Receiver<Arc<SystemState>>,
        lease: Arc<RegionLease>,
    ) -> Self {
        Self { id, system, lease }
    }

    /// Whether this node has heard of no newer incarnation (invariant 4). Reads the state that is applied now, so nothing is accepted
    /// between the moment a newer one is applied and the one at which the old replica is closed.
    pub(crate) fn is_current(&self) -> bool {
        self.system.borrow().groups.get(&self.id.group).is_none_or(|group| self.is_of(group))
    }

    fn is_of(&self, group: &GroupInfo) -> bool {
        group.incarnation == self.id.incarnation || errs(Mistake::DropIncarnationFence)
    }

    /// For how long a leader behind this fence may serve; `None`: not now. A group that needs no region's lease: for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        let needs_lease = {
            let state = self.system.borrow();
            let Some(group) = state.groups.get(&self.id.group) else { return Some(Duration::MAX) };
            // Until it is recorded that this incarnation has a state, another seed may begin anew from the one before.
            if !self.is_of(group) || group.unfounded().is_some() {
                return None;
            }
            state.sole_region(group).is_some() && !errs(Mistake::IgnoreRegionLease)
        };
        if needs_lease { self.lease.left() } else { Some(Duration::MAX) }
    }

    /// Waits until the leader may answer for what is decided; `false` when it never may again.
    pub(crate) async fn passed(&self) -> bool {
        while self.left().is_none() {
            if !self.is_current() {
                return false;
            }
            runtime::sleep(POLL).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_when_it_was_asked_for() {
        let lease = RegionLease::new(Duration::from_secs(1));
        assert_eq!(lease.left(), None);
        let asked = runtime::now();
        tokio::time::advance(Duration::from_millis(400)).await;
        lease.renewed(asked);
        assert_eq!(lease.left(), Some(Duration::from_millis(500)));
        lease.renewed(asked.checked_sub(Duration::from_millis(200)).expect("the clock is not that young"));
        assert_eq!(
            lease.left(),
            Some(Duration::from_millis(500)),
            "an answer that came late shortens nothing"
        );
        tokio::time::advance(Duration::from_millis(501)).await;
        assert_eq!(lease.left(), None);
    }
}
