//! Which groups an item of an active-active table is spread over, and by which rules they are merged.

use crate::tables::catalog::{Catalog, CatalogTable};
use meridian_dynamo::error::DynamoError;
use meridian_merge::{AttributeRule, Origin, Rules};
use meridian_replication::system::SystemState;
use meridian_types::{ConflictRule, GroupId, Position, RegionName};
use std::collections::BTreeMap;
use std::io;

/// A tag of a table that begins so declares the rule of the attribute that follows.
pub(in crate::tables) const MERGE_TAG: &str = "meridian:merge:";

/// The origins of one share of a table's items, as the node of one of them sees them.
#[derive(Clone, Debug)]
pub(in crate::tables) struct Origins<'a> {
    /// Whose group evaluates.
    pub(super) own: Origin,
    /// The groups of the others.
    pub(super) others: Vec<GroupId>,
    /// What concurrent writes mean.
    pub(super) rules: &'a Rules,
    /// The regions by the number of their origin.
    pub(super) regions: &'a [RegionName],
    /// The system state by which they are these.
    pub(super) system: &'a SystemState,
    /// What was there when the table came from another policy, if it did.
    pub(super) arrived: &'a BTreeMap<GroupId, Position>,
}

impl<'a> Origins<'a> {
    /// Those beside `group`; nothing when the group has its items to itself.
    ///
    /// # Errors
    /// When the group is not one of the table's, or not yet as far as this node knows.
    pub(in crate::tables) fn of(
        catalog: &'a Catalog,
        table: &'a CatalogTable,
        group: GroupId,
    ) -> io::Result<Option<Self>> {
        let strange = || io::Error::new(io::ErrorKind::NotFound, "the table does not live in this group");
        let info = catalog.system.groups.get(&group).ok_or_else(strange)?;
        if !catalog.system.is_active_active(info) {
            // Whether a table that has left is still asked for here, the group's own notes tell.
            return Ok(None);
        }
        let early = || io::Error::new(io::ErrorKind::NotConnected, "the table is not here yet; try again");
        let rules = table.rules.as_deref().ok_or_else(early)?;
        let policy = &info.policy;
        if *policy != table.policy && !table.residency.iter().any(|(_, named)| named == policy) {
            return Err(strange());
        }
        let entry = catalog.system.policies.get(policy).ok_or_else(strange)?;
        let at = entry.groups.iter().position(|of_policy| *of_policy == group).ok_or_else(strange)?;
        let count = usize::try_from(entry.policy.groups.max(1)).unwrap_or(1);
        let own = Origin(u16::try_from(at / count).map_err(|_| strange())?);
        let share = entry.groups.iter().skip(at % count).step_by(count).copied();
        let others = share.filter(|other| *other != group).collect();
        Ok(Some(Self {
            own,
            others,
            rules,
            regions: &entry.policy.regions,
            system: &catalog.system,
            arrived: &table.arrived,
        }))
    }

    /// The region of an origin.
    pub(super) fn region(&self, origin: Origin) -> Option<&'a RegionName> {
        self.regions.get(usize::from(origin.0))
    }
}

/// The rules of a table under a conflict rule, with those that its tags declare for single attributes.
pub(in crate::tables) fn rules(conflict: ConflictRule, tags: &BTreeMap<String, String>) -> Rules {
    let declared =
        tags.iter().filter_map(|(tag, rule)| Some((tag.strip_prefix(MERGE_TAG)?, attribute_rule(rule)?)));
    let attributes = declared.map(|(attribute, rule)| (attribute.to_owned(), rule)).collect();
    Rules { conflict, attributes }
}

fn attribute_rule(text: &str) -> Option<AttributeRule> {
    Some(match text {
        "max" => AttributeRule::Max,
        "min" => AttributeRule::Min,
        "union" => AttributeRule::Union,
        "sum" => AttributeRule::Sum,
        "keep-both" => AttributeRule::KeepBoth,
        _ => return None,
    })
}

/// Refuses tags that declare what there is not.
///
/// # Errors
/// `ValidationException`, with what there is.
pub(in crate::tables) fn check_rules(
    conflict: Option<ConflictRule>,
    tags: &BTreeMap<String, String>,
) -> Result<(), DynamoError> {
    for (tag, rule) in tags.iter().filter(|(tag, _)| tag.starts_with(MERGE_TAG)) {
        if conflict.is_none() {
            return Err(DynamoError::validation(format!(
                "{tag} declares how concurrent writes merge, and the table's policy is not active-active; remove the tag or choose \
                 an active-active policy"
            )));
        }
        if attribute_rule(rule).is_none() {
            return Err(DynamoError::validation(format!(
                "{tag} is {rule:?}; it must be max, min, union, sum or keep-both"
            )));
        }
    }
    Ok(())
}
