//! Reads of active-active items: what the fragments on this node are together.

use super::Seen;
use super::beside::{Beside, decode, join};
use super::conflicts::{CONFLICTS, as_attribute, names};
use super::origins::Origins;
use super::rows::side_by_side;
use bytes::Bytes;
use meridian_dynamo::expr::Projection;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, PageBuilder, PageShape};
use meridian_dynamo::table::TableDescription;
use meridian_dynamo::value::Item;
use meridian_merge::Fragment;
use meridian_replication::View;
use std::io;

/// Reads one item.
pub(in crate::tables) fn get(
    origins: &Origins<'_>,
    op: &GetOp,
    key: &[u8],
    view: &dyn View,
) -> io::Result<(Seen, GetOutcome)> {
    let beside = Beside::of(view, origins)?;
    let mut seen = Seen { positions: beside.positions(), conflicts: Vec::new() };
    let Some(joined) = join(beside.fragments(key)?) else { return Ok((seen, op.answer(None))) };
    let resolved = joined.resolve(origins.rules);
    seen.conflicts = names(&resolved.conflicts);
    let mut item = resolved.item;
    if asks_for_conflicts(op.projection.as_ref())
        && let Some(item) = item.as_mut()
        && !resolved.conflicts.is_empty()
    {
        item.insert(CONFLICTS.to_owned(), as_attribute(&resolved.conflicts, origins));
    }
    Ok((seen, op.answer(item)))
}

/// Fills a page with the items of a key range.
pub(in crate::tables) fn query(
    origins: &Origins<'_>,
    (table, shape): (&TableDescription, &PageShape),
    range: (&[u8], &[u8]),
    reverse: bool,
    view: &dyn View,
) -> io::Result<(Seen, Page)> {
    let beside = Beside::of(view, origins)?;
    let mut page = PageBuilder::new(&table.definition.schema, shape);
    fill(&beside, origins, shape, range, reverse, |item| page.push(item).is_continue())?;
    Ok((Seen { positions: beside.positions(), conflicts: Vec::new() }, page.finish()))
}

/// Fills the part of a scan's page that falls to this share of the items.
pub(in crate::tables) fn scan(
    origins: &Origins<'_>,
    shape: &PageShape,
    range: (&[u8], &[u8]),
    view: &dyn View,
    push: impl FnMut(Item) -> bool,
) -> io::Result<Seen> {
    let beside = Beside::of(view, origins)?;
    fill(&beside, origins, shape, range, false, push)?;
    Ok(Seen { positions: beside.positions(), conflicts: Vec::new() })
}

fn fill(
    beside: &Beside<'_>,
    origins: &Origins<'_>,
    shape: &PageShape,
    range: (&[u8], &[u8]),
    reverse: bool,
    mut push: impl FnMut(Item) -> bool,
) -> io::Result<()> {
    let with_conflicts = asks_for_conflicts(shape.projection.as_ref());
    let mut damaged = None;
    side_by_side(&beside.views(), range, reverse, |_, stored| match joined(stored) {
        Ok(Some(joined)) => match shown(&joined, origins, with_conflicts) {
            Some(item) => push(item),
            None => true,
        },
        Ok(None) => true,
        Err(error) => {
            damaged = Some(error);
            false
        }
    })?;
    damaged.map_or(Ok(()), Err)
}

fn joined(stored: &[Bytes]) -> io::Result<Option<Fragment>> {
    let fragments = stored.iter().map(|stored| decode(stored)).collect::<io::Result<Vec<_>>>()?;
    Ok(join(fragments))
}

fn shown(joined: &Fragment, origins: &Origins<'_>, with_conflicts: bool) -> Option<Item> {
    if !with_conflicts {
        return joined.item(origins.rules);
    }
    let resolved = joined.resolve(origins.rules);
    let mut item = resolved.item?;
    if !resolved.conflicts.is_empty() {
        item.insert(CONFLICTS.to_owned(), as_attribute(&resolved.conflicts, origins));
    }
    Some(item)
}

fn asks_for_conflicts(projection: Option<&Projection>) -> bool {
    projection.is_some_and(|projection| projection.paths().iter().any(|path| path.root == CONFLICTS))
}

/// The items of a range that show something lost or in conflict, among at most `limit` of them; and the last key looked at, unless the range
/// ends there.
pub(super) fn suspects(
    origins: &Origins<'_>,
    range: (&[u8], &[u8]),
    limit: usize,
    view: &dyn View,
) -> io::Result<(Vec<Bytes>, Option<Bytes>)> {
    let mut found = Vec::new();
    let last = look(origins, range, limit, view, |key, stored, joined| {
        if stored.len() < 2 {
            return;
        }
        let resolved = joined.resolve(origins.rules);
        if !resolved.conflicts.is_empty() || !resolved.lost.is_empty() {
            found.push(Bytes::copy_from_slice(key));
        }
    })?;
    Ok((found, last))
}

/// A sum over what the items of a range are, which does not depend on where or in what order they were written; how many there are, and how many keys;
/// and the last key looked at, unless the range ends there.
pub(super) fn checksum(
    origins: &Origins<'_>,
    range: (&[u8], &[u8]),
    limit: usize,
    view: &dyn View,
) -> io::Result<(u64, u64, u64, Option<Bytes>)> {
    let (mut sum, mut count, mut stored) = (0u64, 0u64, 0u64);
    let last = look(origins, range, limit, view, |key, _, joined| {
        stored += 1;
        if let Some(item) = joined.item(origins.rules) {
            count += 1;
            sum = sum.wrapping_add(item_sum(key, &item));
        }
    })?;
    Ok((sum, count, stored, last))
}

/// As [`checksum`], of a group that has its items to itself.
pub(super) fn plain_checksum(
    (start, end): (&[u8], &[u8]),
    limit: usize,
    view: &dyn View,
) -> io::Result<(u64, u64, u64, Option<Bytes>)> {
    let (mut sum, mut count, mut last, mut damaged) = (0u64, 0u64, None, None);
    view.scan(start, end, false, &mut |key, stored| match meridian_dynamo::codec::decode_item(stored) {
        Ok(item) => {
            count += 1;
            sum = sum.wrapping_add(item_sum(key, &item));
            let full = count == limit as u64;
            last = full.then(|| Bytes::copy_from_slice(key));
            !full
        }
        Err(error) => {
            damaged = Some(io::Error::new(io::ErrorKind::InvalidData, error));
            false
        }
    })?;
    damaged.map_or(Ok((sum, count, count, last)), Err)
}

/// The part of one item in a table's checksum.
fn item_sum(key: &[u8], item: &Item) -> u64 {
    let bytes = meridian_dynamo::codec::encode_item(item);
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, xxhash_rust::xxh3::xxh3_64(key))
}

fn look(
    origins: &Origins<'_>,
    range: (&[u8], &[u8]),
    limit: usize,
    view: &dyn View,
    mut each: impl FnMut(&[u8], &[Bytes], &Fragment),
) -> io::Result<Option<Bytes>> {
    let beside = Beside::of(view, origins)?;
    let (mut looked, mut last, mut damaged) = (0, None, None);
    side_by_side(&beside.views(), range, false, |key, stored| match joined(stored) {
        Ok(joined) => {
            if let Some(joined) = joined {
                each(key, stored, &joined);
            }
            looked += 1;
            if looked == limit {
                last = Some(Bytes::copy_from_slice(key));
            }
            looked < limit
        }
        Err(error) => {
            damaged = Some(error);
            false
        }
    })?;
    damaged.map_or(Ok(last), Err)
}
