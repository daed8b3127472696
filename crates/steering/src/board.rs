//! What all observers say, kept by the judge.
//!
//! Every node reports all that it observes, again and again; a report replaces the one before. What was said last stands until it
//! is stale, so a judge that hears nobody goes on by what it sees itself.

use crate::verdict::{Judged, Opinion, VerdictRules, judge};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::{Backend, NodeId, RegionName, ServiceName};
use serde::{Deserialize, Serialize};

/// The longest detail that is kept of an observation, in bytes.
pub const MAX_DETAIL: usize = 120;
/// The most observations of a report that are kept.
pub const MAX_OBSERVATIONS: usize = 2_048;

/// What is observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// The Meridian nodes of a region.
    Region(RegionName),
    /// One backend of a service.
    Backend {
        /// The service.
        service: ServiceName,
        /// Where it is.
        region: RegionName,
        /// Which one.
        backend: Backend,
    },
}

/// What an observer says of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Whether it finds it up.
    pub up: bool,
    /// Failed requests of real traffic, in thousandths; `None` when there was too little of it.
    pub error_permille: Option<u16>,
    /// Why, in a few words; empty when there is nothing to say.
    pub detail: String,
}

/// All that one observer says.
pub type Report = Vec<(Target, Observation)>;

#[derive(Clone, Debug)]
struct Heard {
    region: RegionName,
    at_ms: u64,
    observations: BTreeMap<Target, Observation>,
}

/// A verdict on one target, with its evidence and the words of those who find fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict and who said what.
    pub judged: Judged,
    /// Why, by the region that says so.
    pub details: BTreeMap<RegionName, String>,
}

/// The last report of every node.
#[derive(Clone, Debug, Default)]
pub struct Board {
    reports: BTreeMap<NodeId, Heard>,
}

impl Board {
    /// Takes in a report of a node that stands in `region`. Answers whether it says anything new.
    pub fn hear(&mut self, node: NodeId, region: RegionName, report: Report, now_ms: u64) -> bool {
        let bounded = report.into_iter().take(MAX_OBSERVATIONS).map(|(target, mut said)| {
            let end =
                (0..=MAX_DETAIL.min(said.detail.len())).rev().find(|end| said.detail.is_char_boundary(*end));
            said.detail.truncate(end.unwrap_or(0));
            (target, said)
        });
        let observations: BTreeMap<Target, Observation> = bounded.collect();
        let said_before = self.reports.get(&node).map(|before| &before.observations);
        let new = said_before != Some(&observations);
        self.reports.insert(node, Heard { region, at_ms: now_ms, observations });
        new
    }

    /// Forgets nodes that are not among these.
    pub fn keep(&mut self, nodes: &BTreeSet<NodeId>) {
        self.reports.retain(|node, _| nodes.contains(node));
    }

    /// Judges a target by what observers in these regions say. A region with several nodes finds it down when most of those that
    /// speak do.
    #[must_use]
    pub fn judge(
        &self,
        target: &Target,
        observers: &BTreeSet<RegionName>,
        now_ms: u64,
        rules: &VerdictRules,
    ) -> Ruling {
        let mut opinions = BTreeMap::new();
        let mut details = BTreeMap::new();
        for region in observers {
            let said: Vec<(&Heard, &Observation)> = self
                .reports
                .values()
                .filter(|heard| heard.region == *region)
                .filter(|heard| now_ms.saturating_sub(heard.at_ms) <= rules.stale_after_ms)
                .filter_map(|heard| Some((heard, heard.observations.get(target)?)))
                .collect();
            let down = said.iter().filter(|(_, said)| !said.up).count();
            let opinion = said.iter().map(|(heard, _)| heard.at_ms).max().map(|at_ms| Opinion {
                up: down * 2 <= said.len(),
                error_permille: said.iter().filter_map(|(_, said)| said.error_permille).max(),
                at_ms,
            });
            opinions.insert(region.clone(), opinion);
            let fault = |said: &&(&Heard, &Observation)| !said.1.detail.is_empty();
            if let Some((_, said)) = said.iter().find(fault) {
                details.insert(region.clone(), said.detail.clone());
            }
        }
        Ruling { judged: judge(&opinions, now_ms, rules), details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn says(up: bool, detail: &str) -> Report {
        [(Target::Region(region("t")), Observation { up, error_permille: None, detail: detail.into() })]
            .into()
    }

    fn ruling(board: &Board, now_ms: u64) -> Ruling {
        let observers = ["a", "b", "c"].map(region).into();
        board.judge(&Target::Region(region("t")), &observers, now_ms, &VerdictRules::default())
    }

    #[test]
    fn the_last_report_stands_until_it_is_stale() {
        let mut board = Board::default();
        board.hear(NodeId(1), region("a"), says(true, ""), 0);
        board.hear(NodeId(2), region("b"), says(false, "refused"), 0);
        board.hear(NodeId(3), region("c"), says(false, "timed out"), 0);
        let found = ruling(&board, 10);
        assert_eq!(found.judged.verdict, Verdict::Lost);
        assert_eq!(found.details[&region("b")], "refused");
        assert_eq!(ruling(&board, 20_000).judged.verdict, Verdict::Degraded, "nobody speaks");
        board.hear(NodeId(2), region("b"), says(true, ""), 20);
        assert_eq!(ruling(&board, 30).judged.verdict, Verdict::Healthy, "one of three is not believed");
        board.keep(&[NodeId(3)].into());
        assert_eq!(ruling(&board, 30).judged.verdict, Verdict::Degraded, "alone it loses nothing");
    }

    #[test]
    fn several_nodes_of_a_region_are_one_observer() {
        let mut board = Board::default();
        board.hear(NodeId(1), region("a"), says(false, "x"), 0);
        board.hear(NodeId(2), region("a"), says(false, "y"), 0);
        board.hear(NodeId(3), region("a"), says(true, ""), 0);
        board.hear(NodeId(4), region("b"), says(true, ""), 0);
        let found = ruling(&board, 0);
        assert_eq!(found.judged.evidence.down, [region("a")]);
        assert_eq!(found.judged.verdict, Verdict::Degraded);
    }

    #[test]
    fn words_are_cut_where_a_character_ends() {
        let mut board = Board::default();
        board.hear(NodeId(1), region("a"), says(false, &"ü".repeat(1_000)), 0);
        assert_eq!(ruling(&board, 0).details[&region("a")].len(), MAX_DETAIL);
    }
}
