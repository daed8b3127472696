//! What this node has of old incarnations: kept until it is empty, or somebody has decided on each item.

use super::Replication;
use crate::keys::{is_salvaged, salvage_mark};
use crate::raft::encode;
use crate::raft::lost::{LostItem, last_value, lost_items};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use crate::system::{SalvageCount, SystemCommand};
use crate::transport::Kind;
use crate::wire::{LostWrite, SalvageAt};
use meridian_types::GroupId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Items that a node sends at once at most, and the bytes of theirs.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 4 << 20;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The replicas of old incarnations that have something beyond their cut, and what.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    lost: Mutex<BTreeMap<ReplicaId, Arc<Vec<LostItem>>>>,
}

impl Retired {
    fn all(&self) -> BTreeMap<ReplicaId, Arc<Vec<LostItem>>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, id: ReplicaId, lost: Vec<LostItem>) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(lost));
    }

    fn remove(&self, id: ReplicaId) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Replication {
    /// Looks after the replicas of old incarnations: finds what they have beyond the cut, says so, and lets go of those of which everything
    /// is in the new incarnation or decided on.
    pub(crate) async fn tend_retired(&self) {
        let known = self.retired.all();
        for id in self.shared.store.groups().into_iter().map(ReplicaId::of_stored) {
            let done = match known.get(&id) {
                Some(lost) => self.tend_salvage(id, lost).await,
                None => self.retire(id).await,
            };
            if let Err(error) = done {
                tracing::warn!(group = %id, %error, "the old replica is looked at again later");
            }
        }
    }

    /// Collects what an old replica has beyond the cut, once this node has the state of the new incarnation.
    async fn retire(&self, id: ReplicaId) -> io::Result<()> {
        let state = self.system();
        let Some(info) = state.groups.get(&id.group).filter(|info| info.replaces(id)) else {
            return Ok(());
        };
        let (Some(cut), None) = (info.cut_of(id.incarnation), info.unfounded()) else { return Ok(()) };
        // Until then the old state may still be needed, to found from or to serve nothing worse than it.
        let Some(now) = self.group(id.group).filter(|group| group.incarnation == info.incarnation) else {
            return Ok(());
        };
        let began = info.refoundations.last().and_then(|last| last.cut).map_or(0, |began| began.index);
        if now.view.applied() < began {
            return Ok(());
        }
        let store = id.store(&self.shared.store)?;
        let (collecting, newer) = (store.clone(), now.store.clone());
        let lost = runtime::aside(move || lost_items(&collecting, id.incarnation, cut, &newer)).await??;
        if lost.is_empty() {
            tracing::info!(group = %id, "the new incarnation has all of the old one");
            return runtime::aside(move || store.destroy()).await?.map_err(io::Error::other);
        }
        mark("writes that a new incarnation lacks were kept");
        tracing::warn!(group = %id, items = lost.len(), "writes that the new incarnation lacks are kept");
        self.retired.put(id, lost);
        Ok(())
    }

    async fn tend_salvage(&self, id: ReplicaId, lost: &[LostItem]) -> io::Result<()> {
        let Some(now) = self.group(id.group).filter(|group| group.incarnation > id.incarnation) else {
            return Ok(());
        };
        for item in lost {
            let mark = now.view.get(&salvage_mark(id.incarnation, &item.key))?;
            if !is_salvaged(mark.map(|mark| mark.bytes).as_ref(), item.index) {
                return self.report_salvage(id, lost).await;
            }
        }
        tracing::info!(group = %id, items = lost.len(), "all that was kept of the old incarnation is decided on");
        self.retired.remove(id);
        let store = id.store(&self.shared.store)?;
        runtime::aside(move || store.destroy()).await?.map_err(io::Error::other)
    }

    /// Has the system group record how much is kept, once.
    async fn report_salvage(&self, id: ReplicaId, lost: &[LostItem]) -> io::Result<()> {
        let count =
            SalvageCount { writes: lost.iter().map(|item| item.writes).sum(), items: lost.len() as u64 };
        let state = self.system();
        let info = state.groups.get(&id.group);
        let step = info.and_then(|info| info.refoundations.iter().rfind(|next| next.base == id.incarnation));
        if step.is_none_or(|step| step.salvage.get(&self.own()) == Some(&count)) {
            return Ok(());
        }
        let ReplicaId { group, incarnation } = id;
        let command = SystemCommand::SalvageFound { group, incarnation, node: self.own(), count };
        let done = self.system_write(command, runtime::now() + COMMAND_TIMEOUT).await;
        done.map(drop).map_err(io::Error::other)
    }

    /// Items that this node has beyond the cuts of old incarnations, in order, behind a place.
    pub(crate) fn salvage_here(&self, after: Option<SalvageAt>) -> Vec<LostWrite> {
        let mut page = Vec::new();
        let mut bytes = 0;
        for (id, lost) in self.retired.all() {
            let Ok(store) = id.store(&self.shared.store) else { continue };
            let ReplicaId { group, incarnation } = id;
            let behind = |item: &&LostItem| Some((group, incarnation, item.index, item.part)) > after;
            for item in lost.iter().filter(behind) {
                let value = match last_value(&store, &item.key) {
                    Ok(value) => value,
                    Err(error) => {
                        tracing::error!(group = %id, %error, "what is kept cannot be read");
                        continue;
                    }
                };
                bytes += item.key.len() + value.as_ref().map_or(0, bytes::Bytes::len);
                let LostItem { key, index, part, writes, stamp_ms } = item.clone();
                page.push(LostWrite { group, incarnation, index, part, key, value, writes, stamp_ms });
                if page.len() >= PAGE || bytes >= PAGE_BYTES {
                    return page;
                }
            }
        }
        page
    }

    /// Items that any node which answers has beyond the cuts of old incarnations, in order, behind a place: a page of them. Empty: there
    /// are no more. Some of them may be decided on already.
    pub async fn salvage(&self, after: Option<SalvageAt>, deadline: Instant) -> Vec<LostWrite> {
        let Ok(payload) = encode(&after) else { return Vec::new() };
        let everyone = self.everyone();
        let others = everyone.nodes().map(|node| node.id).filter(|node| *node != self.own());
        let asked = others.map(|node| {
            let payload = payload.clone();
            async move {
                self.ask::<Vec<LostWrite>>(node, Kind::Salvage, GroupId::SYSTEM, payload, deadline).await
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        let mut parts: Vec<Vec<LostWrite>> = answers.into_iter().flatten().collect();
        parts.push(self.salvage_here(after));
        merge(parts)
    }
}

/// Pages of several nodes as one: nothing beyond the end of a page that may go on, and of an item that several nodes have, the latest.
fn merge(mut parts: Vec<Vec<LostWrite>>) -> Vec<LostWrite> {
    parts.retain(|part| !part.is_empty());
    // A page that is not full is its node's last; taking it for one that goes on only makes this page shorter.
    let end = parts.iter().filter_map(|part| part.last()).map(LostWrite::at).min();
    let mut all: BTreeMap<SalvageAt, LostWrite> = BTreeMap::new();
    for write in parts.into_iter().flatten().filter(|write| Some(write.at()) <= end) {
        all.insert(write.at(), write);
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::Incarnation;

    fn write(index: u64) -> LostWrite {
        LostWrite {
            group: GroupId(1),
            incarnation: Incarnation(0),
            index,
            part: 0,
            key: bytes::Bytes::new(),
            value: None,
            writes: 1,
            stamp_ms: 0,
        }
    }

    #[test]
    fn pages_of_several_nodes_become_one_without_gaps() {
        let merged = |parts: &[&[u64]]| -> Vec<u64> {
            let parts = parts.iter().map(|part| part.iter().map(|index| write(*index)).collect()).collect();
            merge(parts).iter().map(|write| write.index).collect()
        };
        assert_eq!(merged(&[]), [] as [u64; 0]);
        assert_eq!(merged(&[&[], &[1, 2]]), [1, 2]);
        assert_eq!(merged(&[&[1, 2, 3], &[1, 2, 3]]), [1, 2, 3], "replicas of one region");
        assert_eq!(merged(&[&[1, 5], &[2, 9]]), [1, 2, 5], "behind 5 the first node may have more");
    }
}
