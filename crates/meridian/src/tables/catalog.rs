//! The system state as the data path needs it: tables decoded, credentials checked, ready to be looked up.

use super::active::rules;
use super::moving::Place;
use meridian_api::{Credential, SecretAccessKey};
use meridian_dynamo::table::{POLICY_TAG, TableDefinition, TableDescription, TableStatus};
use meridian_merge::Rules;
use meridian_replication::runtime::watch;
use meridian_replication::system::{self, SystemState, TableEntry};
use meridian_types::{GroupId, PolicyName, Position, TableName};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A table, ready for use.
#[derive(Clone, Debug)]
pub struct CatalogTable {
    /// What the API says of it.
    pub description: Arc<TableDescription>,
    /// The policy that decides where its items live.
    pub policy: PolicyName,
    /// The move that has brought it there.
    pub(super) home: u64,
    /// Where items are by the beginning of their keys, as [`TableEntry::residency`] says.
    pub(super) residency: Arc<Vec<(String, PolicyName)>>,
    /// What concurrent writes mean, in an active-active table.
    pub(super) rules: Option<Arc<Rules>>,
    /// After a move to that policy: the states of its groups that have everything from before it.
    pub(super) arrived: Arc<BTreeMap<GroupId, Position>>,
}

impl CatalogTable {
    /// Where its requests are sent, for the groups to judge.
    pub(super) fn place(&self) -> Place {
        Place { table: self.description.id, home: self.home }
    }

    /// Whether a request was sent by an older move than this node knows of. The group's own notes tell as well, unless it was founded anew
    /// without them.
    pub(super) fn has_moved_since(&self, place: Place) -> bool {
        self.home > place.home
    }
}

/// One version of the system state, with what is derived from it.
#[derive(Debug)]
pub struct Catalog {
    /// The state that this is derived from.
    pub system: Arc<SystemState>,
    tables: BTreeMap<TableName, CatalogTable>,
    credentials: BTreeMap<String, Arc<Credential>>,
}

impl Catalog {
    fn new(system: Arc<SystemState>) -> Self {
        let tables = system.tables.values().filter_map(|entry| describe(entry, &system)).collect();
        let credentials = system.credentials.iter().filter_map(|(id, credential)| {
            let system::Credential { secret_access_key, tables, actions, .. } = credential;
            // A key that this version cannot use is the same as no key: requests with it are refused.
            let secret = secret_access_key.parse::<SecretAccessKey>().ok()?;
            let usable = Credential::new(id, secret, tables.0.clone(), actions.0.clone()).ok()?;
            Some((id.clone(), Arc::new(usable)))
        });
        Self { tables, credentials: credentials.collect(), system }
    }

    /// The table of that name, in any status.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&CatalogTable> {
        self.tables.get(name)
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &CatalogTable)> {
        self.tables.iter()
    }

    /// The credential of that id.
    #[must_use]
    pub fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.credentials.get(access_key_id).cloned()
    }
}

fn describe(entry: &TableEntry, system: &SystemState) -> Option<(TableName, CatalogTable)> {
    let Ok(mut definition) = postcard::from_bytes::<TableDefinition>(&entry.definition) else {
        tracing::error!(table = %entry.name, "the table's definition is of a version that this node does not know");
        return None;
    };
    definition.tags.clone_from(&entry.tags);
    if let Some(tag) = definition.tags.get_mut(POLICY_TAG) {
        *tag = entry.policy.to_string();
    }
    let description = TableDescription {
        id: entry.id,
        definition,
        status: match entry.status {
            system::TableStatus::Creating => TableStatus::Creating,
            system::TableStatus::Active if entry.moving.is_some() => TableStatus::Updating,
            system::TableStatus::Active => TableStatus::Active,
            system::TableStatus::Deleting => TableStatus::Deleting,
        },
        created_ms: entry.created_ms,
        time_to_live: system.time_to_live(entry.id).cloned(),
        item_count: 0,
        size_bytes: 0,
    };
    let (policy, arrived) = (entry.policy.clone(), Arc::new(entry.arrived.clone()));
    let conflict = system.policies.get(&policy).and_then(|entry| entry.policy.conflict);
    let rules = conflict.map(|conflict| Arc::new(rules(conflict, &entry.tags)));
    let residency = entry.residency().map(|(prefix, policy)| (prefix.to_owned(), policy)).collect();
    let (description, residency) = (Arc::new(description), Arc::new(residency));
    let table = CatalogTable { description, policy, home: entry.home, residency, rules, arrived };
    Some((entry.name.clone(), table))
}

/// The newest [`Catalog`], made once for each version of the system state.
#[derive(Debug)]
pub struct Catalogs {
    system: watch::Receiver<Arc<SystemState>>,
    newest: RwLock<Arc<Catalog>>,
}

impl Catalogs {
    /// Follows the system state.
    #[must_use]
    pub fn new(system: watch::Receiver<Arc<SystemState>>) -> Self {
        let catalog = Arc::new(Catalog::new(Arc::clone(&system.borrow())));
        Self { system, newest: RwLock::new(catalog) }
    }

    /// The catalog of the newest state.
    #[must_use]
    pub fn newest(&self) -> Arc<Catalog> {
        let state = Arc::clone(&self.system.borrow());
        {
            let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&newest.system, &state) {
                return Arc::clone(&newest);
            }
        }
        let catalog = Arc::new(Catalog::new(state));
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&catalog);
        catalog
    }
}
