//! Residency of single items: the beginning of a key sends an item to the groups of another policy, and a node outside that policy's regions
//! takes no request for it.

use super::catalog::{Catalog, CatalogTable};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::{KeyKind, TableSchema};
use meridian_replication::system::{RESIDENCY_TAG, SystemState};
use meridian_types::{PolicyName, RegionName};
use std::collections::BTreeMap;

/// The most rules of a table; each costs a look at every request.
const MAX_RULES: usize = 16;

impl CatalogTable {
    /// The policy that decides where the items of a partition key are.
    ///
    /// # Errors
    /// `ValidationException` when a rule keeps them in regions of which this node's is none.
    pub(super) fn policy_of(
        &self,
        catalog: &Catalog,
        here: &RegionName,
        partition: &[u8],
    ) -> Result<&PolicyName, DynamoError> {
        let Some((prefix, policy)) =
            self.residency.iter().find(|(prefix, _)| partition.starts_with(prefix.as_bytes()))
        else {
            return Ok(&self.policy);
        };
        match catalog.system.policies.get(policy) {
            Some(entry) if !entry.policy.regions.contains(here) => {
                let regions: Vec<&str> = entry.policy.regions.iter().map(RegionName::as_str).collect();
                Err(DynamoError::validation(format!(
                    "Residency: keys that begin with {prefix:?} stay in the regions of policy {policy}, {}; this node is in \
                     {here}. Send the request to one of those.",
                    regions.join(", ")
                )))
            }
            _ => Ok(policy),
        }
    }

    /// The policies whose items a scan through this node shows: the table's own, and those whose regions this node's is among.
    pub(super) fn policies_shown<'a>(&'a self, catalog: &Catalog, here: &RegionName) -> Vec<&'a PolicyName> {
        let mut all = vec![&self.policy];
        for (_, policy) in self.residency.iter() {
            let entry = catalog.system.policies.get(policy);
            if !all.contains(&policy) && entry.is_some_and(|entry| entry.policy.regions.contains(here)) {
                all.push(policy);
            }
        }
        all
    }
}

/// Refuses rules that cannot be kept.
///
/// # Errors
/// `ValidationException`, with what to change.
pub(super) fn check_residency(
    state: &SystemState,
    own: &PolicyName,
    schema: &TableSchema,
    tags: &BTreeMap<String, String>,
) -> Result<(), DynamoError> {
    let rules: Vec<_> = tags.iter().filter(|(tag, _)| tag.starts_with(RESIDENCY_TAG)).collect();
    if rules.is_empty() {
        return Ok(());
    }
    if schema.partition.kind != KeyKind::S {
        return Err(DynamoError::validation(format!(
            "{RESIDENCY_TAG} goes by the beginning of the partition key, which must be a string (S) for that"
        )));
    }
    if rules.len() > MAX_RULES {
        return Err(DynamoError::validation(format!(
            "a table has at most {MAX_RULES} tags {RESIDENCY_TAG}*"
        )));
    }
    let conflict_of = |name: &PolicyName| state.policies.get(name).map(|entry| entry.policy.conflict);
    for (tag, text) in rules {
        let name = PolicyName::new(text).ok();
        let Some(conflict) = name.as_ref().and_then(conflict_of) else {
            return Err(DynamoError::validation(format!("{tag} names policy {text:?}, which there is not")));
        };
        if Some(conflict) != conflict_of(own) {
            return Err(DynamoError::validation(format!(
                "{tag} names policy {text}, whose conflict rule is not that of the table's policy {own}; items of one table merge alike"
            )));
        }
    }
    Ok(())
}
