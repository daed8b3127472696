//! Evaluates DynamoDB operations against a group's state, on the leader for writes, on the serving replica for reads.

use super::catalog::{CatalogTable, Catalogs};
use super::keys;
use super::moving::{self, ChangedRead, MoveWrite, Place, RowsRead};
use super::salvage::{self, Look, SalvageWrite};
use bytes::Bytes;
use meridian_api::tables::item_table_not_found;
use meridian_dynamo::codec::{decode_item, encode_item};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, PageBuilder, QueryOp, ScanOp};
use meridian_dynamo::table::TableDescription;
use meridian_dynamo::value::Item;
use meridian_dynamo::write::{After, WriteOp, WriteOutcome, evaluate};
use meridian_replication::{Evaluation, Evaluator, Mutation, View};
use meridian_types::TableName;
use meridian_types::hash::partition_hash;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;

/// A read as it travels to its group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum GroupRead<'a> {
    Get(Place, Cow<'a, GetOp>),
    Query(Place, Cow<'a, QueryOp>),
    Scan(Place, GroupScan),
    Salvage(Vec<Look>),
    MoveRows(RowsRead),
    MoveChanged(ChangedRead),
}

/// A write as it travels to its group.
#[expect(clippy::large_enum_variant, reason = "made or decoded one at a time, and used up at once")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum GroupWrite<'a> {
    Item(Place, Cow<'a, WriteOp>),
    Salvage(SalvageWrite),
    Move(MoveWrite),
}

/// The part of a scan that falls to one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GroupScan {
    pub(super) op: ScanOp,
    /// Whether `op.start_after` lies in this group; the groups after it are read from their start.
    pub(super) resume: bool,
    /// What the page has already looked at in other groups: items and bytes.
    pub(super) seen: (u32, u64),
}

/// What a group adds to a scan's page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ScanPart {
    pub(super) page: Page,
    /// Key of the last item looked at, whether or not it passed the filter.
    pub(super) last: Option<Item>,
    pub(super) full: bool,
}

/// What a group answers to a request for a table's items; `None`: it serves the table no more, another group does or is about to.
pub(super) type Answer<T> = Option<Result<T, DynamoError>>;
pub(super) type WriteAnswer = Answer<WriteOutcome>;
pub(super) type GetAnswer = Answer<GetOutcome>;
pub(super) type PageAnswer = Answer<Page>;
pub(super) type ScanAnswer = Answer<ScanPart>;

/// Encodes what travels between nodes.
pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_stdvec(value).map(Bytes::from).map_err(io::Error::other)
}

/// Decodes what [`encode`] made.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// [`Evaluator`] for DynamoDB operations.
#[derive(Debug)]
pub struct DynamoEvaluator {
    catalogs: Arc<Catalogs>,
}

impl DynamoEvaluator {
    /// Looks tables up in `catalogs`.
    #[must_use]
    pub fn new(catalogs: Arc<Catalogs>) -> Self {
        Self { catalogs }
    }

    fn table(&self, name: &TableName) -> Result<CatalogTable, DynamoError> {
        use meridian_dynamo::table::TableStatus::Deleting;
        let catalog = self.catalogs.newest();
        let table = catalog.table(name).filter(|table| table.description.status != Deleting);
        table.cloned().ok_or_else(item_table_not_found)
    }

    fn evaluate_write(
        &self,
        place: Place,
        op: &WriteOp,
        view: &dyn View,
    ) -> io::Result<(Vec<Mutation>, WriteAnswer)> {
        let table = match self.table(&op.table) {
            Ok(table) => table.description,
            Err(error) => return Ok((Vec::new(), Some(Err(error)))),
        };
        let schema = &table.definition.schema;
        let key = match op.key(schema) {
            Ok(key) => keys::item(table.id, partition_hash(table.id, &key.partition), &key),
            Err(error) => return Ok((Vec::new(), Some(Err(error)))),
        };
        let current = view.get(&key)?.map(|stored| item(&stored)).transpose()?;
        let (mutations, answer) = match evaluate(schema, current.as_ref(), op) {
            Ok(evaluated) => {
                let value = match evaluated.after {
                    After::Unchanged => None,
                    After::Put(item) => Some(Some(Bytes::from(encode_item(&item)))),
                    After::Delete => Some(None),
                };
                let mutations = value.map(|value| Mutation { key, value }).into_iter().collect();
                (mutations, Ok(evaluated.outcome))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        Ok(match moving::capture(view, place, mutations)? {
            Some(mutations) => (mutations, Some(answer)),
            None => (Vec::new(), None),
        })
    }

    fn get(&self, place: Place, op: &GetOp, view: &dyn View) -> io::Result<GetAnswer> {
        let found = self.table(&op.table).and_then(|table| {
            let key = op.key(&table.description.definition.schema)?;
            let id = table.description.id;
            Ok(keys::item(id, partition_hash(id, &key.partition), &key))
        });
        let key = match found {
            Ok(key) => key,
            Err(error) => return Ok(Some(Err(error))),
        };
        if moving::has_moved(view, place)? {
            return Ok(None);
        }
        let stored = view.get(&key)?.map(|stored| item(&stored)).transpose()?;
        Ok(Some(Ok(op.answer(stored))))
    }

    fn query(&self, place: Place, op: &QueryOp, view: &dyn View) -> io::Result<PageAnswer> {
        let located = self.table(&op.table).and_then(|table| {
            let range = keys::query_range(&table.description, op)?;
            Ok((table.description, range))
        });
        let (table, (start, end)) = match located {
            Ok(located) => located,
            Err(error) => return Ok(Some(Err(error))),
        };
        if moving::has_moved(view, place)? {
            return Ok(None);
        }
        let mut page = PageBuilder::new(&table.definition.schema, &op.shape);
        fill(view, (&start, &end), !op.forward, |item| page.push(item).is_continue())?;
        Ok(Some(Ok(page.finish())))
    }

    fn scan(&self, place: Place, scan: &GroupScan, view: &dyn View) -> io::Result<ScanAnswer> {
        let located = self.table(&scan.op.table).and_then(|table| {
            let id = table.description.id;
            let position = scan.op.start(&table.description.definition.schema, id)?;
            let range = keys::scan_range(id, scan.op.segment, position.as_ref().filter(|_| scan.resume));
            Ok((table.description, range))
        });
        match located {
            Ok(_) if moving::has_moved(view, place)? => Ok(None),
            Ok((table, range)) => scan_part(&table, scan, range, view).map(|part| Some(Ok(part))),
            Err(error) => Ok(Some(Err(error))),
        }
    }
}

fn scan_part(
    table: &TableDescription,
    scan: &GroupScan,
    (start, end): (Bytes, Bytes),
    view: &dyn View,
) -> io::Result<ScanPart> {
    let (items, bytes) = scan.seen;
    let mut page = PageBuilder::new(&table.definition.schema, &scan.op.shape).after(items, bytes);
    fill(view, (&start, &end), false, |item| page.push(item).is_continue())?;
    let full = page.is_full();
    let (page, last) = page.finish_part();
    Ok(ScanPart { page, last, full })
}

/// Gives the items of a range to `push` until it has enough.
fn fill(
    view: &dyn View,
    (start, end): (&[u8], &[u8]),
    reverse: bool,
    mut push: impl FnMut(Item) -> bool,
) -> io::Result<()> {
    let mut damaged = None;
    view.scan(start, end, reverse, &mut |_, stored| match item(stored) {
        Ok(item) => push(item),
        Err(error) => {
            damaged = Some(error);
            false
        }
    })?;
    damaged.map_or(Ok(()), Err)
}

fn item(stored: &[u8]) -> io::Result<Item> {
    decode_item(stored).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Evaluator for DynamoEvaluator {
    fn write(&self, request: &[u8], view: &dyn View) -> io::Result<Evaluation> {
        match decode(request)? {
            GroupWrite::Item(place, op) => {
                let (mutations, answer) = self.evaluate_write(place, &op, view)?;
                Ok(Evaluation { mutations, response: encode(&answer)? })
            }
            GroupWrite::Salvage(write) => salvage::evaluate(&write, view),
            GroupWrite::Move(write) => moving::evaluate(&write, view),
        }
    }

    fn read(&self, request: &[u8], view: &dyn View) -> io::Result<Bytes> {
        match decode(request)? {
            GroupRead::Get(place, op) => encode(&self.get(place, &op, view)?),
            GroupRead::Query(place, op) => encode(&self.query(place, &op, view)?),
            GroupRead::Scan(place, scan) => encode(&self.scan(place, &scan, view)?),
            GroupRead::Salvage(looks) => salvage::look(&looks, view),
            GroupRead::MoveRows(read) => moving::rows(&read, view),
            GroupRead::MoveChanged(read) => moving::changed(&read, view),
        }
    }
}
