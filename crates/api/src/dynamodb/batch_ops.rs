//! BatchGetItem and BatchWriteItem: single operations, a bounded number at once, with what was not done handed back.

use super::dispatch::{Answer, Call, Operation};
use crate::tables::{Reply, ServedBy, Staleness};
use futures_util::stream::{self, StreamExt as _};
use meridian_dynamo::capacity::Units;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::ItemKey;
use meridian_dynamo::request::{batch_get, batch_write};
use meridian_dynamo::response::{self, TableRead};
use meridian_dynamo::write::WriteOp;
use meridian_types::{TableName, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Single operations of one batch that are under way at once.
const AT_ONCE: usize = 16;
/// Bytes of items that one BatchGetItem answers; the other keys are handed back.
const MAX_ANSWER: u64 = 16 << 20;

/// What the parts of a batch have in common.
#[derive(Default)]
struct Joined {
    token: Token,
    served_by: Option<ServedBy>,
    staleness: Option<Staleness>,
}

impl Joined {
    fn add<T>(&mut self, reply: Reply<T>) -> T {
        self.token.join(&reply.token);
        self.served_by = Some(reply.served_by);
        if self.staleness != Some(Staleness::Local) {
            self.staleness = Some(reply.staleness);
        }
        reply.value
    }

    fn answer(self, body: Vec<u8>, read: bool) -> Answer {
        let staleness = if read { self.staleness } else { None };
        Answer { body, token: Some(self.token), served_by: self.served_by, staleness, conflicts: Vec::new() }
    }
}

impl Call<'_> {
    pub(super) async fn batch_get_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let batch = batch_get::parse(body)?;
        for table in &batch.tables {
            self.authorize(Operation::BatchGetItem, Some(&table.name))?;
        }
        let mut ops = Vec::new();
        for (index, table) in batch.tables.iter().enumerate() {
            let description = self.table(&table.name).await?;
            for (place, op) in table.ops().enumerate() {
                op.key(&description.definition.schema)?;
                ops.push((index, place, op));
            }
        }
        let mut joined = Joined::default();
        let mut reads: Vec<TableRead> = batch.tables.iter().map(|_| TableRead::default()).collect();
        let mut answered = 0u64;
        let mut failure = None;
        let mut done = 0usize;
        let total = ops.len();
        let mut replies = stream::iter(ops)
            .map(|(index, place, op)| async move {
                let consistent = op.consistent;
                (index, place, consistent, self.tables.get(self.context, op).await)
            })
            .buffered(AT_ONCE);
        while let Some((index, place, consistent, reply)) = replies.next().await {
            let read = &mut reads[index];
            match reply {
                Ok(reply) => {
                    let outcome = joined.add(reply);
                    let size = u64::from(outcome.size);
                    if answered + size > MAX_ANSWER {
                        read.unprocessed.push(place);
                        continue;
                    }
                    answered += size;
                    done += 1;
                    read.units = read.units.plus(Units::read(size, consistent));
                    read.items.extend(outcome.item);
                }
                Err(error) if error.retryable() => {
                    read.unprocessed.push(place);
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        drop(replies);
        // Handing everything back would hide from the client why nothing was done.
        if let (0, 1.., Some(error)) = (done, total, failure) {
            return Err(error);
        }
        Ok(joined.answer(response::batch_get(&batch, &reads), true))
    }

    pub(super) async fn batch_write_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let batch = batch_write::parse(body)?;
        for table in &batch.tables {
            self.authorize(Operation::BatchWriteItem, Some(&table.name))?;
        }
        let mut ops = Vec::new();
        let mut seen: BTreeSet<(TableName, ItemKey)> = BTreeSet::new();
        for (index, table) in batch.tables.iter().enumerate() {
            let description = self.table(&table.name).await?;
            for (place, op) in table.ops().enumerate() {
                let key = op.batch_key(&description.definition.schema)?;
                if !seen.insert((table.name.clone(), key)) {
                    return Err(DynamoError::validation(batch_get::DUPLICATE_KEYS));
                }
                ops.push((index, place, op));
            }
        }
        let mut joined = Joined::default();
        let mut units: BTreeMap<usize, Units> = BTreeMap::new();
        let mut unprocessed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut failure = None;
        let mut done = 0usize;
        let mut replies = stream::iter(ops)
            .map(|(index, place, op): (usize, usize, WriteOp)| async move {
                (index, place, self.tables.write(self.context, op).await)
            })
            .buffered(AT_ONCE);
        while let Some((index, place, reply)) = replies.next().await {
            match reply {
                Ok(reply) => {
                    let outcome = joined.add(reply);
                    done += 1;
                    let total = units.entry(index).or_default();
                    *total = total.plus(Units::write(outcome.capacity_bytes()));
                }
                // A put or delete that may have happened can be sent again: the batch has no conditions.
                Err(error) if error.retryable() => {
                    unprocessed.entry(index).or_default().push(place);
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        drop(replies);
        if let (0, Some(error)) = (done, failure) {
            return Err(error);
        }
        Ok(joined.answer(response::batch_write(&batch, &units, &unprocessed), false))
    }
}
