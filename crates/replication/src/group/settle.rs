//! Answers proposals in order: once they are applied and the commit rule lets them through.

use super::LeaderId;
use super::gate::Answerable;
use super::overlay::Overlay;
use super::proposer::{WriteOutcome, lock};
use crate::error::Unserved;
use crate::raft::RaftTypes;
use bytes::Bytes;
use openraft::raft::ClientWriteResult;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch};

type Answers = Vec<(oneshot::Sender<Result<WriteOutcome, Unserved>>, Bytes)>;

/// Applied entries that wait for the commit rule, per group.
const UNANSWERED: usize = 4_096;

/// A proposal under way.
pub(super) struct Unsettled {
    pub(super) sequence: u64,
    pub(super) leader: LeaderId,
    /// What was applied when the writes were evaluated: they may have read any of it.
    pub(super) floor: u64,
    /// Completes when the entry is applied; `None` when there is no entry, because nothing changes.
    pub(super) done: Option<oneshot::Receiver<ClientWriteResult<RaftTypes>>>,
    pub(super) answers: Answers,
}

struct Unanswered {
    leader: LeaderId,
    index: u64,
    answers: Answers,
}

/// Starts the two tasks: one follows application, one the commit rule. Both keep the order of proposals, so a
/// response never reveals a write that is not itself answered for.
pub(super) fn start(
    mut unsettled: mpsc::Receiver<Unsettled>,
    mut answerable: watch::Receiver<Answerable>,
    overlay: Arc<Mutex<Overlay>>,
) {
    let (pass_on, mut unanswered) = mpsc::channel::<Unanswered>(UNANSWERED);
    tokio::spawn(async move {
        let mut last = 0;
        // A leadership one of whose entries was not applied: what was evaluated on top of it must not be answered.
        let mut broken = None;
        while let Some(Unsettled { sequence, leader, floor, done, answers }) = unsettled.recv().await {
            let index = match done {
                _ if broken == Some(leader) => None,
                None => Some(last.max(floor)),
                Some(done) => match done.await {
                    Ok(Ok(written)) => Some(written.log_id.index),
                    _ => None,
                },
            };
            lock(&overlay).applied(sequence);
            let Some(index) = index else {
                broken = Some(leader);
                fail(answers);
                continue;
            };
            last = index;
            if pass_on.send(Unanswered { leader, index, answers }).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(Unanswered { leader, index, answers }) = unanswered.recv().await {
            let through = answerable
                .wait_for(|now| now.leader != Some(leader) || now.index >= index)
                .await
                .is_ok_and(|now| now.leader == Some(leader));
            if !through {
                fail(answers);
                continue;
            }
            for (answer, response) in answers {
                let _ = answer.send(Ok(WriteOutcome { response, index }));
            }
        }
    });
}

/// The entry may be in the log of the next leader: it is not known whether it takes effect.
fn fail(answers: Answers) {
    for (answer, _) in answers {
        let _ = answer.send(Err(Unserved::Unknown));
    }
}
