//! [`MemoryTables`]: a correct single-process implementation of [`Tables`], for tests and for trying the front alone.
//!
//! Every operation is atomic under one lock. Nothing survives the process.

use crate::credential::Credential;
use crate::tables::{
    Reply, RequestContext, ServedBy, Staleness, TableChange, Tables, item_table_not_found, table_not_found,
};
use async_trait::async_trait;
use core::ops::Bound;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::expr::KeyRange;
use meridian_dynamo::key::ItemKey;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, PageBuilder, QueryOp, ScanOp, ScanPosition, Segment};
use meridian_dynamo::request::tags::check_count;
use meridian_dynamo::size::item_size;
use meridian_dynamo::table::{TableDefinition, TableDescription, TableStatus};
use meridian_dynamo::value::Item;
use meridian_dynamo::write::{After, WriteOp, WriteOutcome, evaluate};
use meridian_types::{GroupId, Incarnation, Position, TableId, TableName, Token};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tables in memory.
pub struct MemoryTables {
    served_by: ServedBy,
    credentials: BTreeMap<String, Arc<Credential>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<TableName, Table>,
    last_id: u32,
    writes: u64,
}

type Bounds = (Bound<ScanPosition>, Bound<ScanPosition>);

struct Table {
    description: Arc<TableDescription>,
    items: BTreeMap<ScanPosition, Item>,
    bytes: u64,
}

impl MemoryTables {
    /// No tables; answers in the name of `served_by` and knows `credentials`.
    #[must_use]
    pub fn new(served_by: ServedBy, credentials: impl IntoIterator<Item = Credential>) -> Self {
        let credentials = credentials
            .into_iter()
            .map(|credential| (credential.access_key_id.clone(), Arc::new(credential)))
            .collect();
        Self { served_by, credentials, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that a test sees; the state itself is never left half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply<T>(&self, writes: u64, value: T) -> Reply<T> {
        let position = Position { group: GroupId(1), incarnation: Incarnation(0), index: writes };
        Reply {
            value,
            token: Token::from(position),
            served_by: self.served_by.clone(),
            staleness: Staleness::Leader,
            conflicts: Vec::new(),
        }
    }

    fn change(
        &self,
        name: &TableName,
        change: impl FnOnce(&mut TableDescription) -> Result<(), DynamoError>,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let mut state = self.state();
        let table = state.tables.get_mut(name).ok_or_else(|| table_not_found(name))?;
        let mut description = TableDescription::clone(&table.description);
        change(&mut description)?;
        table.description = Arc::new(description);
        let description = table.counted();
        state.writes += 1;
        Ok(self.reply(state.writes, description))
    }
}

impl State {
    fn table(&self, name: &TableName) -> Result<&Table, DynamoError> {
        self.tables.get(name).ok_or_else(item_table_not_found)
    }
}

impl Table {
    fn position(&self, key: ItemKey) -> ScanPosition {
        ScanPosition::new(self.description.id, key)
    }

    fn counted(&self) -> Arc<TableDescription> {
        let mut description = TableDescription::clone(&self.description);
        description.item_count = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        description.size_bytes = self.bytes;
        Arc::new(description)
    }

    fn store(&mut self, position: ScanPosition, after: After) {
        let before = match after {
            After::Unchanged => return,
            After::Put(item) => {
                self.bytes += bytes(&item);
                self.items.insert(position, item)
            }
            After::Delete => self.items.remove(&position),
        };
        self.bytes -= before.as_ref().map_or(0, bytes);
    }

    /// The positions that a query walks; `None` when there can be none.
    fn query_bounds(&self, op: &QueryOp) -> Result<Option<Bounds>, DynamoError> {
        let KeyRange { partition, lower, upper, .. } = &op.range;
        let at = |sort: Vec<u8>| self.position(ItemKey { partition: partition.clone(), sort });
        let hash = at(Vec::new()).hash;
        let mut behind = partition.clone();
        behind.push(0);
        let end = ScanPosition { hash, key: ItemKey { partition: behind, sort: Vec::new() } };
        let mut from = match lower.clone() {
            Bound::Unbounded => Bound::Included(at(Vec::new())),
            bound => bound.map(at),
        };
        let mut to = match upper.clone() {
            Bound::Unbounded => Bound::Excluded(end),
            bound => bound.map(at),
        };
        if let Some(sort) = op.start(&self.description.definition.schema)? {
            let edge = if op.forward { &mut from } else { &mut to };
            *edge = Bound::Excluded(at(sort));
        }
        // A range that ends before it starts, or excludes its only point, holds nothing.
        let empty = match (&from, &to) {
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
            _ => false,
        };
        Ok((!empty).then_some((from, to)))
    }
}

fn fill<'i>(mut page: PageBuilder<'_>, mut items: impl Iterator<Item = &'i Item>) -> Page {
    let _ = items.try_for_each(|item| page.push(item.clone()));
    page.finish()
}

fn bytes(item: &Item) -> u64 {
    u64::try_from(item_size(item)).unwrap_or(u64::MAX)
}

#[async_trait]
impl Tables for MemoryTables {
    async fn create_table(
        &self,
        _: &RequestContext,
        definition: TableDefinition,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let mut state = self.state();
        if state.tables.contains_key(&definition.name) {
            return Err(DynamoError::ResourceInUse(format!("Table already exists: {}", definition.name)));
        }
        state.last_id += 1;
        state.writes += 1;
        let name = definition.name.clone();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let description = Arc::new(TableDescription {
            id: TableId(state.last_id),
            definition,
            status: TableStatus::Active,
            created_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            time_to_live: None,
            item_count: 0,
            size_bytes: 0,
        });
        let table = Table { description: Arc::clone(&description), items: BTreeMap::new(), bytes: 0 };
        state.tables.insert(name, table);
        Ok(self.reply(state.writes, description))
    }

    async fn table(
        &self,
        _: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableDescription>>, DynamoError> {
        Ok(self.state().tables.get(name).map(Table::counted))
    }

    async fn list_tables(
        &self,
        _: &RequestContext,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TableName>, DynamoError> {
        let state = self.state();
        let names = state.tables.keys().filter(|name| after.is_none_or(|after| name.as_str() > after));
        Ok(names.take(limit).cloned().collect())
    }

    async fn update_table(
        &self,
        _: &RequestContext,
        name: &TableName,
        change: TableChange,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.change(name, |table| {
            let definition = &mut table.definition;
            definition.billing = change.billing.unwrap_or(definition.billing);
            definition.class = change.class.or(definition.class);
            definition.deletion_protection =
                change.deletion_protection.unwrap_or(definition.deletion_protection);
            Ok(())
        })
    }

    async fn delete_table(
        &self,
        _: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let mut state = self.state();
        let table = state.tables.get(name).ok_or_else(|| table_not_found(name))?;
        if table.description.definition.deletion_protection {
            return Err(DynamoError::validation(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
                 protection first.",
            ));
        }
        let mut description = TableDescription::clone(&table.description);
        description.status = TableStatus::Deleting;
        state.tables.remove(name);
        state.writes += 1;
        Ok(self.reply(state.writes, Arc::new(description)))
    }

    async fn tag_table(
        &self,
        _: &RequestContext,
        name: &TableName,
        tags: BTreeMap<String, String>,
    ) -> Result<Reply<()>, DynamoError> {
        let changed = self.change(name, |table| {
            let mut all = table.definition.tags.clone();
            all.extend(tags);
            check_count(&all)?;
            table.definition.tags = all;
            Ok(())
        })?;
        Ok(changed.map(|_| ()))
    }

    async fn untag_table(
        &self,
        _: &RequestContext,
        name: &TableName,
        keys: &[String],
    ) -> Result<Reply<()>, DynamoError> {
        let changed = self.change(name, |table| {
            table.definition.tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })?;
        Ok(changed.map(|_| ()))
    }

    async fn update_time_to_live(
        &self,
        _: &RequestContext,
        name: &TableName,
        attribute: &str,
        enabled: bool,
    ) -> Result<Reply<()>, DynamoError> {
        let changed = self.change(name, |table| {
            table.time_to_live = enabled.then(|| attribute.to_owned());
            Ok(())
        })?;
        Ok(changed.map(|_| ()))
    }

    async fn write(&self, _: &RequestContext, op: WriteOp) -> Result<Reply<WriteOutcome>, DynamoError> {
        let mut state = self.state();
        let table = state.tables.get_mut(&op.table).ok_or_else(item_table_not_found)?;
        let description = Arc::clone(&table.description);
        let schema = &description.definition.schema;
        let position = table.position(op.key(schema)?);
        let evaluated = evaluate(schema, table.items.get(&position), &op)?;
        table.store(position, evaluated.after);
        state.writes += 1;
        Ok(self.reply(state.writes, evaluated.outcome))
    }

    async fn get(&self, _: &RequestContext, op: GetOp) -> Result<Reply<GetOutcome>, DynamoError> {
        let state = self.state();
        let table = state.table(&op.table)?;
        let position = table.position(op.key(&table.description.definition.schema)?);
        let outcome = op.answer(table.items.get(&position).cloned());
        Ok(self.reply(state.writes, outcome))
    }

    async fn query(&self, _: &RequestContext, op: QueryOp) -> Result<Reply<Page>, DynamoError> {
        let state = self.state();
        let table = state.table(&op.table)?;
        let page = PageBuilder::new(&table.description.definition.schema, &op.shape);
        let page = match table.query_bounds(&op)? {
            None => page.finish(),
            Some(bounds) => {
                let items = table.items.range(bounds).map(|(_, item)| item);
                if op.forward { fill(page, items) } else { fill(page, items.rev()) }
            }
        };
        Ok(self.reply(state.writes, page))
    }

    async fn scan(&self, _: &RequestContext, op: ScanOp) -> Result<Reply<Page>, DynamoError> {
        let state = self.state();
        let table = state.table(&op.table)?;
        let schema = &table.description.definition.schema;
        let from = match op.start(schema, table.description.id)? {
            Some(position) => Bound::Excluded(position),
            None => {
                let hash = op.segment.map_or(0, Segment::first_hash);
                let key = ItemKey { partition: Vec::new(), sort: Vec::new() };
                Bound::Included(ScanPosition { hash, key })
            }
        };
        let items = table
            .items
            .range((from, Bound::Unbounded))
            .take_while(|(position, _)| op.segment.is_none_or(|segment| segment.holds(position.hash)))
            .map(|(_, item)| item);
        let page = fill(PageBuilder::new(schema, &op.shape), items);
        Ok(self.reply(state.writes, page))
    }

    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.credentials.get(access_key_id).cloned()
    }
}
