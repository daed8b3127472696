//! Evaluates DynamoDB operations against a group's state, on the leader for writes, on the serving replica for reads.

use super::active::{self, ActiveRead, ActiveWrite, Guard, Origins, Seen};
use super::catalog::{Catalog, CatalogTable, Catalogs};
use super::keys;
use super::moving::{self, ChangedRead, MoveWrite, Place, RowsRead};
use super::salvage::{self, Look, SalvageWrite};
use bytes::Bytes;
use meridian_api::tables::item_table_not_found;
use meridian_dynamo::codec::{decode_item, encode_item};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::{ItemKey, TableSchema};
use meridian_dynamo::read::{GetOp, Page, PageBuilder, QueryOp, ScanOp};
use meridian_dynamo::value::Item;
use meridian_dynamo::write::{After, WriteOp, WriteOutcome, evaluate};
use meridian_replication::runtime::mark;
use meridian_replication::{Evaluation, Evaluator, Mutation, View, table_of};
use meridian_types::hash::partition_hash;
use meridian_types::{TableId, TableName};
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
    Active(ActiveRead),
}

/// A write as it travels to its group.
#[expect(clippy::large_enum_variant, reason = "made or decoded one at a time, and used up at once")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum GroupWrite<'a> {
    Item(Place, Cow<'a, WriteOp>),
    Salvage(SalvageWrite),
    Move(MoveWrite),
    Active(ActiveWrite),
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
type WriteAnswer = Answer<WriteOutcome>;

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
    guard: Guard,
}

impl DynamoEvaluator {
    /// Looks tables up in `catalogs`; where the later write wins, clocks are held to `guard`.
    #[must_use]
    pub fn new(catalogs: Arc<Catalogs>, guard: Guard) -> Self {
        Self { catalogs, guard }
    }

    fn write_item(&self, place: Place, op: &WriteOp, view: &dyn View) -> io::Result<Evaluation> {
        let catalog = self.catalogs.newest();
        let located = usable(&catalog, &op.table).and_then(|table| {
            let key = key_in(table, &op.key(&table.description.definition.schema)?);
            Ok((table, key))
        });
        let (mutations, seen, answer) = match located {
            Ok((table, key)) => {
                let schema = &table.description.definition.schema;
                match Origins::of(&catalog, table, view.group())? {
                    Some(origins) => {
                        let done = active::write(&origins, schema, op, key, view, self.guard)?;
                        (done.0, done.1, Some(done.2))
                    }
                    None if table.has_moved_since(place) => (Vec::new(), Seen::default(), None),
                    None => write_one(schema, op, key, place, view)?,
                }
            }
            Err(error) => (Vec::new(), Seen::default(), Some(Err(error))),
        };
        Ok(Evaluation { mutations, response: respond(&catalog, view, &seen, &answer)? })
    }

    /// Answers a read of a table: `one` of a group that has the items to itself, `merged` of one among several origins.
    fn read_table<T: Serialize, P>(
        &self,
        (name, place): (&TableName, Place),
        view: &dyn View,
        locate: impl FnOnce(&CatalogTable) -> Result<P, DynamoError>,
        one: impl FnOnce(&CatalogTable, &P) -> io::Result<T>,
        merged: impl FnOnce(&CatalogTable, &P, &Origins<'_>) -> io::Result<(Seen, T)>,
    ) -> io::Result<Bytes> {
        let catalog = self.catalogs.newest();
        let located = usable(&catalog, name).and_then(|table| Ok((table, locate(table)?)));
        let (seen, answer) = match located {
            Err(error) => (Seen::default(), Some(Err(error))),
            Ok((table, at)) => match Origins::of(&catalog, table, view.group())? {
                Some(origins) => {
                    let (seen, answer) = merged(table, &at, &origins)?;
                    (seen, Some(Ok(answer)))
                }
                None if table.has_moved_since(place) || moving::has_moved(view, place)? => {
                    mark("a read came to a group that its table leaves or has left");
                    (Seen::default(), None)
                }
                None => (Seen::default(), Some(Ok(one(table, &at)?))),
            },
        };
        respond(&catalog, view, &seen, &answer)
    }

    fn get(&self, place: Place, op: &GetOp, view: &dyn View) -> io::Result<Bytes> {
        self.read_table(
            (&op.table, place),
            view,
            |table| Ok(key_in(table, &op.key(&table.description.definition.schema)?)),
            |_, key| Ok(op.answer(view.get(key)?.map(|stored| item(&stored)).transpose()?)),
            |_, key, origins| active::get(origins, op, key, view),
        )
    }

    fn query(&self, place: Place, op: &QueryOp, view: &dyn View) -> io::Result<Bytes> {
        let reverse = !op.forward;
        self.read_table(
            (&op.table, place),
            view,
            |table| keys::query_range(&table.description, op),
            |table, (start, end)| {
                let mut page = PageBuilder::new(&table.description.definition.schema, &op.shape);
                fill(view, (start, end), reverse, |item| page.push(item).is_continue())?;
                Ok(page.finish())
            },
            |table, (start, end), origins| {
                active::query(origins, (&table.description, &op.shape), (start, end), reverse, view)
            },
        )
    }

    fn scan(&self, place: Place, scan: &GroupScan, view: &dyn View) -> io::Result<Bytes> {
        self.read_table(
            (&scan.op.table, place),
            view,
            |table| {
                let id = table.description.id;
                let position = scan.op.start(&table.description.definition.schema, id)?;
                Ok(keys::scan_range(id, scan.op.segment, position.as_ref().filter(|_| scan.resume)))
            },
            |table, (start, end)| {
                let mut page = part(table, scan);
                fill(view, (start, end), false, |item| page.push(item).is_continue())?;
                Ok(finish(page))
            },
            |table, (start, end), origins| {
                let mut page = part(table, scan);
                let push = |item| page.push(item).is_continue();
                let seen = active::scan(origins, &scan.op.shape, (start, end), view, push)?;
                Ok((seen, finish(page)))
            },
        )
    }

    /// Evaluates a decision on salvage, of a table that may be active-active.
    fn salvage(&self, write: &SalvageWrite, view: &dyn View) -> io::Result<Evaluation> {
        let catalog = self.catalogs.newest();
        let id = table_of(&write.look.key);
        let table = catalog.tables().find(|(_, table)| Some(table.description.id) == id);
        let origins = table.map(|(_, table)| Origins::of(&catalog, table, view.group())).transpose()?;
        salvage::evaluate(write, view, |value, force| match (table, origins.flatten()) {
            (Some((name, table)), Some(origins)) => {
                let schema = &table.description.definition.schema;
                let (of, item) = ((&origins, schema, name), (&write.look.key, value));
                let restored = active::restore(of, item, force, view, self.guard)?;
                Ok(restored.ok_or(salvage::Decided::Changed))
            }
            _ => salvage::apply_plain(write, (value, force), view),
        })
    }

    /// The origins of an active-active table beside this group, for `tend`.
    fn with_origins<T>(
        &self,
        table: Option<TableId>,
        view: &dyn View,
        tend: impl FnOnce(Option<&Origins<'_>>) -> io::Result<T>,
    ) -> io::Result<T> {
        let catalog = self.catalogs.newest();
        let table = table.and_then(|id| catalog.tables().find(|(_, table)| table.description.id == id));
        let origins =
            table.map(|(_, table)| Origins::of(&catalog, table, view.group())).transpose()?.flatten();
        tend(origins.as_ref())
    }
}

fn usable<'a>(catalog: &'a Catalog, name: &TableName) -> Result<&'a CatalogTable, DynamoError> {
    use meridian_dynamo::table::TableStatus::Deleting;
    let table = catalog.table(name).filter(|table| table.description.status != Deleting);
    table.ok_or_else(item_table_not_found)
}

fn key_in(table: &CatalogTable, key: &ItemKey) -> Bytes {
    let id = table.description.id;
    keys::item(id, partition_hash(id, &key.partition), key)
}

/// Encodes an answer. One of a group among several origins tells what it has seen of the others.
fn respond<T: Serialize>(
    catalog: &Catalog,
    view: &dyn View,
    seen: &Seen,
    answer: &Answer<T>,
) -> io::Result<Bytes> {
    let group = catalog.system.groups.get(&view.group());
    match group.is_some_and(|group| catalog.system.is_active_active(group)) {
        true => encode(&(seen, answer)),
        false => encode(answer),
    }
}

/// Evaluates a write in a group that has the item to itself.
fn write_one(
    schema: &TableSchema,
    op: &WriteOp,
    key: Bytes,
    place: Place,
    view: &dyn View,
) -> io::Result<(Vec<Mutation>, Seen, WriteAnswer)> {
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
        Some(mutations) => (mutations, Seen::default(), Some(answer)),
        None => {
            mark("a write came to a group that its table leaves or has left");
            (Vec::new(), Seen::default(), None)
        }
    })
}

fn part<'a>(table: &'a CatalogTable, scan: &'a GroupScan) -> PageBuilder<'a> {
    let (items, bytes) = scan.seen;
    PageBuilder::new(&table.description.definition.schema, &scan.op.shape).after(items, bytes)
}

fn finish(page: PageBuilder<'_>) -> ScanPart {
    let full = page.is_full();
    let (page, last) = page.finish_part();
    ScanPart { page, last, full }
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
            GroupWrite::Item(place, op) => self.write_item(place, &op, view),
            GroupWrite::Salvage(write) => self.salvage(&write, view),
            GroupWrite::Move(write) => moving::evaluate(&write, view, |table, stored| {
                active::arrived_as(&self.catalogs.newest(), table, stored, view, self.guard)
            }),
            GroupWrite::Active(write) => {
                if write.stamps() {
                    self.guard.check(view)?;
                }
                self.with_origins(write.table(), view, |origins| active::tend(&write, origins, view))
            }
        }
    }

    fn read(&self, request: &[u8], view: &dyn View) -> io::Result<Bytes> {
        match decode(request)? {
            GroupRead::Get(place, op) => self.get(place, &op, view),
            GroupRead::Query(place, op) => self.query(place, &op, view),
            GroupRead::Scan(place, scan) => self.scan(place, &scan, view),
            GroupRead::Salvage(looks) => salvage::look(&looks, view, |key| {
                let current = |origins: &Origins<'_>| active::salvage_current(origins, key, view);
                self.with_origins(table_of(key), view, |origins| origins.map(current).transpose())
            }),
            GroupRead::MoveRows(read) => moving::rows(&read, view),
            GroupRead::MoveChanged(read) => moving::changed(&read, view),
            GroupRead::Active(read) => {
                self.with_origins(read.table(), view, |origins| active::tend_read(&read, origins, view))
            }
        }
    }
}
