//! Listing salvage and deciding on it, for the admin API.

use super::active::SalvagedItem;
use super::catalog::{Catalog, CatalogTable};
use super::evaluate::{GroupWrite, decode, encode};
use super::moving::Place;
use super::salvage::{Act, Decided, Look, SalvageWrite, Seen, decided, has_changed, item, read};
use super::serve::ReplicatedTables;
use crate::admin::salvage::{
    SalvageAction, SalvageDone, SalvageEntry, SalvageId, SalvageList, SalvageOrder, SalvageRefusal,
};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use meridian_dynamo::json::item_to_json;
use meridian_merge::Rules;
use meridian_replication::{LostWrite, ReadConsistency, SalvageAt, Unserved, runtime, table_of};
use meridian_types::{GroupId, TableId, TableName};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Decisions under way at once.
const AT_ONCE: usize = 64;
const NO_ENTRY: &str = "there is no such entry; `meridian salvage list` shows those that there are";
const MOVED: &str =
    "its table has moved to another policy since; write the item with a client, then discard the entry";

fn place_of(id: SalvageId) -> SalvageAt {
    (id.group, id.incarnation, id.index, id.part)
}

/// The place right before an entry; `None`: the very beginning.
fn place_before(id: SalvageId) -> Option<SalvageAt> {
    let place = |index, part| Some((id.group, id.incarnation, index, part));
    match (id.part.checked_sub(1), id.index.checked_sub(1)) {
        (Some(part), _) => place(id.index, part),
        (None, Some(index)) => place(index, u32::MAX),
        (None, None) => None,
    }
}

fn id_of(lost: &LostWrite) -> SalvageId {
    let LostWrite { group, incarnation, index, part, .. } = *lost;
    SalvageId { group, incarnation, index, part }
}

fn look_of(lost: &LostWrite) -> Look {
    Look { incarnation: lost.incarnation, key: lost.key.clone(), index: lost.index }
}

impl ReplicatedTables {
    /// A page of what nobody has decided on, behind an entry.
    ///
    /// # Errors
    /// When a group cannot be read.
    pub async fn salvage(
        &self,
        after: Option<SalvageId>,
        deadline: Instant,
    ) -> Result<SalvageList, Unserved> {
        let lost = self.replication.salvage(after.map(place_of), deadline).await;
        let next = lost.last().map(id_of);
        let entries = self.undecided(lost, deadline).await?;
        Ok(SalvageList { entries, next })
    }

    /// One entry.
    ///
    /// # Errors
    /// When its group cannot be read.
    pub async fn salvage_entry(
        &self,
        id: SalvageId,
        deadline: Instant,
    ) -> Result<Option<SalvageEntry>, Unserved> {
        let mut found = self.find(&[id], deadline).await;
        match found.remove(&id) {
            Some(lost) => Ok(self.undecided(vec![lost], deadline).await?.pop()),
            None => Ok(None),
        }
    }

    /// Decides on entries, several at once.
    pub async fn decide_salvage(&self, order: &SalvageOrder, deadline: Instant) -> SalvageDone {
        let found = self.find(&order.ids, deadline).await;
        let decisions = order.ids.iter().copied().map(|id| {
            let lost = found.get(&id);
            async move {
                let done = match lost {
                    Some(lost) => self.decide(lost, order, deadline).await,
                    None => Err(NO_ENTRY.to_owned()),
                };
                (id, done)
            }
        });
        let decisions: Vec<_> = stream::iter(decisions).buffered(AT_ONCE).collect().await;
        let mut all = SalvageDone::default();
        for (id, done) in decisions {
            match done {
                Ok(()) => all.done.push(id),
                Err(why) => all.refused.push(SalvageRefusal { id, why }),
            }
        }
        all
    }

    /// Those of the entries that there are.
    async fn find(&self, ids: &[SalvageId], deadline: Instant) -> BTreeMap<SalvageId, LostWrite> {
        let wanted: BTreeSet<SalvageId> = ids.iter().copied().collect();
        let mut found = BTreeMap::new();
        let Some((first, last)) = wanted.first().zip(wanted.last()) else { return found };
        let mut after = place_before(*first);
        while runtime::now() < deadline {
            let page = self.replication.salvage(after, deadline).await;
            let Some(end) = page.last().map(LostWrite::at) else { break };
            let of_page = page.into_iter().map(|lost| (id_of(&lost), lost));
            found.extend(of_page.filter(|(id, _)| wanted.contains(id)));
            if end >= place_of(*last) {
                break;
            }
            after = Some(end);
        }
        found
    }

    async fn decide(&self, lost: &LostWrite, order: &SalvageOrder, deadline: Instant) -> Result<(), String> {
        let catalog = self.catalogs.newest();
        let applies = order.action == SalvageAction::Apply;
        let table = table_in(&catalog, &lost.key).map(|(_, table)| table);
        if applies && table.is_none() {
            return Err("its table is gone; discard it".to_owned());
        }
        let lives = |table: &CatalogTable| {
            let entry = catalog.system.tables.values().find(|entry| entry.id == table.description.id);
            entry.is_some_and(|entry| catalog.system.groups_of(entry).contains(&lost.group))
        };
        if applies && !table.is_some_and(lives) {
            return Err(MOVED.to_owned());
        }
        let place = table.map_or(Place { table: TableId(0), home: 0 }, CatalogTable::place);
        let info = catalog.system.groups.get(&lost.group);
        let cut = info.and_then(|info| info.cut_of(lost.incarnation)).map(|cut| cut.index);
        let cut = cut.ok_or_else(|| "its group is not known here yet; try again".to_owned())?;
        let act = match order.action {
            SalvageAction::Apply => Act::Apply { value: lost.value.clone(), force: order.force },
            SalvageAction::Discard => Act::Discard,
        };
        let write = GroupWrite::Salvage(SalvageWrite { place, look: look_of(lost), cut, act });
        let request = encode(&write).map_err(|error| error.to_string())?;
        let done = self.replication.write(lost.group, request, deadline).await;
        let response = done.map_err(|error| error.to_string())?.response;
        match decided(&response).map_err(|error| error.to_string())? {
            Decided::Done => Ok(()),
            Decided::Changed => {
                Err("the item has changed since; `--force` replaces what it is now".to_owned())
            }
            Decided::Moved => Err(MOVED.to_owned()),
        }
    }

    /// Those that nobody has decided on, with what is there now.
    async fn undecided(
        &self,
        lost: Vec<LostWrite>,
        deadline: Instant,
    ) -> Result<Vec<SalvageEntry>, Unserved> {
        let mut by_group: BTreeMap<GroupId, Vec<LostWrite>> = BTreeMap::new();
        for write in lost {
            by_group.entry(write.group).or_default().push(write);
        }
        let catalog = self.catalogs.newest();
        let mut entries = Vec::new();
        for (group, lost) in by_group {
            let request = encode(&read(lost.iter().map(look_of).collect()))?;
            let done = self.replication.read(group, request, ReadConsistency::Consistent, deadline).await?;
            let seen: Vec<Seen> = decode(&done.response)?;
            let undecided = lost.into_iter().zip(seen).filter(|(_, seen)| !seen.done);
            entries.extend(undecided.map(|(lost, seen)| entry(&catalog, &lost, &seen)));
        }
        entries.sort_by_key(|entry| entry.id);
        Ok(entries)
    }
}

fn table_in<'a>(catalog: &'a Catalog, key: &Bytes) -> Option<(&'a TableName, &'a CatalogTable)> {
    let id = table_of(key)?;
    catalog.tables().find(|(_, table)| table.description.id == id)
}

fn entry(catalog: &Catalog, lost: &LostWrite, seen: &Seen) -> SalvageEntry {
    let table = table_in(catalog, &lost.key);
    // The table may have come to an active-active policy since, and what was lost is kept as it was.
    let merged =
        catalog.system.groups.get(&lost.group).is_some_and(|group| catalog.system.is_active_active(group));
    if let Some((name, rules)) =
        table.filter(|_| merged).and_then(|(name, table)| Some((name, table.rules.as_deref()?)))
    {
        return merged_entry(name, rules, lost, seen);
    }
    let table = table.map(|(name, _)| name);
    let (old, current) = (item(lost.value.as_ref()), item(seen.current.as_ref()));
    let schema = table.and_then(|name| catalog.table(name)).map(|table| &table.description.definition.schema);
    let key = schema.zip(old.as_ref().or(current.as_ref())).map(|(schema, item)| schema.key_attributes(item));
    let cut = catalog.system.groups.get(&lost.group).and_then(|info| info.cut_of(lost.incarnation));
    SalvageEntry {
        id: id_of(lost),
        group: lost.group,
        incarnation: lost.incarnation.0,
        table: table.cloned(),
        key: key.as_ref().map(item_to_json),
        old: old.as_ref().map(item_to_json),
        current: current.as_ref().map(item_to_json),
        changed: has_changed(
            seen.changed_at,
            cut.map(|cut| cut.index),
            seen.current.as_ref(),
            lost.value.as_ref(),
        ),
        writes: lost.writes,
        written_ms: lost.stamp_ms,
    }
}

/// One of an active-active table.
fn merged_entry(name: &TableName, rules: &Rules, lost: &LostWrite, seen: &Seen) -> SalvageEntry {
    let item = SalvagedItem::of(rules, lost.value.as_ref(), seen.current.as_ref(), seen.horizon);
    // What cannot be read is shown as unknown; nothing is applied of it.
    let item = item.unwrap_or_else(|_| SalvagedItem { changed: true, ..SalvagedItem::default() });
    SalvageEntry {
        id: id_of(lost),
        group: lost.group,
        incarnation: lost.incarnation.0,
        table: Some(name.clone()),
        key: item.key.as_ref().map(item_to_json),
        old: item.lost.as_ref().map(item_to_json),
        current: item.now.as_ref().map(item_to_json),
        changed: item.changed,
        writes: lost.writes,
        written_ms: lost.stamp_ms,
    }
}
