//! Answers proposals in order: once they are applied and the commit rule lets them through.

use super::gate::Answerable;
use super::overlay::Overlay;
use super::proposer::{WriteOutcome, lock};
use super::{Fence, Session};
use crate::error::Unserved;
use crate::raft::{Applied, RaftTypes};
use crate::runtime::{self, Mistake, errs, mark, watch};
use bytes::Bytes;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

type Answers = Vec<(oneshot::Sender<Result<WriteOutcome, Unserved>>, Bytes)>;

/// Applied entries that wait for the commit rule, per group.
const UNANSWERED: usize = 4_096;

/// A proposal under way.
pub(super) struct Unsettled {
    pub(super) sequence: u64,
    pub(super) session: Session,
    /// What is pending in the session.
    pub(super) overlay: Arc<Mutex<Overlay>>,
    /// What was applied when the writes were evaluated: they may have read any of it.
    pub(super) floor: u64,
    /// Completes when the entry is applied; `None` when there is no entry, because nothing changes.
    pub(super) done: Option<oneshot::Receiver<ClientWriteResult<RaftTypes>>>,
    pub(super) answers: Answers,
}

struct Unanswered {
    session: Session,
    index: u64,
    entry: bool,
    answers: Answers,
}

/// Starts the two tasks: one follows application, one the commit rule. Both keep the order of proposals, so a
/// response never reveals a write that is not itself answered for. Tells `broken` of a session one of whose proposals
/// did not take effect.
pub(super) fn start(
    mut unsettled: mpsc::Receiver<Unsettled>,
    mut answerable: watch::Receiver<Answerable>,
    fence: Fence,
    broken: watch::Sender<Option<Session>>,
) {
    let (pass_on, mut unanswered) = mpsc::channel::<Unanswered>(UNANSWERED);
    runtime::spawn(async move {
        let mut last = 0;
        while let Some(Unsettled { sequence, session, overlay, floor, done, answers }) =
            unsettled.recv().await
        {
            let entry = done.is_some();
            let was_broken = *broken.borrow() == Some(session);
            let settled = match done {
                // Evaluated on top of a proposal without effect, and changes nothing itself.
                None if was_broken => Err(Unserved::NotLeader),
                None => Ok(last.max(floor)),
                Some(done) => outcome(done.await.ok()),
            };
            lock(&overlay).applied(sequence);
            match settled {
                Ok(index) => {
                    last = index;
                    if pass_on.send(Unanswered { session, index, entry, answers }).await.is_err() {
                        return;
                    }
                }
                Err(why) => {
                    broken.send_replace(Some(session));
                    fail(answers, &why);
                }
            }
        }
    });
    runtime::spawn(async move {
        while let Some(Unanswered { session, index, entry, answers }) = unanswered.recv().await {
            let through = answerable
                .wait_for(|now| {
                    let through = now.index >= index || errs(Mistake::AcknowledgeBeforeGate);
                    now.leader != Some(session.leader) || through
                })
                .await
                .is_ok_and(|now| now.leader == Some(session.leader));
            // Last: from here on the answer is as good as given.
            if !through || !fence.passed().await {
                mark("an applied write was not answered, because leadership was lost at the gate");
                // It is applied here, but what the policy promises is not known.
                fail(answers, &Unserved::Unknown);
                continue;
            }
            for (answer, response) in answers {
                let _ = answer.send(Ok(WriteOutcome { response, index, entry }));
            }
        }
    });
}

/// What became of a proposal: the index of its entry, or what its client is told. `None`: openraft said nothing.
fn outcome(done: Option<ClientWriteResult<RaftTypes>>) -> Result<u64, Unserved> {
    match done {
        Some(Ok(written)) if *written.response() == Applied::Skipped => {
            mark("a write was skipped, because one that it was evaluated on never came into the log");
            Err(Unserved::NotLeader)
        }
        Some(Ok(written)) => Ok(written.log_id.index),
        // openraft did not take it into the log.
        Some(Err(ClientWriteError::ForwardToLeader(_))) => Err(Unserved::NotLeader),
        // The entry may be in the log of the next leader.
        Some(Err(_)) | None => Err(Unserved::Unknown),
    }
}

fn fail(answers: Answers, why: &Unserved) {
    for (answer, _) in answers {
        let _ = answer.send(Err(why.clone()));
    }
}
