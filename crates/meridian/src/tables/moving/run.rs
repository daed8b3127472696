//! Runs movers beside the leaders of this node.

use super::mover::{Cluster, Ended, Mover, jobs};
use super::rules::{MoveAnswer, MoveWrite};
use crate::tables::evaluate::{GroupRead, GroupWrite, decode, encode};
use bytes::Bytes;
use meridian_replication::system::{SystemCommand, SystemState};
use meridian_replication::{ReadConsistency, Replication, runtime};
use meridian_types::{GroupId, Position, TableId};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// Between looks at what there is to do.
const ROUND: Duration = Duration::from_millis(100);
/// Movers that run on a node at once.
const AT_ONCE: usize = 8;
/// How long one read or write of a move may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a mover that failed stays away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Runs as long as the node, and moves what this node serves.
pub async fn run(replication: Arc<Replication>) -> Infallible {
    let mut tasks = JoinSet::new();
    let mut movers: BTreeMap<(TableId, GroupId), AbortHandle> = BTreeMap::new();
    let mut ticks = runtime::interval(ROUND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while tasks.try_join_next().is_some() {}
        movers.retain(|_, task| !task.is_finished());
        let state = replication.system();
        for table in state.tables.values() {
            for (source, job) in jobs(table) {
                let key = (table.id, source);
                if movers.len() < AT_ONCE && !movers.contains_key(&key) && replication.serves_group(source) {
                    let (cluster, name) = (Arc::clone(&replication), table.name.clone());
                    let mover = Mover { cluster, name, table: table.id, source, job };
                    movers.insert(key, runtime::spawn_into(&mut tasks, work(mover)));
                }
            }
        }
    }
}

async fn work(mover: Mover<Arc<Replication>>) {
    let Mover { name, source, job, .. } = &mover;
    match mover.work().await {
        Ok(()) => tracing::info!(table = %name, %source, ?job, "the group's part of the move is done"),
        Err(error) => {
            tracing::debug!(table = %name, %source, ?job, %error, "the move goes on later");
            runtime::sleep(AGAIN_AFTER).await;
        }
    }
}

impl Cluster for Arc<Replication> {
    async fn write(&self, group: GroupId, write: MoveWrite) -> Result<(MoveAnswer, Position), Ended> {
        let request = encode(&GroupWrite::Move(write))?;
        let done = Replication::write(self, group, request, runtime::now() + PATIENCE).await?;
        Ok((decode(&done.response)?, done.position))
    }

    async fn read(&self, group: GroupId, read: GroupRead<'_>) -> Result<(Bytes, u64), Ended> {
        let (request, deadline) = (encode(&read)?, runtime::now() + PATIENCE);
        let done = Replication::read(self, group, request, ReadConsistency::Consistent, deadline).await?;
        Ok((done.response, done.position.index))
    }

    async fn tell(&self, command: SystemCommand) -> Result<(), Ended> {
        let told = self.system_write(command, runtime::now() + PATIENCE).await?;
        told.map(drop).map_err(|refused| Ended::Damaged(io::Error::other(refused)))
    }

    fn system(&self) -> Arc<SystemState> {
        Replication::system(self)
    }

    fn serves(&self, group: GroupId) -> bool {
        self.serves_group(group)
    }
}
