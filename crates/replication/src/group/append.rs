//! Appends from the leader, handed to openraft in the order of their arrival and pipelined.

use super::Silence;
use crate::raft::{Raft, RaftTypes, respond};
use crate::runtime;
use crate::transport::Reply;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Appends waiting per group; the leader keeps fewer under way.
const QUEUE: usize = 512;

/// The way in for a group's appends.
pub(crate) struct AppendQueue {
    queue: mpsc::Sender<(AppendEntriesRequest<RaftTypes>, Reply)>,
}

impl AppendQueue {
    pub(crate) fn start(raft: Raft, silence: Arc<Silence>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        runtime::spawn(pass_on(raft, silence, waiting));
        Self { queue }
    }

    /// Queues an append; a full queue refuses it, and the leader sends it again.
    pub(crate) fn push(&self, request: AppendEntriesRequest<RaftTypes>, reply: Reply) {
        if let Err(error) = self.queue.try_send((request, reply)) {
            let (_, reply) = error.into_inner();
            reply.refuse("the node has more appends than it can store");
        }
    }
}

async fn pass_on(
    raft: Raft,
    silence: Arc<Silence>,
    mut waiting: mpsc::Receiver<(AppendEntriesRequest<RaftTypes>, Reply)>,
) {
    let mut under_way = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some((result, reply)) = under_way.next() => answer(&silence, result, reply),
            next = waiting.recv() => {
                let Some((request, reply)) = next else { return };
                let raft = raft.clone();
                let mut append = async move { (raft.append_entries(request).await, reply) }.boxed();
                // The first poll puts the request into openraft's queue: polling here keeps the order.
                match (&mut append).now_or_never() {
                    Some((result, reply)) => answer(&silence, result, reply),
                    None => under_way.push_back(append),
                }
            }
        }
    }
}

type Appended<E> = Result<AppendEntriesResponse<RaftTypes>, E>;

/// Notes that a leader was heard, when its message was accepted: after openraft has noted it, so that what this node
/// counts as silence never exceeds what openraft does.
pub(crate) fn note_leader<E>(silence: &Silence, result: &Appended<E>) {
    if result.as_ref().is_ok_and(|response| !matches!(response, AppendEntriesResponse::HigherVote(_))) {
        silence.heard();
    }
}

fn answer<E: std::fmt::Display>(silence: &Silence, result: Appended<E>, reply: Reply) {
    note_leader(silence, &result);
    match respond(result) {
        Ok(payload) => reply.done(payload),
        Err(why) => reply.refuse(&why),
    }
}
