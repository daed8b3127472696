//! Linearizability of lists that only grow: the list at the end is the order of the appends, so every read must be a beginning
//! of it that respects real time.

use crate::workload::ListRead;
use meridian_history::{Call, FinalState, History, Key, Value};
use std::collections::BTreeMap;

/// What is wrong with consistent reads and the order of appends; losses and duplicates are for others to find.
#[must_use]
pub fn check(history: &History, reads: &[ListRead], state: &FinalState) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, list) in &state.lists {
        let places: BTreeMap<Value, usize> = list.iter().enumerate().map(|(n, value)| (*value, n)).collect();
        wrong.extend(check_order(history, key, &places));
        for read in reads.iter().filter(|read| read.key == *key) {
            wrong.extend(check_read(history, read, list, &places));
        }
        wrong.extend(check_pairs(key, reads));
    }
    wrong
}

/// An append that was acknowledged before another was sent stands before it.
fn check_order(history: &History, key: &Key, places: &BTreeMap<Value, usize>) -> Vec<String> {
    let mut appends: Vec<(usize, u64, u64, bool)> = Vec::new();
    for (_, op) in history.iter().filter(|(_, op)| op.key == *key) {
        if let Call::Append(value) = op.call
            && let Some(place) = places.get(&value)
        {
            appends.push((*place, op.invoked, op.returned, op.is_acknowledged()));
        }
    }
    appends.sort_unstable();
    let mut latest_invoked = 0;
    let mut wrong = Vec::new();
    for (place, invoked, returned, acknowledged) in appends {
        if acknowledged && returned < latest_invoked {
            wrong.push(format!(
                "list {key}: the append at {place} was answered before an earlier one was sent"
            ));
        }
        latest_invoked = latest_invoked.max(invoked);
    }
    wrong
}

fn check_read(
    history: &History,
    read: &ListRead,
    list: &[Value],
    places: &BTreeMap<Value, usize>,
) -> Option<String> {
    let (key, seen) = (&read.key, read.values.len());
    if list.get(..seen) != Some(&read.values[..]) {
        return Some(format!("list {key}: a consistent read at {} saw another list", read.invoked));
    }
    for (id, op) in history.iter().filter(|(_, op)| op.key == *key) {
        let Call::Append(value) = op.call else { continue };
        let place = places.get(&value).copied();
        let acknowledged_before = op.is_acknowledged() && op.returned < read.invoked;
        if acknowledged_before && place.is_some_and(|place| place >= seen) {
            return Some(format!(
                "list {key}: a consistent read at {} misses {}",
                read.invoked,
                history.describe(id)
            ));
        }
        if op.invoked > read.returned && place.is_some_and(|place| place < seen) {
            return Some(format!(
                "list {key}: a read at {} saw the future {}",
                read.invoked,
                history.describe(id)
            ));
        }
    }
    None
}

/// A read that began after another had returned saw no less.
fn check_pairs(key: &Key, reads: &[ListRead]) -> Vec<String> {
    let mut by_return: Vec<&ListRead> = reads.iter().filter(|read| read.key == *key).collect();
    let mut by_start = by_return.clone();
    by_return.sort_by_key(|read| read.returned);
    by_start.sort_by_key(|read| read.invoked);
    let mut done = by_return.into_iter().peekable();
    let mut most = 0;
    let mut wrong = Vec::new();
    for read in by_start {
        while let Some(earlier) = done.next_if(|earlier| earlier.returned < read.invoked) {
            most = most.max(earlier.values.len());
        }
        if read.values.len() < most {
            wrong.push(format!("list {key}: a read at {} saw less than an earlier one", read.invoked));
        }
    }
    wrong
}
