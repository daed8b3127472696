//! Policies: what a table asks of replication, and the checks that make a policy meaningful.

use crate::name::{PolicyName, RegionName};
use crate::span::Span;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Who takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// The primary region takes writes; other regions stand by and may serve reads.
    ActivePassive,
    /// Every region takes writes; concurrent ones meet by the conflict rule.
    ActiveActive,
    /// Reads are served by the nearest region, writes by the primary region.
    ReadLocal,
}

/// What the leader waits for before it answers a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replication {
    /// Every required region has the write on disk.
    Sync,
    /// At least one other data region has the write on disk.
    SemiSync,
    /// The local region has the write on disk.
    Async,
}

/// What concurrent writes to one item mean in an active-active table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictRule {
    /// The later write of each attribute wins.
    Lww,
    /// Concurrent writes are kept until the application resolves them.
    Merge,
    /// Counters and sets merge by themselves.
    Crdt,
}

/// What a `sync` policy does when a region that it requires is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRegionLoss {
    /// Record the loss and go on without the region.
    #[default]
    Degrade,
    /// Refuse writes until the region is back.
    Block,
}

/// Whether leadership goes back by itself to a primary region that was lost and is well again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failback {
    /// It does, once the region has been well for a while.
    #[default]
    Auto,
    /// It stays where a failover has brought it; that region is the first primary from then on.
    Manual,
}

macro_rules! display_as {
    ($name:ident { $($variant:ident => $text:literal),+ }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}
display_as!(Pattern { ActivePassive => "active-passive", ActiveActive => "active-active", ReadLocal => "read-local" });
display_as!(Replication { Sync => "sync", SemiSync => "semi-sync", Async => "async" });
display_as!(ConflictRule { Lww => "lww", Merge => "merge", Crdt => "crdt" });
display_as!(Failback { Auto => "auto", Manual => "manual" });
display_as!(OnRegionLoss { Degrade => "degrade", Block => "block" });

/// Groups of a policy that does not say how many it wants.
pub const DEFAULT_GROUPS: u32 = 4;
/// How long a region must have been silent before a policy with `auto_failover` gives it up.
pub const DEFAULT_FAILOVER_AFTER: Span = Span::from_millis(10_000);
/// The most groups one policy may own.
pub const MAX_GROUPS: u32 = 256;

fn default_groups() -> u32 {
    DEFAULT_GROUPS
}

/// A named combination of pattern, replication, conflict rule, regions and primary preference.
///
/// The serialised form is the `[[policy]]` table of the configuration; unknown fields are errors there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name that tables refer to.
    pub name: PolicyName,
    /// Who takes writes.
    pub pattern: Pattern,
    /// What an acknowledgement means.
    pub replication: Replication,
    /// The regions that may hold the data, and no others.
    pub regions: Vec<RegionName>,
    /// Regions that should lead, best first; those not listed follow in the order of `regions`.
    #[serde(default)]
    pub primary: Vec<RegionName>,
    /// A region that votes without holding data, for policies of two data regions.
    #[serde(default)]
    pub witness: Option<RegionName>,
    /// How many groups share the items; of an active-active policy, those of each origin region.
    #[serde(default = "default_groups")]
    pub groups: u32,
    /// What to do when a required region is lost (`sync` only).
    #[serde(default)]
    pub on_region_loss: Option<OnRegionLoss>,
    /// What concurrent writes mean (`active-active` only).
    #[serde(default)]
    pub conflict: Option<ConflictRule>,
    /// Whether a lost primary region is replaced without an operator, and what it had not replicated put aside (`async` only).
    #[serde(default)]
    pub auto_failover: bool,
    /// How long a region must have been silent before that; [`DEFAULT_FAILOVER_AFTER`] unless told.
    #[serde(default)]
    pub failover_after: Option<Span>,
    /// The oldest write that may be on one region's disks alone: past it writes are refused, retryably (`async` only).
    #[serde(default)]
    pub max_lag: Option<Span>,
    /// What happens when a lost primary region is well again; [`Failback::Auto`] unless told.
    #[serde(default)]
    pub failback: Option<Failback>,
}

/// Why a policy was refused. Each message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No region at all.
    #[error("policy {0}: `regions` is empty; name at least one region")]
    NoRegions(PolicyName),
    /// A region listed twice.
    #[error("policy {0}: region {1} is listed twice in `{2}`; remove one")]
    Duplicate(PolicyName, RegionName, &'static str),
    /// A region that the cluster does not have.
    #[error("policy {0}: region {1} is not in this cluster; it has {2}")]
    UnknownRegion(PolicyName, RegionName, String),
    /// A primary outside the policy's regions.
    #[error("policy {0}: primary region {1} is not one of `regions`; add it there or choose another primary")]
    PrimaryOutside(PolicyName, RegionName),
    /// A witness that holds data.
    #[error("policy {0}: witness {1} is one of `regions`; a witness holds no data, so name another region")]
    WitnessHoldsData(PolicyName, RegionName),
    /// A witness with a number of data regions that needs none.
    #[error("policy {0}: a witness is for two data regions; this policy has {1}; remove `witness`")]
    WitnessNotNeeded(PolicyName, usize),
    /// Two data regions without a third vote.
    #[error(
        "policy {0}: {1} over two regions cannot survive losing one without a third vote; \
         add `witness = \"REGION\"` or a third region"
    )]
    WitnessNeeded(PolicyName, Replication),
    /// Too few regions for the replication mode.
    #[error("policy {0}: {1} needs at least two regions; add one or use `replication = \"async\"`")]
    TooFewRegions(PolicyName, Replication),
    /// The group count is out of range.
    #[error("policy {0}: `groups` is {1}; it must be 1 to {MAX_GROUPS}")]
    Groups(PolicyName, u32),
    /// The groups of all origins are too many.
    #[error(
        "policy {0}: `groups` is {1}, for each of {2} regions; all together must be at most {MAX_GROUPS}, so lower it"
    )]
    OriginGroups(PolicyName, u32, usize),
    /// A conflict rule where there can be no conflicts.
    #[error(
        "policy {0}: `conflict` is for active-active policies; remove it or set `pattern = \"active-active\"`"
    )]
    ConflictNotAllowed(PolicyName),
    /// An active-active policy without a conflict rule.
    #[error("policy {0}: active-active needs `conflict = \"lww\"`, \"merge\" or \"crdt\"")]
    ConflictMissing(PolicyName),
    /// Active-active and sync at once.
    #[error(
        "policy {0}: active-active cannot be sync, since every region answers on its own; \
         use `replication = \"semi-sync\"` or \"async\""
    )]
    ActiveActiveSync(PolicyName),
    /// `on_region_loss` on a policy that waits for no particular region.
    #[error("policy {0}: `on_region_loss` is for sync policies; remove it or set `replication = \"sync\"`")]
    RegionLossNotAllowed(PolicyName),
    /// `primary` on a policy that has none.
    #[error("policy {0}: `primary` has no meaning in an active-active policy; remove it")]
    PrimaryNotAllowed(PolicyName),
    /// A field about the loss of acknowledged writes on a policy that loses none.
    #[error(
        "policy {0}: `{1}` is for async policies of one primary region and several regions; remove it, or set \
         `replication = \"async\"`"
    )]
    AsyncOnly(PolicyName, &'static str),
    /// `failover_after` where nothing fails over by itself.
    #[error(
        "policy {0}: `failover_after` does nothing without `auto_failover = true`; set that or remove it"
    )]
    FailoverAfterAlone(PolicyName),
}

impl Policy {
    /// The policies that every cluster has, over `regions` in order: the first is the primary.
    #[must_use]
    pub fn built_in(regions: &[RegionName], witness: Option<&RegionName>) -> Vec<Policy> {
        use ConflictRule::{Crdt, Lww, Merge};
        use Pattern::{ActiveActive, ActivePassive, ReadLocal};
        use Replication::{Async, SemiSync, Sync};
        // With one region every mode is the same: on the disks of that region.
        let wide = |mode| if regions.len() < 2 { Async } else { mode };
        [
            ("active-passive-sync", ActivePassive, wide(Sync), None),
            ("active-passive-semi-sync", ActivePassive, wide(SemiSync), None),
            ("active-passive-async", ActivePassive, Async, None),
            ("read-local", ReadLocal, wide(SemiSync), None),
            ("active-active-lww", ActiveActive, Async, Some(Lww)),
            ("active-active-merge", ActiveActive, Async, Some(Merge)),
            ("active-active-crdt", ActiveActive, Async, Some(Crdt)),
        ]
        .into_iter()
        .filter_map(|(name, pattern, replication, conflict)| {
            let single_primary = pattern != ActiveActive;
            Some(Policy {
                name: PolicyName::new(name).ok()?,
                pattern,
                replication,
                regions: regions.to_vec(),
                primary: regions.iter().take(1).filter(|_| single_primary).cloned().collect(),
                witness: witness.filter(|_| replication != Async && regions.len() == 2).cloned(),
                groups: DEFAULT_GROUPS,
                on_region_loss: (replication == Sync).then_some(OnRegionLoss::Degrade),
                conflict,
                auto_failover: false,
                failover_after: None,
                max_lag: None,
                failback: None,
            })
        })
        .collect()
    }

    /// How long a lost region must have been silent before its groups are re-founded without an operator; `None`
    /// when an operator decides.
    #[must_use]
    pub fn automatic_after(&self) -> Option<Span> {
        self.auto_failover.then(|| self.failover_after.unwrap_or(DEFAULT_FAILOVER_AFTER))
    }

    /// Every region that votes or holds data.
    pub fn all_regions(&self) -> impl Iterator<Item = &RegionName> {
        self.regions.iter().chain(&self.witness)
    }

    /// How many groups the policy owns: [`Policy::groups`], and of an active-active one as many for each region.
    #[must_use]
    pub fn group_count(&self) -> u32 {
        let origins = if self.pattern == Pattern::ActiveActive { self.regions.len() } else { 1 };
        self.groups.saturating_mul(u32::try_from(origins).unwrap_or(u32::MAX))
    }

    /// The region whose writes the group of this ordinal takes, of an active-active policy: those of the first region come first.
    #[must_use]
    pub fn origin(&self, ordinal: u32) -> Option<&RegionName> {
        let index = ordinal.checked_div(self.groups)?;
        let active = self.pattern == Pattern::ActiveActive;
        self.regions.get(index as usize).filter(|_| active)
    }

    /// Regions in the order in which they should lead.
    #[must_use]
    pub fn primary_order(&self) -> Vec<RegionName> {
        let rest = self.regions.iter().filter(|region| !self.primary.contains(region));
        self.primary.iter().chain(rest).cloned().collect()
    }

    /// Checks the policy against itself and the regions of the cluster.
    ///
    /// # Errors
    /// All that is wrong, not just the first thing, each with what to change.
    pub fn validate(&self, cluster: &BTreeSet<RegionName>) -> Result<(), Vec<PolicyError>> {
        let name = || self.name.clone();
        let mut errors = Vec::new();
        let data_regions = self.regions.len();
        if data_regions == 0 {
            errors.push(PolicyError::NoRegions(name()));
        }
        for (list, field) in [(&self.regions, "regions"), (&self.primary, "primary")] {
            let mut seen = BTreeSet::new();
            for region in list {
                if !seen.insert(region) {
                    errors.push(PolicyError::Duplicate(name(), region.clone(), field));
                }
            }
        }
        for region in self.all_regions().filter(|region| !cluster.contains(*region)) {
            let known = cluster.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", ");
            errors.push(PolicyError::UnknownRegion(name(), region.clone(), known));
        }
        for region in self.primary.iter().filter(|region| !self.regions.contains(region)) {
            errors.push(PolicyError::PrimaryOutside(name(), region.clone()));
        }
        if !(1..=MAX_GROUPS).contains(&self.groups) {
            errors.push(PolicyError::Groups(name(), self.groups));
        } else if self.group_count() > MAX_GROUPS {
            errors.push(PolicyError::OriginGroups(name(), self.groups, data_regions));
        }
        self.validate_witness(data_regions, &mut errors);
        self.validate_pattern(&mut errors);
        self.validate_failover(&mut errors);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn validate_witness(&self, data_regions: usize, errors: &mut Vec<PolicyError>) {
        let wide = self.replication != Replication::Async;
        if wide && data_regions == 1 {
            errors.push(PolicyError::TooFewRegions(self.name.clone(), self.replication));
        }
        match &self.witness {
            Some(witness) if self.regions.contains(witness) => {
                errors.push(PolicyError::WitnessHoldsData(self.name.clone(), witness.clone()));
            }
            Some(_) if data_regions != 2 => {
                errors.push(PolicyError::WitnessNotNeeded(self.name.clone(), data_regions));
            }
            None if wide && data_regions == 2 => {
                errors.push(PolicyError::WitnessNeeded(self.name.clone(), self.replication));
            }
            _ => {}
        }
    }

    fn validate_pattern(&self, errors: &mut Vec<PolicyError>) {
        let name = || self.name.clone();
        if self.pattern == Pattern::ActiveActive {
            if self.conflict.is_none() {
                errors.push(PolicyError::ConflictMissing(name()));
            }
            if self.replication == Replication::Sync {
                errors.push(PolicyError::ActiveActiveSync(name()));
            }
            if !self.primary.is_empty() {
                errors.push(PolicyError::PrimaryNotAllowed(name()));
            }
        } else if self.conflict.is_some() {
            errors.push(PolicyError::ConflictNotAllowed(name()));
        }
        if self.on_region_loss.is_some() && self.replication != Replication::Sync {
            errors.push(PolicyError::RegionLossNotAllowed(name()));
        }
    }

    fn validate_failover(&self, errors: &mut Vec<PolicyError>) {
        let may_lose = self.replication == Replication::Async
            && self.pattern != Pattern::ActiveActive
            && self.regions.len() > 1;
        let asked = [
            ("auto_failover", self.auto_failover),
            ("failover_after", self.failover_after.is_some()),
            ("max_lag", self.max_lag.is_some()),
        ];
        for (field, _) in asked.into_iter().filter(|(_, set)| *set && !may_lose) {
            errors.push(PolicyError::AsyncOnly(self.name.clone(), field));
        }
        if may_lose && self.failover_after.is_some() && !self.auto_failover {
            errors.push(PolicyError::FailoverAfterAlone(self.name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn regions(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name).unwrap()).collect()
    }

    fn policy(text: &str) -> Policy {
        toml::from_str(text).unwrap()
    }

    fn errors(text: &str, cluster: &[&str]) -> Vec<String> {
        let cluster = regions(cluster).into_iter().collect();
        match policy(text).validate(&cluster) {
            Ok(()) => vec![],
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn built_in_policies_are_valid_on_one_to_five_regions() {
        for count in 1..=5usize {
            let all = regions(&["a", "b", "c", "d", "e"][..count]);
            let witness = RegionName::new("w").unwrap();
            let mut cluster: BTreeSet<_> = all.iter().cloned().collect();
            cluster.insert(witness.clone());
            for policy in Policy::built_in(&all, Some(&witness)) {
                assert_eq!(policy.validate(&cluster), Ok(()), "{policy:?}");
            }
        }
        assert_eq!(Policy::built_in(&regions(&["a", "b", "c"]), None).len(), 7);
    }

    #[test]
    fn the_example_of_the_reference_parses() {
        let text = r#"
            name = "eu-profiles"
            pattern = "active-passive"
            replication = "semi-sync"
            regions = ["eu-west-1", "eu-central-1"]
            primary = ["eu-west-1"]
            witness = "eu-north-1"
            groups = 4
        "#;
        assert_eq!(errors(text, &["eu-west-1", "eu-central-1", "eu-north-1"]), Vec::<String>::new());
        assert_eq!(policy(text).primary_order(), regions(&["eu-west-1", "eu-central-1"]));
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        let base = "name = 'p'\npattern = 'active-passive'\n";
        let cases = [
            ("replication = 'async'\nregions = []", "`regions` is empty"),
            ("replication = 'async'\nregions = ['a', 'a']", "listed twice"),
            ("replication = 'async'\nregions = ['z']", "not in this cluster"),
            ("replication = 'async'\nregions = ['a']\nprimary = ['b']", "not one of `regions`"),
            ("replication = 'sync'\nregions = ['a', 'b']", "cannot survive losing one without a third vote"),
            ("replication = 'semi-sync'\nregions = ['a']", "needs at least two regions"),
            ("replication = 'sync'\nregions = ['a', 'b']\nwitness = 'b'", "a witness holds no data"),
            (
                "replication = 'sync'\nregions = ['a', 'b', 'c']\nwitness = 'd'",
                "a witness is for two data regions",
            ),
            ("replication = 'async'\nregions = ['a']\ngroups = 0", "it must be 1 to 256"),
            ("replication = 'async'\nregions = ['a']\nconflict = 'lww'", "`conflict` is for active-active"),
            (
                "replication = 'async'\nregions = ['a']\non_region_loss = 'block'",
                "`on_region_loss` is for sync",
            ),
            (
                "replication = 'sync'\nregions = ['a', 'b', 'c']\nauto_failover = true",
                "`auto_failover` is for async policies",
            ),
            ("replication = 'async'\nregions = ['a']\nmax_lag = '5s'", "`max_lag` is for async policies"),
            (
                "replication = 'async'\nregions = ['a', 'b']\nfailover_after = '5s'",
                "does nothing without `auto_failover = true`",
            ),
        ];
        for (rest, expected) in cases {
            let found = errors(&(base.to_string() + rest), &["a", "b", "c", "d"]);
            assert!(found.iter().any(|text| text.contains(expected)), "{rest}: {found:?}");
        }
        let active = "name = 'p'\npattern = 'active-active'\nreplication = 'sync'\nregions = ['a', 'b', 'c']\nprimary = ['a']";
        let found = errors(active, &["a", "b", "c"]);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn failover_waits_ten_seconds_unless_told() {
        let base = "name = 'p'\npattern = 'active-passive'\nreplication = 'async'\nregions = ['a', 'b']\n";
        let after = |rest: &str| policy(&(base.to_string() + rest)).automatic_after();
        assert_eq!(after(""), None);
        assert_eq!(after("auto_failover = true"), Some(Span::from_millis(10_000)));
        assert_eq!(after("auto_failover = true\nfailover_after = '3s'"), Some(Span::from_millis(3_000)));
        assert_eq!(
            errors(&(base.to_string() + "auto_failover = true\nmax_lag = '5s'"), &["a", "b"]).len(),
            0
        );
    }

    #[test]
    fn unknown_fields_are_errors() {
        let text = "name = 'p'\npattern = 'read-local'\nreplication = 'async'\nregions = ['a']\nregoins = []";
        assert!(toml::from_str::<Policy>(text).unwrap_err().to_string().contains("unknown field `regoins`"));
    }
}
