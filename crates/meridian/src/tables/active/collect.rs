//! Collects tombstones, once nobody can bring back what they hide.
//!
//! The *horizon* of a share of the items is found in two rounds over all its origins. Each origin promises that it writes nothing earlier than a
//! stamp any more; once every replica has applied the promises, whoever evaluates a write knows all that is earlier. What was evaluated before that
//! is in the logs by the time of a second promise, and once every replica has applied that one too, nothing that is still to be applied
//! anywhere was written in ignorance of what is earlier than the first promises. A region that is away stops this, and is named. One that is expelled is
//! not waited for: the second promises and the horizon are written behind a [`fence`](super::fence), which keeps its nodes from evaluating
//! anything before they have what was waited for.

use super::tend::{ActiveRead, ActiveWrite};
use crate::tables::evaluate::{GroupRead, GroupWrite, decode, encode};
use bytes::Bytes;
use meridian_replication::system::SystemState;
use meridian_replication::{ReadConsistency, Replication, Unserved, runtime, table_of};
use meridian_types::{Demand, GroupId, Hlc, NodeId, Position, TableId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Graves looked at, and fragments dropped, at once.
const BATCH: u32 = 256;
/// Bounds one step; the next round tries again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing was collected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Blocked {
    /// A node's replicas are behind.
    #[error("node {0} has not applied what the others have")]
    By(NodeId),
    /// A group could not be asked.
    #[error(transparent)]
    Unserved(#[from] Unserved),
}

/// One share of an active-active policy's items: the groups of its origins.
pub(super) struct Share<'a> {
    pub(super) replication: &'a Replication,
    pub(super) state: &'a SystemState,
    pub(super) groups: &'a [GroupId],
}

impl Share<'_> {
    /// Collects what can be, if there is anything.
    pub(super) async fn collect(&self) -> Result<(), Blocked> {
        for group in self.groups {
            self.forget_surplus(*group).await?;
        }
        let mut any = false;
        for group in self.groups {
            any |= !self.graves(*group, Hlc::from_bits(u64::MAX), None, 1).await?.is_empty();
        }
        if !any {
            return Ok(());
        }
        let (promised, first) = self.promise(&[]).await?;
        self.await_everywhere(&first).await?;
        let (_, second) = self.promise(&first).await?;
        self.await_everywhere(&second).await?;
        for group in self.groups {
            self.write::<()>(*group, ActiveWrite::Horizon(promised, second.clone())).await?;
        }
        for group in self.groups {
            self.bury(*group, promised).await?;
        }
        Ok(())
    }

    /// Has every origin promise, behind a fence; the stamp that no origin's later write is earlier than.
    async fn promise(&self, fence: &[Position]) -> Result<(Hlc, Vec<Position>), Blocked> {
        let mut earliest = Hlc::from_bits(u64::MAX);
        let mut positions = Vec::new();
        for group in self.groups {
            let promise = ActiveWrite::Promise(fence.to_vec());
            let promised = self.write::<Hlc>(*group, promise).await;
            let (promised, position) = promised.map_err(|error| self.blocked(*group, error))?;
            earliest = earliest.min(promised.unwrap_or_default());
            positions.push(position);
        }
        Ok((earliest, positions))
    }

    /// What an origin that does not promise waits for: its region, when that is not heard.
    fn blocked(&self, group: GroupId, error: Unserved) -> Blocked {
        let info = self.state.groups.get(&group);
        let leaders = info.map(|info| self.state.leaders_of(info)).unwrap_or_default();
        let away = |node: &&NodeId| **node != self.replication.own() && !self.replication.hears(**node);
        let heard = leaders.iter().any(|node| !away(&node));
        leaders.first().filter(|_| !heard).map_or(Blocked::Unserved(error), |node| Blocked::By(*node))
    }

    async fn await_everywhere(&self, positions: &[Position]) -> Result<(), Blocked> {
        let Some(first) = self.groups.first() else { return Ok(()) };
        let request = encode(&GroupRead::Active(ActiveRead::Applied)).map_err(Unserved::from)?;
        let holders = self.groups.iter().filter_map(|group| self.state.groups.get(group));
        let nodes: std::collections::BTreeSet<NodeId> =
            holders.flat_map(|group| group.placement.data.keys().copied()).collect();
        let nodes = nodes.into_iter().filter(|node| !self.state.is_expelled(*node));
        let waits = nodes.map(|node| {
            let request = request.clone();
            async move {
                let deadline = runtime::now() + PATIENCE;
                let read = self.replication.read_at(node, *first, request, positions, deadline);
                // A peer that is not connected answers at once, one that is cut off not at all.
                match runtime::timeout_at(deadline, read).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(Blocked::By(node)),
                }
            }
        });
        futures_util::future::try_join_all(waits).await.map(drop)
    }

    async fn bury(&self, group: GroupId, horizon: Hlc) -> Result<(), Unserved> {
        let mut after = None;
        loop {
            let graves = self.graves(group, horizon, after.take(), BATCH).await?;
            let Some((last, ..)) = graves.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut by_table: BTreeMap<TableId, Vec<(Hlc, Bytes)>> = BTreeMap::new();
            let mut orphans = Vec::new();
            for (note, at, item) in graves {
                match table_of(&item).filter(|id| self.lives_here(*id)) {
                    Some(table) => by_table.entry(table).or_default().push((at, item)),
                    None => orphans.push(note),
                }
            }
            if !orphans.is_empty() {
                self.write::<()>(group, ActiveWrite::Forget(orphans)).await?;
            }
            for (table, graves) in by_table {
                let (alive, _) = self.write::<Vec<Bytes>>(group, ActiveWrite::Bury(table, graves)).await?;
                let alive = alive.unwrap_or_default();
                if !alive.is_empty() {
                    for other in self.groups.iter().filter(|other| **other != group) {
                        self.write::<()>(*other, ActiveWrite::Absorb(table, alive.clone())).await?;
                    }
                }
            }
        }
    }

    /// Whether a table's items are in these groups.
    fn lives_here(&self, id: TableId) -> bool {
        let policy =
            self.groups.first().and_then(|group| self.state.groups.get(group)).map(|group| &group.policy);
        let table = self.state.tables.values().find(|table| table.id == id);
        table.zip(policy).is_some_and(|(table, policy)| table.policies().contains(policy))
    }

    async fn forget_surplus(&self, group: GroupId) -> Result<(), Unserved> {
        let surplus: Vec<Bytes> = self.read(group, ActiveRead::Surplus(BATCH)).await?;
        if !surplus.is_empty() {
            self.write::<()>(group, ActiveWrite::Forget(surplus)).await?;
        }
        Ok(())
    }

    async fn graves(
        &self,
        group: GroupId,
        upto: Hlc,
        after: Option<Bytes>,
        limit: u32,
    ) -> Result<Vec<(Bytes, Hlc, Bytes)>, Unserved> {
        self.read(group, ActiveRead::Graves(upto, after, limit)).await
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        group: GroupId,
        read: ActiveRead,
    ) -> Result<T, Unserved> {
        let request = encode(&GroupRead::Active(read))?;
        let any = ReadConsistency::Local { seen: Demand::Nothing, max_staleness: None };
        let done = self.replication.read(group, request, any, runtime::now() + PATIENCE).await?;
        Ok(decode(&done.response)?)
    }

    async fn write<T: serde::de::DeserializeOwned>(
        &self,
        group: GroupId,
        write: ActiveWrite,
    ) -> Result<(Option<T>, Position), Unserved> {
        let request = encode(&GroupWrite::Active(write))?;
        let done = self.replication.write(group, request, runtime::now() + PATIENCE).await?;
        let answer = if done.response.is_empty() { None } else { Some(decode(&done.response)?) };
        Ok((answer, done.position))
    }
}
