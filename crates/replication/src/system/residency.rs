//! Where items may be by the beginning of their keys: tags of a table send them to the groups of other policies.

use super::state::{PolicyEntry, SystemState, TableEntry};
use meridian_types::{GroupId, PolicyName};

/// A tag that begins so names the policy of the items whose partition key begins with what follows.
pub const RESIDENCY_TAG: &str = "meridian:residency:";

impl TableEntry {
    /// The rules: (beginning of the partition key, policy), a longer beginning before a shorter one that it begins with.
    pub fn residency(&self) -> impl Iterator<Item = (&str, PolicyName)> {
        // Tags are in the order of their text, so from the back the longer one comes first.
        let tags = self.tags.iter().rev();
        tags.filter_map(|(tag, policy)| {
            Some((tag.strip_prefix(RESIDENCY_TAG)?, PolicyName::new(policy).ok()?))
        })
    }

    /// The policies that decide where items of the table are: its own first, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyName> {
        let mut all = vec![self.policy.clone()];
        for (_, policy) in self.residency() {
            if !all.contains(&policy) {
                all.push(policy);
            }
        }
        all
    }
}

impl SystemState {
    /// The policies of a table, its own first.
    pub fn policies_of<'a>(&'a self, table: &TableEntry) -> impl Iterator<Item = &'a PolicyEntry> {
        table.policies().into_iter().filter_map(|name| self.policies.get(&name))
    }

    /// The groups that hold items of a table.
    #[must_use]
    pub fn groups_of(&self, table: &TableEntry) -> Vec<GroupId> {
        self.policies_of(table).flat_map(|entry| entry.groups.iter().copied()).collect()
    }
}
