//! Appends from the leader, handed to openraft in the order of their arrival and pipelined.

use super::Promise;
use crate::raft::{Raft, RaftTypes, respond};
use crate::runtime;
use crate::transport::Reply;
use bytes::Bytes;
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
    pub(crate) fn start(raft: Raft, promise: Arc<Promise>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        runtime::spawn(pass_on(raft, promise, waiting));
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
    promise: Arc<Promise>,
    mut waiting: mpsc::Receiver<(AppendEntriesRequest<RaftTypes>, Reply)>,
) {
    let mut under_way = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some((answer, reply)) = under_way.next() => send(answer, reply),
            next = waiting.recv() => {
                let Some((request, reply)) = next else { return };
                let raft = raft.clone();
                let promise = Arc::clone(&promise);
                let mut append = async move { (accept(&raft, &promise, request).await, reply) }.boxed();
                // The first poll puts the request into openraft's queue: polling here keeps the order.
                match (&mut append).now_or_never() {
                    Some((answer, reply)) => send(answer, reply),
                    None => under_way.push_back(append),
                }
            }
        }
    }
}

/// Has openraft take a leader's message, and grants the lease that goes with it: the encoded answer.
///
/// # Errors
/// Why the leader must not count the message as arrived.
pub(crate) async fn accept(
    raft: &Raft,
    promise: &Promise,
    request: AppendEntriesRequest<RaftTypes>,
) -> Result<Bytes, String> {
    let term = request.vote.leader_id().term;
    let result = raft.append_entries(request).await;
    let accepted =
        result.as_ref().is_ok_and(|response| !matches!(response, AppendEntriesResponse::HigherVote(_)));
    if accepted && !promise.renew(term) {
        return Err("this node is voting".to_owned());
    }
    respond(result)
}

fn send(answer: Result<Bytes, String>, reply: Reply) {
    match answer {
        Ok(payload) => reply.done(payload),
        Err(why) => reply.refuse(&why),
    }
}
