//! Reads as values: what a validated GetItem, Query or Scan asks, and how pages are filled.

use crate::error::DynamoError;
use crate::expr::{Condition, KeyRange, Projection};
use crate::key::{ItemKey, TableSchema};
use crate::size::item_size;
use crate::value::Item;
use alloc::format;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use meridian_types::hash::partition_hash;
use meridian_types::{TableId, TableName};
use serde::{Deserialize, Serialize};

/// Bytes of items that one page reads, before filters and projections.
pub const PAGE_BYTES: u64 = 1 << 20;
/// Most segments of a parallel scan.
pub const MAX_SEGMENTS: u32 = 1_000_000;

/// Reads one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetOp {
    /// The table.
    pub table: TableName,
    /// The key attributes, and no others.
    pub key: Item,
    /// Whether the answer must include every acknowledged write.
    pub consistent: bool,
    /// What to show of the item.
    pub projection: Option<Projection>,
}

/// What a GetItem found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GetOutcome {
    /// The item, projected. An item whose projection is empty is an empty map, not `None`.
    pub item: Option<Item>,
    /// Bytes of the whole item, 0 when there is none.
    pub size: u32,
}

impl GetOp {
    /// The item's key under `schema`.
    ///
    /// # Errors
    /// `ValidationException` as for [`crate::write::WriteOp::key`].
    pub fn key(&self, schema: &TableSchema) -> Result<ItemKey, DynamoError> {
        schema.key_of_request(&self.key)
    }

    /// The answer, given the stored item.
    #[must_use]
    pub fn answer(&self, stored: Option<Item>) -> GetOutcome {
        let size = stored.as_ref().map_or(0, stored_size);
        let item = stored.map(|item| project(self.projection.as_ref(), item));
        GetOutcome { item, size }
    }
}

fn project(projection: Option<&Projection>, item: Item) -> Item {
    match projection {
        Some(projection) => projection.apply(&item),
        None => item,
    }
}

/// Stored items are at most 400 KB, so their size fits.
pub(crate) fn stored_size(item: &Item) -> u32 {
    u32::try_from(item_size(item)).unwrap_or(u32::MAX)
}

/// What Query and Scan share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PageShape {
    /// Which items to answer with.
    pub filter: Option<Condition>,
    /// What to show of each.
    pub projection: Option<Projection>,
    /// Answer with the count only.
    pub count_only: bool,
    /// Most items to look at.
    pub limit: Option<u32>,
    /// Whether the answer must include every acknowledged write.
    pub consistent: bool,
}

/// Reads one page of the items that share a partition key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryOp {
    /// The table.
    pub table: TableName,
    /// The partition key's value and the bounds of the sort key.
    pub range: KeyRange,
    /// Filter, projection, limit.
    pub shape: PageShape,
    /// Ascending by sort key; descending when false.
    pub forward: bool,
    /// Go on after this key (the `LastEvaluatedKey` of the page before).
    pub start_after: Option<Item>,
}

impl QueryOp {
    /// The sort key after which the query goes on; `None` at the start.
    ///
    /// # Errors
    /// `ValidationException` when the starting key does not match the schema.
    pub fn start(&self, schema: &TableSchema) -> Result<Option<Vec<u8>>, DynamoError> {
        self.start_after.as_ref().map(|start| Ok(schema.key_of_request(start)?.sort)).transpose()
    }
}

/// One share of a parallel scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// This share, from 0.
    pub index: u32,
    /// How many shares there are, 1 to [`MAX_SEGMENTS`].
    pub total: u32,
}

impl Segment {
    /// The share that an item of this partition hash belongs to, out of `total`.
    #[must_use]
    pub fn of_hash(hash: u64, total: u32) -> u32 {
        // hash * total / 2^64: equal slices of the hash space, in scan order.
        let scaled = (u128::from(hash) * u128::from(total)) >> 64;
        u32::try_from(scaled).unwrap_or(total.saturating_sub(1))
    }

    /// The lowest hash of this share.
    #[must_use]
    pub fn first_hash(self) -> u64 {
        let first = (u128::from(self.index) << 64).div_ceil(u128::from(self.total.max(1)));
        u64::try_from(first).unwrap_or(u64::MAX)
    }

    /// Whether an item of this partition hash belongs to this share.
    #[must_use]
    pub fn holds(self, hash: u64) -> bool {
        Self::of_hash(hash, self.total) == self.index
    }
}

/// Reads one page of a table, or of one segment of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanOp {
    /// The table.
    pub table: TableName,
    /// Which share; `None` is the whole table.
    pub segment: Option<Segment>,
    /// Filter, projection, limit.
    pub shape: PageShape,
    /// Go on after this key (the `LastEvaluatedKey` of the page before).
    pub start_after: Option<Item>,
}

impl ScanOp {
    /// Where the scan goes on after; `None` at the start.
    ///
    /// # Errors
    /// `ValidationException` when the starting key does not match the schema or lies in another segment.
    pub fn start(&self, schema: &TableSchema, table: TableId) -> Result<Option<ScanPosition>, DynamoError> {
        let Some(start) = &self.start_after else { return Ok(None) };
        let position = ScanPosition::new(table, schema.key_of_request(start)?);
        match self.segment {
            Some(segment) if !segment.holds(position.hash) => Err(DynamoError::validation(format!(
                "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with \
                 correct Segment. TotalSegments: {} Segment: {}",
                segment.total, segment.index
            ))),
            _ => Ok(Some(position)),
        }
    }
}

/// Where an item stands in a scan: by partition hash, then by encoded key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanPosition {
    /// [`partition_hash`] of the table and the encoded partition key.
    pub hash: u64,
    /// The encoded key.
    pub key: ItemKey,
}

impl ScanPosition {
    /// The position of a key.
    #[must_use]
    pub fn new(table: TableId, key: ItemKey) -> Self {
        Self { hash: partition_hash(table, &key.partition), key }
    }
}

/// One page of a Query or Scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Items that passed the filter, projected; empty when only the count was asked.
    pub items: Vec<Item>,
    /// How many passed the filter.
    pub count: u32,
    /// How many were looked at.
    pub scanned_count: u32,
    /// Where the next page starts; `None` on the last page.
    pub last_evaluated_key: Option<Item>,
    /// Bytes of all items looked at.
    pub read_bytes: u64,
}

/// Fills a page with items given in storage order, starting after `start_after`.
///
/// Call [`PageBuilder::push`] until it breaks or storage ends, then [`PageBuilder::finish`].
#[derive(Debug)]
pub struct PageBuilder<'a> {
    schema: &'a TableSchema,
    shape: &'a PageShape,
    page: Page,
    last: Option<Item>,
    full: bool,
}

impl<'a> PageBuilder<'a> {
    /// An empty page.
    #[must_use]
    pub fn new(schema: &'a TableSchema, shape: &'a PageShape) -> Self {
        Self { schema, shape, page: Page::default(), last: None, full: false }
    }

    /// Looks at the next item. Breaks when the page is full: after this item when the limit is reached, without it
    /// when it would not fit.
    pub fn push(&mut self, item: Item) -> ControlFlow<()> {
        if self.full {
            return ControlFlow::Break(());
        }
        let size = u64::from(stored_size(&item));
        if self.page.scanned_count > 0 && self.page.read_bytes + size > PAGE_BYTES {
            self.full = true;
            return ControlFlow::Break(());
        }
        self.page.read_bytes += size;
        self.page.scanned_count += 1;
        self.full = self.shape.limit.is_some_and(|limit| self.page.scanned_count >= limit);
        self.last = Some(self.schema.key_attributes(&item));
        if self.shape.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
            self.page.count += 1;
            if !self.shape.count_only {
                self.page.items.push(project(self.shape.projection.as_ref(), item));
            }
        }
        if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The page. It names a next page exactly when it is full; after its last item there may be nothing.
    #[must_use]
    pub fn finish(mut self) -> Page {
        if self.full {
            self.page.last_evaluated_key = self.last;
        }
        self.page
    }
}
