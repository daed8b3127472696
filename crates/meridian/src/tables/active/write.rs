//! Writes of active-active items, on the leader of the origin's group.

use super::Seen;
use super::beside::{Beside, encode, join};
use super::conflicts::{CONFLICTS, as_attribute, names};
use super::ledger;
use super::notes::{self, Note};
use super::origins::Origins;
use bytes::Bytes;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::TableSchema;
use meridian_dynamo::write::{WriteKind, WriteOp, WriteOutcome};
use meridian_merge::{Fragment, Stamp};
use meridian_replication::{Mutation, View, WallClock};
use meridian_types::{ConflictRule, Hlc, HlcClock};
use std::borrow::Cow;
use std::io;
use std::time::Duration;

/// How far clocks may be apart where the later write wins.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// The most.
    pub max_clock_offset: Duration,
}

impl Guard {
    /// Whether a clock can be trusted.
    pub(in crate::tables) fn trusts(self, behind_ms: i64) -> bool {
        u128::from(behind_ms.unsigned_abs()) <= self.max_clock_offset.as_millis()
    }

    /// Lets pass what is stamped by this node's clock but written for no client. A stamp from the future would hold up every write that comes
    /// behind it.
    ///
    /// # Errors
    /// When the clock cannot be trusted; it is tried again later, or elsewhere.
    pub(in crate::tables) fn check(self, view: &dyn View) -> io::Result<()> {
        if self.trusts(view.clock().behind_ms) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "this node's clock is too far off; try again"))
    }

    /// A stamp later than `seen`, from a clock that can be trusted.
    ///
    /// # Errors
    /// `ServiceUnavailable` when this node's clock is too far from most of the cluster's, or another's was when it made `seen`.
    fn stamp(self, clock: WallClock, seen: Hlc) -> Result<Hlc, DynamoError> {
        let most = u64::try_from(self.max_clock_offset.as_millis()).unwrap_or(u64::MAX);
        if clock.behind_ms.unsigned_abs() > most {
            let way = if clock.behind_ms > 0 { "behind" } else { "ahead of" };
            return Err(DynamoError::ServiceUnavailable(format!(
                "this node's clock is {} ms {way} most of the cluster's; at most {most} ms are allowed where the later write \
                 wins: set the clock (NTP), or write in another region meanwhile",
                clock.behind_ms.unsigned_abs()
            )));
        }
        let mut hlc = HlcClock::default();
        hlc.observe(seen, clock.wall_ms, most).map_err(|error| {
            DynamoError::ServiceUnavailable(format!(
                "the item was written by a region whose clock is wrong: {error}"
            ))
        })?;
        Ok(hlc.tick(clock.wall_ms))
    }
}

/// What a write stores, and answers.
type Done = (Vec<Mutation>, Seen, Result<WriteOutcome, DynamoError>);

/// Evaluates a write of the item at `key`.
pub(in crate::tables) fn write(
    origins: &Origins<'_>,
    schema: &TableSchema,
    op: &WriteOp,
    key: Bytes,
    view: &dyn View,
    guard: Guard,
) -> io::Result<Done> {
    let beside = Beside::of(view, origins)?;
    let mut seen = Seen { positions: beside.positions(), conflicts: Vec::new() };
    let fragments = beside.fragments(&key)?;
    let alone = fragments.len() < 2;
    let before = join(fragments).unwrap_or_else(|| Fragment::new(key_of(op, schema)));
    let floor = beside.horizon()?;
    let promised = Hlc::from_bits(notes::number(view, Note::Promise)?);
    let hlc = match guard.stamp(view.clock(), before.newest().max(promised).max(floor)) {
        Ok(hlc) => hlc,
        Err(error) => return Ok((Vec::new(), seen, Err(error))),
    };
    let stamp = Stamp { hlc, origin: origins.own };
    let op = match judged(&before, origins, op) {
        Ok(op) => op,
        Err(error) => {
            seen.conflicts = names(&before.resolve(origins.rules).conflicts);
            return Ok((Vec::new(), seen, Err(error)));
        }
    };
    let written = match before.write(origins.rules, schema, &op, stamp, floor) {
        Ok(written) => written,
        Err(error) => {
            seen.conflicts = names(&before.resolve(origins.rules).conflicts);
            return Ok((Vec::new(), seen, Err(error)));
        }
    };
    let mut mutations = Vec::new();
    if let Some(after) = &written.fragment {
        if after.is_tombstone() {
            mutations.push(Mutation { key: notes::grave(after.newest(), &key), value: Some(Bytes::new()) });
        }
        // One fragment alone has nothing concurrent in it that was not noted when it was written.
        if !alone {
            mutations.extend(ledger::overwritten(origins, &key, (&before, after), view)?);
        }
        mutations.push(Mutation { key, value: Some(encode(after)) });
    }
    Ok((mutations, seen, Ok(written.outcome)))
}

/// Judges a condition where it may also speak of what is in conflict, and leaves the write without it: one that holds of the shown values alone says
/// nothing of those that are kept beside them.
fn judged<'a>(
    before: &Fragment,
    origins: &Origins<'_>,
    op: &'a WriteOp,
) -> Result<Cow<'a, WriteOp>, DynamoError> {
    let Some(condition) = op.condition.as_ref().filter(|_| origins.rules.conflict == ConflictRule::Merge)
    else {
        return Ok(Cow::Borrowed(op));
    };
    let resolved = before.resolve(origins.rules);
    let shown = resolved.item.clone();
    let mut item = resolved.item.unwrap_or_default();
    if !resolved.conflicts.is_empty() {
        item.insert(CONFLICTS.to_owned(), as_attribute(&resolved.conflicts, origins));
    }
    if condition.holds(&item) {
        Ok(Cow::Owned(WriteOp { condition: None, ..op.clone() }))
    } else {
        Err(DynamoError::ConditionalCheckFailed { item: shown.filter(|_| op.return_on_failure) })
    }
}

fn key_of(op: &WriteOp, schema: &TableSchema) -> meridian_dynamo::value::Item {
    match &op.kind {
        WriteKind::Put { item } => schema.key_attributes(item),
        WriteKind::Update { key, .. } | WriteKind::Delete { key } => key.clone(),
    }
}
