//! Checks of single reads against what came before them: staleness, sessions and tokens.
//!
//! A read is reported only when it is certainly older than it may be; of two writes that overlapped either may be the later.

use crate::operation::{Call, ClientId, Consistency, History, Key, OpId, Operation, Outcome, Reply, Value};
use crate::order::{Cursor, Writes};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A read that broke its client's session or its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionViolation {
    /// The client did not see its own acknowledged write.
    #[error("{read} does not show {write} of the same client")]
    ReadYourWrites {
        /// The read.
        read: OpId,
        /// The client's earlier write.
        write: OpId,
    },
    /// The client saw an older state than it had seen before.
    #[error("{read} shows an older state than {earlier} of the same client")]
    MonotonicReads {
        /// The read.
        read: OpId,
        /// The client's earlier read.
        earlier: OpId,
    },
    /// The read was older than a write whose token it carried.
    #[error("{read} does not show {write}, whose token it carried")]
    StaleToken {
        /// The read.
        read: OpId,
        /// The write.
        write: OpId,
    },
}

/// All answered reads with what they saw, by time of sending.
fn reads(history: &History) -> Vec<(OpId, &Operation, Consistency, Option<Value>)> {
    let mut reads: Vec<_> = history
        .iter()
        .filter_map(|(id, op)| match (&op.call, op.outcome) {
            (Call::Read(consistency), Outcome::Ok(Reply::Saw(seen))) => Some((id, op, *consistency, seen)),
            _ => None,
        })
        .collect();
    reads.sort_by_key(|(id, op, ..)| (op.invoked, *id));
    reads
}

/// Consistent reads that show less than had been acknowledged before they were sent, each with a write that it misses.
#[must_use]
pub fn stale_reads(history: &History) -> Vec<(OpId, OpId)> {
    let writes = Writes::of(history);
    let mut cursors: BTreeMap<&Key, Cursor<'_>> = BTreeMap::new();
    let mut stale = Vec::new();
    for (read, op, consistency, seen) in reads(history) {
        let cursor =
            cursors.entry(&op.key).or_insert_with(|| Cursor::new(writes.acknowledged(&op.key).to_vec()));
        if let Some((id, write)) = cursor.before(op.invoked)
            && consistency == Consistency::Consistent
            && writes.misses(&op.key, seen, write)
        {
            stale.push((read, id));
        }
    }
    stale
}

/// Reads of any consistency that break read-your-writes or monotonic reads of their client, or the tokens they carried.
///
/// Meant for clients that hand on their tokens or stick to a region; a plain eventual read promises none of this.
#[must_use]
pub fn session_violations(history: &History) -> Vec<SessionViolation> {
    let writes = Writes::of(history);
    let mut found = Vec::new();
    let mut own = own_writes(history);
    let mut last_read: BTreeMap<(ClientId, &Key), (OpId, Value)> = BTreeMap::new();
    for (read, op, _, seen) in reads(history) {
        let session = (op.client, &op.key);
        // A client does one thing after another, so a write that returned in the same nanosecond came before.
        let own_write = own.get_mut(&session).and_then(|cursor| cursor.before(op.invoked.saturating_add(1)));
        if let Some((write, _)) = own_write.filter(|(_, write)| writes.misses(&op.key, seen, write)) {
            found.push(SessionViolation::ReadYourWrites { read, write });
        }
        if let Some((earlier, value)) = last_read.get(&session).copied()
            && let Some((_, known)) = writes.writer(&op.key, value)
            && writes.misses(&op.key, seen, known)
        {
            found.push(SessionViolation::MonotonicReads { read, earlier });
        }
        if let Some(value) = seen {
            last_read.insert(session, (read, value));
        }
        for carried in &op.after {
            let write = history.get(*carried).filter(|write| write.key == op.key && write.is_acknowledged());
            if write.is_some_and(|write| write.written().is_some() && writes.misses(&op.key, seen, write)) {
                found.push(SessionViolation::StaleToken { read, write: *carried });
            }
        }
    }
    found
}

/// Each session's acknowledged register writes, per key.
fn own_writes(history: &History) -> BTreeMap<(ClientId, &Key), Cursor<'_>> {
    let mut own: BTreeMap<_, Vec<(OpId, &Operation)>> = BTreeMap::new();
    for (id, op) in history.iter().filter(|(_, op)| op.is_acknowledged() && op.written().is_some()) {
        own.entry((op.client, &op.key)).or_default().push((id, op));
    }
    own.into_iter().map(|(session, writes)| (session, Cursor::new(writes))).collect()
}
