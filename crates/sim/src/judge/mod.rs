//! The judges of a run: what a client, a disk or an onlooker could hold against the cluster.

pub mod durable;
pub mod lists;
pub mod monitor;
pub mod panics;
pub mod replicas;

use crate::workload::Notes;
use meridian_history::{FinalState, check_final, check_linearizable, session_violations, stale_reads};

/// How much the search for an order may remember, per key.
const BUDGET: usize = 400_000;

/// All that the clients' notes and the final state show to be wrong.
#[must_use]
pub fn judge(notes: &Notes, state: &FinalState) -> Vec<String> {
    let noted = notes.lock();
    let history = &noted.history;
    let mut wrong = noted.broken.clone();
    wrong.extend(check_final(history, state).iter().map(|found| format!("final state: {found}")));
    wrong.extend(stale_reads(history).iter().map(|(read, write)| {
        format!("stale consistent read: {} misses {}", history.describe(*read), history.describe(*write))
    }));
    wrong.extend(session_violations(history).iter().map(|found| format!("session: {found}")));
    let verdict = check_linearizable(history, BUDGET);
    wrong.extend(
        verdict.violations.iter().map(|(_, op)| format!("not linearizable at {}", history.describe(*op))),
    );
    wrong.extend(lists::check(history, &noted.list_reads, state));
    wrong
}
