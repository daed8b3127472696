//! Coverage: the rare paths that a run of many seeds should have taken.

use std::collections::BTreeMap;

/// Paths that a hundred seeds reach between them. A run that misses one tests less than it seems to.
pub const EXPECTED: [&str; 31] = [
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

/// The expected paths that were never taken.
#[must_use]
pub fn missed(marks: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    EXPECTED.into_iter().filter(|path| !marks.contains_key(path)).collect()
}
