//! Coverage: the rare paths that a run of many seeds should have taken.

use std::collections::BTreeMap;

/// Paths that a hundred seeds reach between them. A run that misses one tests less than it seems to.
pub const EXPECTED: [&str; 32] = [
    "a consistent read had to renew the lease first",
    "a consistent read waited for the commit rule",
    "a consistent read was refused after it was evaluated",
    "a consistent read was refused for want of a lease",
    "a damaged replica was thrown away",
    "a failed sync stopped a node",
    "a hand-over was given up",
    "a leader with a hanging disk was silent",
    "a log was kept for a member that is brought up",
    "a lost region was required again",
    "a member stood for election",
    "a new leader knew where a voter's log ends",
    "a pre-vote waited for the end of a lease",
    "a read with a token went to the leader",
    "a region was given up by policy",
    "a region was recorded as lost",
    "a seed founded its group anew",
    "a silent link was cut",
    "a snapshot was installed",
    "a vote was refused by a replica that had lost entries",
    "a vote was refused, because a lease runs",
    "a write that came again was answered from memory",
    "a write was refused for lack of space",
    "a write was refused for want of a region lease",
    "a write was refused, because the policy blocks without a lost region",
    "a write was sent again with its id",
    "an append was refused for lack of space",
    "an applied write was not answered, because leadership was lost at the gate",
    "an operator gave a region up",
    "an operator made another region primary",
    "leadership was offered to another node",
    "writes that a new incarnation lacks were kept",
];

/// As [`EXPECTED`], of runs with tables.
pub const EXPECTED_OF_TABLES: [&str; 20] = [
    "a mover began while its table was switching",
    "a mover found everything brought already",
    "a mover went on where another had ended",
    "a move that did not switch in time was cancelled",
    "a read came to a group that its table leaves or has left",
    "a region was expelled",
    "a region was not expelled, because it answers",
    "a table moved to another policy",
    "a table moved to where every region writes",
    "a table's move ended as a group was founded anew",
    "a table's move ended under another leader than it began",
    "a table's move that began under a fault came to its end",
    "a write came to a group that its table leaves or has left",
    "an expelled region was taken back",
    "an expelled region was taken back under a fault",
    "an item that only an expelled or lost region had was in the salvage",
    "an operator took a table's move back",
    "replicas were not looked at together, because one lacked what a fence names",
    "the groups of an expelled region were founded anew",
    "writes that a new incarnation lacks were kept",
];

/// The expected paths that were never taken, in runs with tables or without.
#[must_use]
pub fn missed(marks: &BTreeMap<&'static str, u64>, tables: bool) -> Vec<&'static str> {
    let expected: &[&str] = if tables { &EXPECTED_OF_TABLES } else { &EXPECTED };
    expected.iter().copied().filter(|path| !marks.contains_key(path)).collect()
}
