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
    /// Items and bytes that the page has looked at elsewhere, before this part of it.
    before: (u32, u64),
    last: Option<Item>,
    full: bool,
}

impl<'a> PageBuilder<'a> {
    /// An empty page.
    #[must_use]
    pub fn new(schema: &'a TableSchema, shape: &'a PageShape) -> Self {
        Self { schema, shape, page: Page::default(), before: (0, 0), last: None, full: false }
    }

    /// Goes on with a page that has already looked at so many items and bytes: they count towards its bounds.
    #[must_use]
    pub fn after(self, items: u32, bytes: u64) -> Self {
        Self { before: (items, bytes), ..self }
    }

    /// Looks at the next item. Breaks when the page is full: after this item when the limit is reached, without it
    /// when it would not fit.
    pub fn push(&mut self, item: Item) -> ControlFlow<()> {
        if self.full {
            return ControlFlow::Break(());
        }
        let size = u64::from(stored_size(&item));
        let (items_before, bytes_before) = self.before;
        let looked_at = items_before + self.page.scanned_count;
        if looked_at > 0 && bytes_before + self.page.read_bytes + size > PAGE_BYTES {
            self.full = true;
            return ControlFlow::Break(());
        }
        self.page.read_bytes += size;
        self.page.scanned_count += 1;
        self.full = self.shape.limit.is_some_and(|limit| looked_at + 1 >= limit);
        self.last = Some(self.schema.key_attributes(&item));
        if self.shape.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
            self.page.count += 1;
            if !self.shape.count_only {
                self.page.items.push(project(self.shape.projection.as_ref(), item));
            }
        }
        if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether the page takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// This part of a page, which names no next page, and the key of the last item that it looked at.
    #[must_use]
    pub fn finish_part(self) -> (Page, Option<Item>) {
        (self.page, self.last)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Path;
    use crate::key::{KeyAttribute, KeyKind};
    use crate::value::AttributeValue;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn schema() -> TableSchema {
        TableSchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None }
    }

    fn item(name: &str, bytes: usize) -> Item {
        let mut item = Item::from([("pk".into(), AttributeValue::S(name.into()))]);
        item.insert("x".into(), AttributeValue::S("x".repeat(bytes)));
        item
    }

    fn key(name: &str) -> Item {
        Item::from([("pk".into(), AttributeValue::S(name.into()))])
    }

    fn page(shape: &PageShape, items: &[Item]) -> Page {
        let schema = schema();
        let mut page = PageBuilder::new(&schema, shape);
        let _ = items.iter().try_for_each(|item| page.push(item.clone()));
        page.finish()
    }

    #[test]
    fn a_limit_ends_the_page_at_the_item_that_reaches_it() {
        let items = [item("a", 1), item("b", 1), item("c", 1)];
        let shape = PageShape { limit: Some(2), ..PageShape::default() };
        let full = page(&shape, &items);
        assert_eq!((full.count, full.scanned_count), (2, 2));
        assert_eq!(full.last_evaluated_key, Some(key("b")));
        assert_eq!(page(&PageShape::default(), &items).last_evaluated_key, None);
        // A limit reached with the last item names a next page, which is empty.
        assert_eq!(page(&shape, &items[..2]).last_evaluated_key, Some(key("b")));
    }

    #[test]
    fn a_page_reads_at_most_a_megabyte_but_at_least_one_item() {
        let items: Vec<Item> = (0..10).map(|n| item(&n.to_string(), 300_000)).collect();
        let full = page(&PageShape::default(), &items);
        assert_eq!(full.count, 3);
        assert_eq!(full.last_evaluated_key, Some(key("2")));
        assert!(full.read_bytes <= PAGE_BYTES);
    }

    #[test]
    fn filtered_items_count_as_scanned_and_may_be_where_the_page_ends() {
        let shape = PageShape {
            filter: Some(Condition::NotExists(Path::attribute("x"))),
            limit: Some(1),
            ..PageShape::default()
        };
        let empty = page(&shape, &[item("a", 1), item("b", 1)]);
        assert_eq!((empty.count, empty.scanned_count, empty.items.len()), (0, 1, 0));
        assert_eq!(empty.last_evaluated_key, Some(key("a")));
    }

    #[test]
    fn projections_and_counts_show_less() {
        let projection = Some(crate::expr::Projection::new(alloc::vec![Path::attribute("x")]));
        let shape = PageShape { projection, ..PageShape::default() };
        assert!(!page(&shape, &[item("a", 1)]).items[0].contains_key("pk"));
        let shape = PageShape { count_only: true, ..PageShape::default() };
        let counted = page(&shape, &[item("a", 1)]);
        assert_eq!((counted.count, counted.items.len()), (1, 0));
        let get = GetOp {
            table: TableName::new("abc").unwrap(),
            key: key("a"),
            consistent: true,
            projection: Some(crate::expr::Projection::new(alloc::vec![Path::attribute("none")])),
        };
        assert_eq!(get.answer(Some(item("a", 1))).item, Some(Item::new()));
        assert_eq!(get.answer(None), GetOutcome::default());
    }

    #[test]
    fn a_scan_goes_on_only_in_its_own_segment() {
        let table = TableId(1);
        let hash = partition_hash(table, b"a");
        let segment = |index| Segment { index, total: 4 };
        let own = Segment::of_hash(hash, 4);
        let mut scan = ScanOp {
            table: TableName::new("abc").unwrap(),
            segment: Some(segment(own)),
            shape: PageShape::default(),
            start_after: Some(key("a")),
        };
        assert_eq!(scan.start(&schema(), table).unwrap().unwrap().hash, hash);
        scan.segment = Some(segment((own + 1) % 4));
        let error = scan.start(&schema(), table).unwrap_err().to_string();
        assert!(error.contains("with correct Segment. TotalSegments: 4"), "{error}");
    }

    proptest! {
        #[test]
        fn segments_share_the_hashes_out_in_order(hash in any::<u64>(), total in 1u32..=MAX_SEGMENTS) {
            let index = Segment::of_hash(hash, total);
            prop_assert!(index < total);
            let segment = Segment { index, total };
            prop_assert!(segment.holds(hash));
            prop_assert!(segment.first_hash() <= hash);
            prop_assert!(segment.holds(segment.first_hash()));
            if index > 0 {
                prop_assert!(!segment.holds(segment.first_hash() - 1));
            }
        }

        #[test]
        fn pages_follow_each_other_without_gap_or_overlap(count in 0usize..30, limit in 1u32..10) {
            let items: Vec<Item> = (0..count).map(|n| item(&alloc::format!("{n:04}"), 10)).collect();
            let shape = PageShape { limit: Some(limit), ..PageShape::default() };
            let mut seen = Vec::new();
            let mut after: Option<Item> = None;
            loop {
                let start = after.as_ref().map_or(0, |after| {
                    1 + items.iter().position(|item| item.get("pk") == after.get("pk")).unwrap()
                });
                let next = page(&shape, &items[start..]);
                seen.extend(next.items);
                match next.last_evaluated_key {
                    Some(key) => after = Some(key),
                    None => break,
                }
            }
            prop_assert_eq!(seen, items);
        }

        #[test]
        fn reads_survive_the_way_between_nodes(limit in any::<Option<u32>>(), name in "[a-z]{0,9}") {
            let scan = ScanOp {
                table: TableName::new("abc").unwrap(),
                segment: Some(Segment { index: 1, total: 2 }),
                shape: PageShape { limit, ..PageShape::default() },
                start_after: Some(key(&name)),
            };
            let bytes = postcard::to_allocvec(&scan).unwrap();
            prop_assert_eq!(postcard::from_bytes::<ScanOp>(&bytes).unwrap(), scan);
        }
    }
}
