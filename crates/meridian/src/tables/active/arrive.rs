//! Items of a table that comes from another policy: each becomes a fragment of the first origin, as if written there.

use super::beside::encode;
use super::notes::{self, Note};
use super::origins::rules;
use super::write::Guard;
use crate::tables::catalog::Catalog;
use bytes::Bytes;
use meridian_dynamo::codec::decode_item;
use meridian_merge::{Effect, Fragment, Origin, Stamp};
use meridian_replication::View;
use meridian_types::{Hlc, HlcClock, TableId};
use std::io;

/// How a group keeps an item that another policy's group has stored: as it is, unless the group is one of an active-active policy.
///
/// A fragment is made from the item alone. No other region has written any as long as the table is on its way, so whatever came before is
/// replaced.
pub(in crate::tables) fn arrived_as(
    catalog: &Catalog,
    table: TableId,
    stored: &Bytes,
    view: &dyn View,
    guard: Guard,
) -> io::Result<Bytes> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the table or its new policy is gone");
    let group = catalog.system.groups.get(&view.group()).ok_or_else(gone)?;
    if !catalog.system.is_active_active(group) {
        return Ok(stored.clone());
    }
    guard.check(view)?;
    let (_, table) = catalog.tables().find(|(_, of)| of.description.id == table).ok_or_else(gone)?;
    let policy = &catalog.system.policies.get(&group.policy).ok_or_else(gone)?.policy;
    let rules = rules(policy.conflict.ok_or_else(gone)?, &table.description.definition.tags);
    let item = decode_item(stored).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let key = table.description.definition.schema.key_attributes(&item);
    let floor = Hlc::from_bits(notes::number(view, Note::Horizon)?);
    let seen = floor.max(Hlc::from_bits(notes::number(view, Note::Promise)?));
    let mut clock = HlcClock::default();
    clock.observe(seen, seen.wall_ms(), 0).map_err(io::Error::other)?;
    let stamp = Stamp { hlc: clock.tick(view.clock().wall_ms), origin: Origin(0) };
    let fragment = Fragment::new(key).apply(&rules, &Effect::Put(item), stamp, floor);
    Ok(encode(&fragment.map_err(io::Error::other)?))
}
