//! Copies one source's items to the new groups, with an order of steps that loses nothing whoever else does the same, or stops in the
//! middle of it.

use super::reads::{ChangedPage, ChangedRead, RowsPage, RowsRead, ordinal};
use super::rules::{MoveAnswer, MoveWrite, Row, Sender};
use crate::tables::evaluate::{GroupRead, decode};
use bytes::Bytes;
use meridian_replication::Unserved;
use meridian_replication::runtime::{self, Mistake, errs, mark};
use meridian_replication::system::{MovePhase, Sweep, SystemCommand, SystemState, TableEntry};
use meridian_types::{GroupId, PolicyName, Position, TableId, TableName};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between looks at how far the move is.
const ROUND: Duration = Duration::from_millis(100);
/// Between reports of how much is copied.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// A source is ready once so few changed items were left at one look.
const FEW: usize = 100;
/// After so long without a switch a frozen source has the move cancelled: clients are waiting.
const FROZEN_AT_MOST: Duration = Duration::from_secs(3);

/// What a mover needs of the cluster.
pub(super) trait Cluster: Send + Sync {
    /// Has a group take a write of a move.
    fn write(
        &self,
        group: GroupId,
        write: MoveWrite,
    ) -> impl Future<Output = Result<(MoveAnswer, Position), Ended>> + Send;

    /// Reads the latest state of a group; says its index too.
    fn read(
        &self,
        group: GroupId,
        read: GroupRead<'_>,
    ) -> impl Future<Output = Result<(Bytes, u64), Ended>> + Send;

    /// Has the system group take a command.
    fn tell(&self, command: SystemCommand) -> impl Future<Output = Result<(), Ended>> + Send;

    /// The system state as far as this node knows it.
    fn system(&self) -> Arc<SystemState>;

    /// Whether this node serves a group.
    fn serves(&self, group: GroupId) -> bool;
}

/// What a source has to do in a move of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Copy its items.
    Move(u64),
    /// Go on as before: the move is off.
    Stay(u64),
}

/// What groups have to do for a table.
pub(super) fn jobs(table: &TableEntry) -> Vec<(GroupId, Job)> {
    if let Some(moving) = &table.moving {
        // One that is sealed still has somebody wait for the others: it is frozen, and they may never be done.
        return moving.sources.keys().map(|group| (*group, Job::Move(moving.id))).collect();
    }
    let stays = table.sweep.iter().filter_map(|(group, sweep)| match sweep {
        Sweep::Stayed(id) => Some((*group, Job::Stay(*id))),
        Sweep::Moved | Sweep::Arrived => None,
    });
    stays.collect()
}

/// Why a mover ends before its work is done. Another begins if there still is work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the move is over, or another node leads the group")]
    Over,
    #[error("a newer mover has begun")]
    Replaced,
    #[error(transparent)]
    Unserved(#[from] Unserved),
    #[error(transparent)]
    Damaged(#[from] io::Error),
}

/// The work of one source in one move.
pub(super) struct Mover<C> {
    pub(super) cluster: C,
    pub(super) name: TableName,
    pub(super) table: TableId,
    pub(super) source: GroupId,
    pub(super) job: Job,
}

impl<C: Cluster> Mover<C> {
    /// Does it, or as much of it as is possible now.
    ///
    /// # Errors
    /// Why it ended before it was done; it may begin anew at any time.
    pub(super) async fn work(&self) -> Result<(), Ended> {
        match self.job {
            Job::Move(id) => self.move_items(id).await,
            Job::Stay(id) => self.stay(id).await,
        }
    }

    async fn move_items(&self, id: u64) -> Result<(), Ended> {
        let targets = self.targets(id)?;
        let MoveAnswer::Started { epoch } =
            self.write_source(MoveWrite::Start { table: self.table, id }).await?
        else {
            return Err(Ended::Replaced);
        };
        let from = Sender { table: self.table, id, epoch };
        if epoch > 1 {
            mark("a mover went on where another had ended");
        }
        let mut copying = Copying { mover: self, from, targets, copied: 0, reported: runtime::now() };
        if self.phase(id)?.0 == MovePhase::Switching {
            mark("a mover began while its table was switching");
            return self.in_time(id, copying.switch()).await;
        }
        if copying.open().await? {
            return self.in_time(id, copying.arrive()).await;
        }
        copying.copy_all().await?;
        while copying.copy_changed().await? > FEW {}
        copying.report(true).await?;
        while self.phase(id)?.0 == MovePhase::Copying {
            runtime::sleep(ROUND).await;
            copying.copy_changed().await?;
        }
        self.in_time(id, copying.finish()).await
    }

    /// Does what clients wait for; what takes too long, or fails, ends the move instead: the source may serve the table again, while
    /// the new groups may be out of reach for hours.
    async fn in_time(&self, id: u64, switch: impl Future<Output = Result<(), Ended>>) -> Result<(), Ended> {
        let why = match runtime::timeout(FROZEN_AT_MOST, switch).await {
            Ok(Err(error @ (Ended::Unserved(_) | Ended::Damaged(_)))) => error.to_string(),
            Ok(done) => return done,
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(table = %self.name, why, "the move has not switched in time and is cancelled");
        mark("a move that did not switch in time was cancelled");
        let cancel = SystemCommand::CancelMove { name: self.name.clone(), id: Some(id) };
        self.cluster.tell(cancel).await
    }

    /// The move is off: serves the table again, and forgets what has changed.
    async fn stay(&self, id: u64) -> Result<(), Ended> {
        self.write_source(MoveWrite::Stay { table: self.table, id }).await?;
        self.cluster.tell(SystemCommand::TablePurged { table: self.table, group: self.source }).await
    }

    fn entry<'a>(&self, state: &'a SystemState) -> Result<&'a TableEntry, Ended> {
        state.tables.values().find(|table| table.id == self.table).ok_or(Ended::Over)
    }

    /// How far the move is and where it goes, while it is on and this node serves the source.
    fn phase(&self, id: u64) -> Result<(MovePhase, PolicyName), Ended> {
        let state = self.cluster.system();
        let moving = self.entry(&state)?.moving.as_ref().filter(|moving| moving.id == id);
        let moving = moving.filter(|_| self.cluster.serves(self.source)).ok_or(Ended::Over)?;
        Ok((moving.phase, moving.to.clone()))
    }

    /// The new groups, by ordinal; of an active-active policy those of its first origin.
    fn targets(&self, id: u64) -> Result<Vec<GroupId>, Ended> {
        let (_, to) = self.phase(id)?;
        let state = self.cluster.system();
        let entry = state.policies.get(&to).ok_or(Ended::Over)?;
        let count = usize::try_from(entry.policy.groups).map_err(io::Error::other)?;
        Ok(entry.groups.iter().take(count).copied().collect())
    }

    /// The source's ordinal among the groups of its policy, and how many they are.
    fn place(&self) -> Result<(u32, u32), Ended> {
        let state = self.cluster.system();
        let groups = &state.policies.get(&self.entry(&state)?.policy).ok_or(Ended::Over)?.groups;
        let ordinal = groups.iter().position(|group| *group == self.source).ok_or(Ended::Over)?;
        let fits = |count: usize| u32::try_from(count).map_err(io::Error::other);
        Ok((fits(ordinal)?, fits(groups.len())?))
    }

    async fn write(&self, group: GroupId, write: MoveWrite) -> Result<(MoveAnswer, Position), Ended> {
        match self.cluster.write(group, write).await? {
            (MoveAnswer::Stale, _) => Err(Ended::Replaced),
            taken => Ok(taken),
        }
    }

    async fn write_source(&self, write: MoveWrite) -> Result<MoveAnswer, Ended> {
        Ok(self.write(self.source, write).await?.0)
    }
}

/// One mover's work in progress.
struct Copying<'a, C> {
    mover: &'a Mover<C>,
    from: Sender,
    targets: Vec<GroupId>,
    copied: u64,
    reported: Instant,
}

impl<C: Cluster> Copying<'_, C> {
    /// Begins anew with a source that is frozen, or is about to be.
    async fn switch(&mut self) -> Result<(), Ended> {
        if self.open().await? {
            mark("a mover found everything brought already");
            return self.arrive().await;
        }
        self.copy_all().await?;
        self.finish().await
    }

    /// Freezes the source and brings what is left.
    async fn finish(&mut self) -> Result<(), Ended> {
        self.mover.write_source(MoveWrite::Freeze { from: self.from }).await?;
        if !errs(Mistake::SkipCatchUp) {
            self.copy_rest().await?;
        }
        self.arrive().await
    }

    /// Says that everything is there, and waits until the other sources are done as well.
    async fn arrive(&self) -> Result<(), Ended> {
        let Copying { mover, from, .. } = *self;
        let arrived = self.seal().await?;
        let sealed =
            SystemCommand::MoveSealed { table: from.table, id: from.id, source: mover.source, arrived };
        mover.cluster.tell(sealed).await?;
        while mover.phase(from.id).is_ok() {
            runtime::sleep(ROUND).await;
        }
        Ok(())
    }

    /// Begins in every new group; whether an earlier mover had already brought everything. What a move before this one has left there is
    /// deleted.
    async fn open(&self) -> Result<bool, Ended> {
        let Copying { mover, from, targets, .. } = self;
        let mut any_sealed = false;
        for group in targets {
            let open = MoveWrite::Open { from: *from, source: mover.source };
            any_sealed |= mover.write(*group, open).await?.0 == MoveAnswer::Sealed;
        }
        if any_sealed {
            // The first is sealed only when everything has been copied.
            return Ok(true);
        }
        let place = mover.place()?;
        for group in targets {
            let mut after = None;
            loop {
                let read = RowsRead { table: from.table, after, of: Some(place) };
                let (answer, _) = mover.cluster.read(*group, GroupRead::MoveRows(read)).await?;
                let RowsPage { rows, next } = decode(&answer)?;
                let gone = rows.into_iter().map(|(key, _)| (key, None)).collect();
                self.import(*group, gone).await?;
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(false)
    }

    async fn import(&self, group: GroupId, rows: Vec<Row>) -> Result<(), Ended> {
        if rows.is_empty() {
            return Ok(());
        }
        let import = MoveWrite::Import { from: self.from, source: self.mover.source, rows };
        self.mover.write(group, import).await.map(drop)
    }

    /// Brings rows to the groups that they belong to.
    async fn bring(&mut self, rows: Vec<Row>) -> Result<(), Ended> {
        self.mover.phase(self.from.id)?;
        self.copied += rows.len() as u64;
        let count = u32::try_from(self.targets.len()).map_err(io::Error::other)?;
        let mut by_target: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_target.entry(ordinal(&row.0, count)?).or_default().push(row);
        }
        let imports = by_target.into_iter().filter_map(|(ordinal, rows)| {
            let group = self.targets.get(ordinal as usize)?;
            Some(self.import(*group, rows))
        });
        futures_util::future::try_join_all(imports).await?;
        if runtime::since(self.reported) > REPORT_EVERY {
            self.report(false).await?;
        }
        Ok(())
    }

    async fn copy_all(&mut self) -> Result<(), Ended> {
        let mut after = None;
        loop {
            let read = RowsRead { table: self.from.table, after, of: None };
            let (answer, _) = self.mover.cluster.read(self.mover.source, GroupRead::MoveRows(read)).await?;
            let RowsPage { rows, next } = decode(&answer)?;
            self.bring(rows).await?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Copies what has changed at one look; how many items that was, [`usize::MAX`] when there are more.
    async fn copy_changed(&mut self) -> Result<usize, Ended> {
        let (ChangedPage { rows, more }, upto) = self.changed().await?;
        let count = if more { usize::MAX } else { rows.len() };
        if !rows.is_empty() {
            self.bring_changed(rows, upto).await?;
        }
        Ok(count)
    }

    /// Copies what has changed from a source where nothing changes any more. Clients wait for it.
    async fn copy_rest(&mut self) -> Result<(), Ended> {
        loop {
            let (ChangedPage { rows, more }, upto) = self.changed().await?;
            if !more {
                return self.bring(rows).await;
            }
            self.bring_changed(rows, upto).await?;
        }
    }

    async fn changed(&self) -> Result<(ChangedPage, u64), Ended> {
        let read = GroupRead::MoveChanged(ChangedRead { table: self.from.table });
        let (answer, upto) = self.mover.cluster.read(self.mover.source, read).await?;
        Ok((decode(&answer)?, upto))
    }

    async fn bring_changed(&mut self, rows: Vec<Row>, upto: u64) -> Result<(), Ended> {
        let items: Vec<Bytes> = rows.iter().map(|(key, _)| key.clone()).collect();
        self.bring(rows).await?;
        self.mover.write_source(MoveWrite::Copied { from: self.from, items, upto }).await.map(drop)
    }

    async fn report(&mut self, ready: bool) -> Result<(), Ended> {
        self.reported = runtime::now();
        let (table, id, source) = (self.from.table, self.from.id, self.mover.source);
        let command = SystemCommand::MoveProgressed { table, id, source, copied: self.copied, ready };
        self.mover.cluster.tell(command).await
    }

    async fn seal(&self) -> Result<Vec<Position>, Ended> {
        let seals = self.targets.iter().map(|group| {
            let seal = MoveWrite::Seal { from: self.from, source: self.mover.source };
            self.mover.write(*group, seal)
        });
        let sealed = futures_util::future::try_join_all(seals).await?;
        Ok(sealed.into_iter().map(|(_, position)| position).collect())
    }
}
