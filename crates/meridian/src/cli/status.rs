//! `meridian status`: regions, groups and policies as one node sees them.

use super::connect::connect;
use super::failover::risk;
use super::output::{self, Format, Grid, Tone, joined, or_dash};
use super::{Global, Outcome};
use crate::admin::failover::Refoundation;
use crate::admin::types::{GroupStatus, Status, Verdict};

pub(super) async fn run(global: &Global) -> Outcome {
    let status = connect(global).await?.status().await?;
    match global.output {
        Format::Json => output::json(&status),
        Format::Table => {
            show(&status);
            Ok(())
        }
    }
}

pub(super) fn tone(health: Verdict) -> Tone {
    match health {
        Verdict::Healthy => Tone::Good,
        Verdict::Degraded => Tone::Doubtful,
        Verdict::Lost => Tone::Bad,
    }
}

fn show(status: &Status) {
    let leader = or_dash(status.system.leader.as_ref());
    output::emit(&format!(
        "cluster {}, system leader {leader} (term {}), level {}\n\n",
        status.cluster, status.system.term, status.system.level
    ));
    let mut regions = Grid::new(&["REGION", "HEALTH", "NODE", "ZONE", "HEALTH", "LEADS"]);
    for region in &status.regions {
        for node in &region.nodes {
            let leads = status.groups.iter().filter(|group| group.leader.as_ref() == Some(&node.id)).count();
            regions.toned(vec![
                (region.name.to_string(), Tone::Plain),
                if region.expelled {
                    (format!("{}, expelled", region.health), Tone::Doubtful)
                } else if region.drained {
                    (format!("{}, drained", region.health), Tone::Doubtful)
                } else {
                    (region.health.to_string(), tone(region.health))
                },
                (node.id.to_string(), Tone::Plain),
                (node.zone.to_string(), Tone::Plain),
                (node.health.to_string(), tone(node.health)),
                (leads.to_string(), Tone::Plain),
            ]);
        }
    }
    regions.emit();
    output::emit("\n");
    for region in &status.regions {
        if let Some(loses) = &region.loses {
            output::emit(&format!("lose {} now: {}\n", region.name, risk(Some(loses))));
        }
    }
    output::emit("\n");
    groups(&status.groups).emit();
    output::emit("\n");
    let mut policies = Grid::new(&["POLICY", "PATTERN", "REPLICATION", "REGIONS", "TABLES", "GROUPS"]);
    for policy in &status.policies {
        policies.row(vec![
            policy.name.to_string(),
            policy.pattern.to_string(),
            policy.replication.to_string(),
            joined(&policy.regions),
            joined(&policy.tables),
            joined(&policy.groups),
        ]);
    }
    policies.emit();
    refoundations(&status.refoundations);
}

fn refoundations(all: &[Refoundation]) {
    if all.is_empty() {
        return;
    }
    let header = ["GROUP", "INC", "WITHOUT", "SEED", "CUT", "BY", "AT RISK THEN", "FOUND LATER"];
    let mut grid = Grid::new(&header);
    for step in all {
        let found = step.found_writes.map(|writes| format!("{writes} writes"));
        grid.row(vec![
            step.group.to_string(),
            step.incarnation.to_string(),
            step.from.to_string(),
            or_dash(step.seed.as_ref()),
            or_dash(step.cut.as_ref()),
            if step.automatic { "policy" } else { "operator" }.to_owned(),
            risk(step.at_risk.as_ref()),
            or_dash(found.as_ref()),
        ]);
    }
    output::emit("\n");
    grid.emit();
}

fn groups(groups: &[GroupStatus]) -> Grid {
    let header = [
        "GROUP",
        "POLICY",
        "INC",
        "LEADER",
        "LEASE",
        "COMMITTED",
        "ANSWERABLE",
        "VOTERS",
        "LEARNERS",
        "MOST LAG",
    ];
    let mut grid = Grid::new(&header);
    for group in groups {
        let entries = group.replicas.iter().map(|replica| replica.lag_entries).max().unwrap_or(0);
        let unheard = group.replicas.iter().filter(|replica| replica.lag_ms.is_none()).count();
        let ms = group.replicas.iter().filter_map(|replica| replica.lag_ms).max().unwrap_or(0);
        let (lag, lag_tone) = match unheard {
            0 if entries == 0 => ("-".to_owned(), Tone::Good),
            0 => (format!("{entries} entries, {:.3} s", ms as f64 / 1000.0), Tone::Doubtful),
            count => (format!("{entries} entries, {count} not heard from"), Tone::Bad),
        };
        let leader_tone = if group.leader.is_some() { Tone::Plain } else { Tone::Bad };
        let lease = group.lease_ms.map(|ms| format!("{ms} ms"));
        let plain = |text: String| (text, Tone::Plain);
        grid.toned(vec![
            plain(group.id.to_string()),
            plain(group.policy.to_string()),
            plain(group.incarnation.to_string()),
            (or_dash(group.leader.as_ref()), leader_tone),
            plain(or_dash(lease.as_ref())),
            plain(group.committed.to_string()),
            plain(group.answerable.to_string()),
            plain(joined(&group.voters)),
            plain(joined(&group.learners)),
            (lag, lag_tone),
        ]);
    }
    grid
}
