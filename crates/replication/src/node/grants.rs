//! The leases that this node has granted to regions while it led the system group.

use crate::group::LeaderId;
use crate::runtime;
use meridian_types::RegionName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Default)]
struct State {
    /// Regions that get no lease, because their groups are about to be founded anew elsewhere.
    closed: BTreeSet<RegionName>,
    last: BTreeMap<RegionName, Instant>,
    /// The present leadership, and when this node first knew of it.
    leading: Option<(LeaderId, Instant)>,
}

/// Who got a lease when, and who gets none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    state: Arc<Mutex<State>>,
}

impl Grants {
    /// Notes a grant that is about to be made; `false` when the region gets none. Only after this may the granter check its own
    /// leadership and answer: a grant that is not noted must never be given.
    pub(crate) fn note(&self, region: &RegionName) -> bool {
        let mut state = self.lock();
        if state.closed.contains(region) {
            return false;
        }
        state.last.insert(region.clone(), runtime::now());
        true
    }

    /// How long ago the last lease was granted to a region by this node.
    pub(crate) fn since_last(&self, region: &RegionName) -> Option<Duration> {
        self.lock().last.get(region).copied().map(runtime::since)
    }

    /// For how long this node has known that it leads the system group.
    pub(crate) fn leading_for(&self, leader: LeaderId) -> Duration {
        let mut state = self.lock();
        match state.leading {
            Some((known, since)) if known == leader => runtime::since(since),
            _ => {
                state.leading = Some((leader, runtime::now()));
                Duration::ZERO
            }
        }
    }

    /// Grants a region nothing more until the answer is dropped; `None` when somebody else has closed it.
    pub(crate) fn close(&self, region: &RegionName) -> Option<Closed> {
        let fresh = self.lock().closed.insert(region.clone());
        fresh.then(|| Closed { grants: self.clone(), region: region.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is changed whole: a panic elsewhere leaves none half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A region that gets no lease for as long as this lives.
#[derive(Debug)]
pub(crate) struct Closed {
    grants: Grants,
    region: RegionName,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.grants.lock().closed.remove(&self.region);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::RaftTypes;
    use meridian_types::NodeId;
    use openraft::type_config::alias::LeaderIdOf;
    use openraft::vote::RaftLeaderId;

    #[tokio::test(start_paused = true)]
    async fn a_closed_region_gets_nothing_until_it_is_opened_again() {
        let (grants, region) = (Grants::default(), RegionName::new("a").expect("a name"));
        assert!(grants.note(&region));
        tokio::time::advance(Duration::from_secs(1)).await;
        let closed = grants.close(&region).expect("nobody else closed it");
        assert!(!grants.note(&region));
        assert!(grants.close(&region).is_none(), "one at a time");
        assert_eq!(grants.since_last(&region), Some(Duration::from_secs(1)), "a refusal is no grant");
        drop(closed);
        assert!(grants.note(&region));
    }

    #[tokio::test(start_paused = true)]
    async fn each_leadership_counts_from_its_own_beginning() {
        let grants = Grants::default();
        let leader = |term| LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed();
        assert_eq!(grants.leading_for(leader(1)), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(grants.leading_for(leader(1)), Duration::from_secs(2));
        assert_eq!(grants.leading_for(leader(2)), Duration::ZERO);
    }
}
