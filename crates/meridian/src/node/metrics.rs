//! `/metrics`: this node's gauges in the Prometheus text format.

use super::scrub::Scrubbed;
use crate::prometheus::family;
use meridian_replication::{LAG_BUCKETS_MS, Replication, RiskReport};
use meridian_types::GroupId;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Labels and a value.
type Row = (String, f64);

/// What tables add.
#[derive(Debug, Default)]
pub(super) struct Active {
    /// For each origin's group that this node leads: writes noted as lost, and items noted as in conflict.
    pub(super) conflicts: Vec<(GroupId, u64, u64)>,
    /// For the first group of each share whose tombstones wait: the node that they wait for.
    pub(super) blocked: BTreeMap<GroupId, String>,
    /// Items that were deleted because they had expired.
    pub(super) expired: u64,
}

impl Active {
    fn gauges(&self, labels: &dyn Fn(GroupId) -> String, gauge: &mut dyn FnMut(&str, &str, &[Row])) {
        let noted = |value: &dyn Fn(&(GroupId, u64, u64)) -> u64| -> Vec<Row> {
            self.conflicts.iter().map(|counts| (labels(counts.0), to_f64(value(counts)))).collect()
        };
        gauge(
            "meridian_conflicts_noted_total",
            "Writes of an active-active table that have lost against a later one; on the leader of the origin's group.",
            &noted(&|(_, lost, _)| *lost),
        );
        gauge(
            "meridian_conflicts_open",
            "Items with concurrent writes that the application is to resolve.",
            &noted(&|(_, _, open)| *open),
        );
        let waits = self.blocked.iter().map(|(group, name)| {
            let labels = labels(*group);
            (format!("{},node=\"{name}\"}}", labels.trim_end_matches('}')), 1.0)
        });
        gauge(
            "meridian_tombstones_wait",
            "1 for each share of an active-active policy whose tombstones wait for a node that is away.",
            &waits.collect::<Vec<_>>(),
        );
        gauge(
            "meridian_expired_items_total",
            "Items that this node has deleted since it started because they had expired.",
            &[(String::new(), to_f64(self.expired))],
        );
    }
}

/// Renders the node's own view; scraping every node gives the cluster's.
pub(super) fn text(replication: &Replication, scrubbed: &Scrubbed, active: &Active) -> String {
    let status = replication.status_here();
    let state = replication.system();
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, rows: &[Row]| {
        family(&mut out, "gauge", name, help, rows.iter().map(|(labels, value)| (labels, value)));
    };
    let labels = |group: GroupId| {
        let policy = state.groups.get(&group).map_or("system", |info| info.policy.as_str());
        format!("{{group=\"{group}\",policy=\"{policy}\"}}")
    };
    let rows = |value: &dyn Fn(&meridian_replication::ReplicaStatus) -> Option<u64>| -> Vec<Row> {
        let replicas = status.replicas.iter();
        replicas.filter_map(|replica| Some((labels(replica.group), to_f64(value(replica)?)))).collect()
    };
    let leads = |replica: &meridian_replication::ReplicaStatus| Some(u64::from(replica.lease_ms.is_some()));
    gauge("meridian_group_leader", "1 when this node leads the group under a lease.", &rows(&leads));
    gauge(
        "meridian_group_applied_index",
        "Highest log index applied.",
        &rows(&|replica| Some(replica.applied)),
    );
    gauge(
        "meridian_group_committed_index",
        "Highest log index known committed.",
        &rows(&|r| Some(r.committed)),
    );
    gauge(
        "meridian_group_answerable_index",
        "Highest log index that the leader may answer for.",
        &rows(&|replica| replica.lease_ms.map(|_| replica.answerable)),
    );
    gauge(
        "meridian_group_staleness_milliseconds",
        "Upper bound on how stale this replica is; absent when none is known.",
        &rows(&|replica| replica.stale_ms),
    );
    let at_risk = |value: &dyn Fn(&RiskReport) -> u64| -> Vec<Row> {
        // What others lead is theirs to say.
        let led = status.at_risk.iter().filter(|report| report.leader == status.node);
        led.map(|report| (labels(report.group), to_f64(value(report)))).collect()
    };
    gauge(
        "meridian_group_at_risk_writes",
        "Acknowledged writes that no other region has; on the leader of a group that one region holds.",
        &at_risk(&|report| report.at_risk.writes),
    );
    gauge(
        "meridian_group_at_risk_milliseconds",
        "The age of the oldest of them.",
        &at_risk(&|report| report.at_risk.ms),
    );
    active.gauges(&labels, &mut gauge);
    #[expect(clippy::cast_precision_loss, reason = "the text format carries floats")]
    let behind = replication.clock_behind_ms() as f64;
    gauge(
        "meridian_clock_behind_milliseconds",
        "How far this node's clock is behind most of the cluster's; negative when it is ahead.",
        &[(String::new(), behind)],
    );
    let one = |value: u64| [(String::new(), to_f64(value))];
    gauge("meridian_disk_free_bytes", "Bytes free where the node keeps its data.", &one(status.free_bytes));
    gauge(
        "meridian_disk_low",
        "1 when writes are refused for lack of space.",
        &one(u64::from(status.disk_low)),
    );
    let (behind, bytes) = replication.catching_up();
    gauge("meridian_catch_up_members", "Members of groups led here that are far behind.", &one(behind));
    gauge(
        "meridian_catch_up_bytes",
        "Bytes sent to such members since the node started; at most replication.catch_up_rate a second.",
        &one(bytes),
    );
    let scrubbed = [
        ("meridian_scrubbed_bytes", "Bytes at rest read again to find damage.", &scrubbed.bytes),
        ("meridian_scrub_rounds", "How often all that is at rest was read.", &scrubbed.rounds),
        ("meridian_scrub_damaged", "Replicas in which that has met damage.", &scrubbed.damaged),
    ];
    for (name, help, count) in scrubbed {
        gauge(name, &format!("{help} Since the node started."), &one(count.load(Ordering::Relaxed)));
    }
    gauge(
        "meridian_damaged_replicas",
        "Replicas that the disk has damaged and that are out of use.",
        &one(replication.damaged() as u64),
    );
    gauge(
        "meridian_reseeded_replicas",
        "Damaged replicas that were emptied to be filled again, since the node started.",
        &one(replication.reseeded()),
    );
    gauge("meridian_silent_nodes", "Nodes not heard from.", &one(status.silent.len() as u64));
    gauge("meridian_lost_regions", "Regions recorded as lost.", &one(state.lost_regions.len() as u64));
    lags(replication, &mut out);
    out
}

/// How late writes of other leaders come here, by their region.
fn lags(replication: &Replication, out: &mut String) {
    let seconds = |ms: u64| to_f64(ms) / 1_000.0;
    let rows = replication.lags().into_iter().flat_map(|(region, lags)| {
        let mut below = 0;
        let buckets = LAG_BUCKETS_MS.iter().zip(lags.buckets).map(|(bound, writes)| {
            below += writes;
            (format!("_bucket{{region=\"{region}\",le=\"{}\"}}", seconds(*bound)), to_f64(below))
        });
        let mut rows: Vec<Row> = buckets.collect();
        rows.push((format!("_bucket{{region=\"{region}\",le=\"+Inf\"}}"), to_f64(lags.count)));
        rows.push((format!("_sum{{region=\"{region}\"}}"), seconds(lags.sum_ms)));
        rows.push((format!("_count{{region=\"{region}\"}}"), to_f64(lags.count)));
        rows
    });
    family(
        out,
        "histogram",
        "meridian_replication_lag_seconds",
        "From when a leader in a region took a write to when it could be read here.",
        rows,
    );
}

#[expect(clippy::cast_precision_loss, reason = "the text format carries floats; 2^53 entries are far away")]
fn to_f64(value: u64) -> f64 {
    value as f64
}
