//! Reads: consistent ones under the lease and behind the answerable index, others from the replica's own state.

use super::{Group, Replicas, Session};
use crate::error::Unserved;
use crate::evaluate::{Neighbour, View, WallClock};
use crate::raft::MachineView;
use crate::runtime::{self, Mistake, errs, mark};
use bytes::Bytes;
use meridian_types::GroupId;
use std::cell::Cell;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Between looks whether a majority has answered; a lease is rarely out, so nothing is woken for it.
const CONFIRM_POLL: Duration = Duration::from_millis(5);

/// A read's response, and the index whose state it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadOutcome {
    pub(crate) response: Bytes,
    pub(crate) index: u64,
}

/// The applied state; notes the newest index that a read has touched.
struct ReadView<'a> {
    group: GroupId,
    view: &'a MachineView,
    replicas: &'a Replicas,
    newest: Cell<u64>,
}

impl View for ReadView<'_> {
    fn group(&self) -> GroupId {
        self.group
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let stored = self.view.get(key)?;
        Ok(stored.map(|stored| {
            self.newest.set(self.newest.get().max(stored.index));
            stored.bytes
        }))
    }

    fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
        let changed = self.view.changed_at(key)?;
        self.newest.set(self.newest.get().max(changed));
        Ok(changed)
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
    ) -> io::Result<()> {
        for found in self.view.scan(start, end, reverse)? {
            let (key, stored) = found?;
            self.newest.set(self.newest.get().max(stored.index));
            if !row(&key, &stored.bytes) {
                break;
            }
        }
        Ok(())
    }

    fn neighbour(&self, group: GroupId) -> Option<Neighbour<'_>> {
        self.replicas.neighbour(group)
    }

    fn clock(&self) -> WallClock {
        self.replicas.clock()
    }
}

impl Group {
    /// Reads the latest state that is answered for. Linearizable with every write of the group.
    ///
    /// # Errors
    /// [`Unserved::NotLeader`] when this node does not lead, or its lease has ended and no majority renewed it.
    pub(crate) async fn read_consistent(
        &self,
        request: &[u8],
        deadline: Instant,
    ) -> Result<ReadOutcome, Unserved> {
        let session = self.session().ok_or(Unserved::NotLeader)?;
        let careless = errs(Mistake::ReadWithoutLease);
        if self.lease().is_none() && !careless {
            mark("a consistent read had to renew the lease first");
            self.confirm(runtime::now(), deadline).await?;
        }
        let (outcome, newest) = self.evaluate_read(request)?;
        // Nobody is shown what a failure that the policy promises to survive could take back. Deletions leave no
        // index behind, so the newest one counts for every key.
        let must_hold = newest.max(self.view.last_delete());
        if self.answerable() < must_hold {
            mark("a consistent read waited for the commit rule");
            let mut answerable = self.answerable.clone();
            let passed =
                answerable.wait_for(|now| now.leader != Some(session.leader) || now.index >= must_hold);
            runtime::timeout_at(deadline, passed)
                .await
                .map_err(|_| Unserved::NoLeader)?
                .map_err(|_| Unserved::NotLeader)?;
        }
        // This process may have been paused since the lease was checked: only a lease that still holds now, under
        // the same leadership, proves that nobody else could have answered in between.
        if careless || self.session() == Some(session) && self.lease().is_some() {
            Ok(outcome)
        } else {
            mark("a consistent read was refused after it was evaluated");
            Err(Unserved::NotLeader)
        }
    }

    /// Proves that until now nobody else could have led since `session` began.
    pub(crate) async fn prove_leadership(&self, session: Session) -> Result<(), Unserved> {
        if errs(Mistake::ReadWithoutLease) {
            return Ok(());
        }
        if self.lease().is_none() {
            mark("a write that changes nothing had to renew the lease first");
            let now = runtime::now();
            self.confirm(now, now + self.timing.lease).await?;
        }
        if self.session() == Some(session) { Ok(()) } else { Err(Unserved::NotLeader) }
    }

    /// Waits until a majority has answered, under this leadership, something that was sent at `since` or later: nobody
    /// else was elected before `since`.
    pub(crate) async fn confirm(&self, since: Instant, deadline: Instant) -> Result<(), Unserved> {
        let deadline = deadline.min(since + self.timing.lease);
        let confirmed = || self.majority_sent().is_some_and(|sent| sent >= since);
        self.raft.trigger().heartbeat().await.map_err(|_| Unserved::NotLeader)?;
        while !confirmed() {
            if self.session().is_none() || runtime::now() >= deadline {
                mark("a consistent read was refused for want of a lease");
                return Err(Unserved::NotLeader);
            }
            runtime::sleep(CONFIRM_POLL).await;
        }
        Ok(())
    }

    /// Reads this replica's own applied state, which may be behind.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) fn read_local(&self, request: &[u8]) -> Result<ReadOutcome, Unserved> {
        self.evaluate_read(request).map(|(outcome, _)| outcome)
    }

    fn evaluate_read(&self, request: &[u8]) -> Result<(ReadOutcome, u64), Unserved> {
        // Before the read: what it sees is at least this new.
        let index = self.view.applied();
        let view =
            ReadView { group: self.id, view: &self.view, replicas: &self.replicas, newest: Cell::new(0) };
        let response = self.evaluator.read(request, &view)?;
        let newest = view.newest.get();
        Ok((ReadOutcome { response, index: index.max(newest) }, newest))
    }

    /// Waits until this replica has applied `index`; whether it has, by the deadline.
    pub(crate) async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.view.watch_applied();
        let reached = applied.wait_for(|&now| now >= index);
        runtime::timeout_at(deadline, reached).await.is_ok_and(|reached| reached.is_ok())
    }
}
