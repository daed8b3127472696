//! Carries out what commands ask of the tables.

use super::commands::{Job, View, check_key};
use super::config::RedisConfig;
use super::decide::{Attempt, Decide, Finished, Next, Seen, delete};
use super::error::RedisError;
use super::layout::{Live, key_item};
use super::reply::Reply;
use super::table;
use super::wave::chains;
use crate::tables::{RequestContext, Tables};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use meridian_dynamo::expr::{Path, Projection};
use meridian_dynamo::read::GetOp;
use meridian_dynamo::write::{ReturnValues, WriteOp};
use meridian_dynamo::{DynamoError, Item};
use meridian_types::Token;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// How often a decision is taken again because somebody else changed the key.
const MAX_TRIES: usize = 32;
/// Keys of one command, or chains of one pipeline, that are worked on at once.
const SIDE_BY_SIDE: usize = 64;
/// Most bytes of a reply.
pub(crate) const MAX_REPLY: usize = 16 << 20;

/// The front's state, shared by its connections.
pub(crate) struct Front {
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) config: RedisConfig,
    /// Whether the table was found usable.
    ready: AtomicBool,
    slots: Semaphore,
}

pub(crate) type Outcome = Result<Reply, RedisError>;
/// What a part of the work has brought, and the token that has grown on the way.
type Grown<T> = Result<(T, Token), RedisError>;
/// The replies of a chain by position, and its token.
type Chained = (Vec<(usize, Reply)>, Token);

impl Front {
    pub(crate) fn new(tables: Arc<dyn Tables>, config: RedisConfig) -> Self {
        let slots = Semaphore::new(config.max_commands);
        Self { tables, config, ready: AtomicBool::new(false), slots }
    }

    /// Does all of the jobs, those on one key in their order, and answers in the order of the jobs. What they have seen is added to `token`.
    pub(crate) async fn run_all(&self, jobs: Vec<Job>, token: &mut Token) -> Vec<Reply> {
        if jobs.len() == 1 {
            let mut replies = Vec::with_capacity(1);
            for job in jobs {
                replies.push(self.run(job, token).await);
            }
            return replies;
        }
        let nowhere = Bytes::new();
        let chains = chains(jobs.iter().map(|job| job.key().unwrap_or(&nowhere)));
        let count = jobs.len();
        let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
        let chains: Vec<Vec<(usize, Job)>> = chains
            .into_iter()
            .map(|chain| chain.into_iter().filter_map(|at| Some((at, jobs.get_mut(at)?.take()?))).collect())
            .collect();
        let seen = token.clone();
        let mut work: Vec<BoxFuture<'_, Chained>> = Vec::with_capacity(chains.len());
        for chain in chains {
            let mut token = seen.clone();
            work.push(Box::pin(async move {
                let mut replies = Vec::with_capacity(chain.len());
                for (at, job) in chain {
                    replies.push((at, self.run(job, &mut token).await));
                }
                (replies, token)
            }));
        }
        let mut chains = stream::iter(work).buffer_unordered(SIDE_BY_SIDE);
        let mut replies = vec![Reply::Null; count];
        while let Some((done, grown)) = chains.next().await {
            token.join(&grown);
            for (at, reply) in done {
                if let Some(place) = replies.get_mut(at) {
                    *place = reply;
                }
            }
        }
        replies
    }

    /// Does one job before its deadline.
    pub(crate) async fn run(&self, job: Job, token: &mut Token) -> Reply {
        let deadline = Instant::now() + self.config.deadline;
        let mut context = RequestContext { token: None, max_staleness: None, deadline };
        let work = async {
            // The semaphore is never closed.
            let _slot = self.slots.acquire().await;
            self.attempt(job, &mut context, token).await
        };
        match timeout_at(deadline, work).await {
            Ok(outcome) => outcome.into(),
            Err(_) => Reply::Error(RedisError::err(
                "the command ran into its deadline; if it was a write, it may or may not have happened",
            )),
        }
    }

    async fn attempt(&self, job: Job, context: &mut RequestContext, token: &mut Token) -> Outcome {
        if !self.ready.load(Ordering::Relaxed) {
            table::ensure(self.tables.as_ref(), &self.config, context).await?;
            self.ready.store(true, Ordering::Relaxed);
        }
        if !token.is_empty() {
            context.token = Some(token.clone());
        }
        let outcome = match job {
            Job::Read { key, places, view } => self.read(&key, places, view, context, token).await,
            Job::ReadAll { keys, view } => {
                let items = self.read_all(&keys, context, token).await?;
                let now = self.config.now();
                view(items.iter().map(|item| Live::of(item.as_ref(), now)).collect())
            }
            Job::Write { key, decide } => self.write(&key, &decide, context, token).await,
            Job::WriteAll { writes, join } => self.write_all(writes, context, token).await.map(join),
            Job::List(listing) => self.list(&listing, context, token).await,
            // A session answers those itself.
            Job::Session => Err(RedisError::Syntax),
        };
        if outcome == Err(RedisError::err(crate::tables::item_table_not_found())) {
            // Deleted behind our back: the next command makes it again.
            self.ready.store(false, Ordering::Relaxed);
            return Err(RedisError::TryAgain(format!("the table {} is not there", self.config.table)));
        }
        outcome
    }

    async fn read(
        &self,
        key: &Bytes,
        places: Vec<Path>,
        view: View,
        context: &RequestContext,
        token: &mut Token,
    ) -> Outcome {
        let item = self.get(key, places, context, token).await?;
        view(Live::of(item.as_ref(), self.config.now()))
    }

    async fn get(
        &self,
        key: &Bytes,
        places: Vec<Path>,
        context: &RequestContext,
        token: &mut Token,
    ) -> Result<Option<Item>, RedisError> {
        check_key(key)?;
        let projection = (!places.is_empty()).then(|| Projection::new(places));
        let op =
            GetOp { table: self.config.table.clone(), key: key_item(key), consistent: false, projection };
        let reply = self.tables.get(context, op).await?;
        token.join(&reply.token);
        Ok(reply.value.item)
    }

    async fn read_all(
        &self,
        keys: &[Bytes],
        context: &RequestContext,
        token: &mut Token,
    ) -> Result<Vec<Option<Item>>, RedisError> {
        let seen = token.clone();
        let mut work: Vec<BoxFuture<'_, Grown<Option<Item>>>> = Vec::with_capacity(keys.len());
        for key in keys {
            let mut token = seen.clone();
            work.push(Box::pin(
                async move { Ok((self.get(key, Vec::new(), context, &mut token).await?, token)) },
            ));
        }
        let mut reads = stream::iter(work).buffered(SIDE_BY_SIDE);
        let (mut items, mut room) = (Vec::with_capacity(keys.len()), MAX_REPLY);
        while let Some(read) = reads.next().await {
            let (item, grown) = read?;
            token.join(&grown);
            room = item
                .as_ref()
                .map_or(Some(room), |item| room.checked_sub(meridian_dynamo::size::item_size(item)))
                .ok_or_else(too_much)?;
            items.push(item);
        }
        Ok(items)
    }

    async fn write_all(
        &self,
        writes: Vec<(Bytes, Decide)>,
        context: &RequestContext,
        token: &mut Token,
    ) -> Result<Vec<Reply>, RedisError> {
        let seen = token.clone();
        let (keys, decisions): (Vec<Bytes>, Vec<Decide>) = writes.into_iter().unzip();
        keys.iter().try_for_each(check_key)?;
        let (names, decisions) = (&keys, &decisions);
        let mut work: Vec<BoxFuture<'_, Grown<Vec<Reply>>>> = Vec::new();
        for chain in chains(names.iter()) {
            let mut token = seen.clone();
            work.push(Box::pin(async move {
                let mut replies = Vec::with_capacity(chain.len());
                for at in chain {
                    if let (Some(key), Some(decide)) = (names.get(at), decisions.get(at)) {
                        replies.push(self.write(key, decide, context, &mut token).await?);
                    }
                }
                Ok((replies, token))
            }));
        }
        let mut chains = stream::iter(work).buffer_unordered(SIDE_BY_SIDE);
        let (mut replies, mut failed) = (Vec::with_capacity(keys.len()), None);
        // All are done, whichever fails.
        while let Some(done) = chains.next().await {
            match done {
                Ok((done, grown)) => {
                    token.join(&grown);
                    replies.extend(done);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => Ok(replies),
            Some(error) if keys.len() == 1 => Err(error),
            Some(error) => Err(RedisError::Other(format!("{error} (the other keys were written)"))),
        }
    }

    async fn write(
        &self,
        key: &Bytes,
        decide: &Decide,
        context: &RequestContext,
        token: &mut Token,
    ) -> Outcome {
        check_key(key)?;
        let mut seen = Seen::Unknown;
        for _ in 0..MAX_TRIES {
            let attempt = match decide(&seen, self.config.now()) {
                Next::Answer(outcome) => return outcome,
                Next::Read => {
                    seen = Seen::Item(self.get(key, Vec::new(), context, token).await?);
                    continue;
                }
                Next::Write(attempt) => attempt,
            };
            let (op, finish) = self.op(*attempt);
            let written = match self.tables.write(context, op).await {
                Ok(reply) => reply,
                Err(DynamoError::ConditionalCheckFailed { item }) => {
                    seen = Seen::Item(item);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            token.join(&written.token);
            match finish(written.value.attributes.as_ref()) {
                Finished::Done(outcome) => return outcome,
                Finished::Again => seen = Seen::Unknown,
                Finished::Emptied(reply, condition) => {
                    let (op, _) = self.op(delete(key, condition));
                    match self.tables.write(context, op).await {
                        Ok(gone) => token.join(&gone.token),
                        // It has members again; or it goes on as an empty one, which is none.
                        Err(error) => tracing::debug!(%error, "an emptied key stays"),
                    }
                    return Ok(reply);
                }
            }
        }
        Err(RedisError::TryAgain("too many others are writing this key at the same time".to_owned()))
    }

    fn op(&self, attempt: Attempt) -> (WriteOp, impl FnOnce(Option<&Item>) -> Finished) {
        let Attempt { kind, condition, returns, finish } = attempt;
        let return_on_failure = condition.is_some();
        let return_values: ReturnValues = returns;
        (
            WriteOp { table: self.config.table.clone(), kind, condition, return_values, return_on_failure },
            finish,
        )
    }
}

/// The refusal of a reply that would be too large.
pub(crate) fn too_much() -> RedisError {
    RedisError::err(format_args!(
        "the reply would be larger than {} MB; ask for fewer keys at once",
        MAX_REPLY >> 20
    ))
}
