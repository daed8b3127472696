//! The verdict: which objectives were missed, and what happened that no table may ever do.

use super::Subject;
use crate::measure::Measured;
use crate::scenario::FaultKind;
use crate::verify::Verification;

/// How long users may be sent to a dead region by DNS, unless the scenario says so: the time to live of answers, and what notices it.
const DNS_RTO_S: f64 = 15.0;

/// One sentence for each reason not to pass.
pub(super) fn missed(subject: &Subject, measured: &Measured, verification: &Verification) -> Vec<String> {
    let mut missed = Vec::new();
    let mut miss = |is_missed: bool, text: String| {
        if is_missed {
            missed.push(text);
        }
    };
    let recoveries = [
        ("RTO", "writes", measured.rto_s, subject.objectives.rto_s),
        ("RTO of reads", "consistent reads", measured.read_rto_s, subject.objectives.read_rto_s),
    ];
    for (name, what, recovery, objective) in recoveries {
        let Some(objective) = objective else { continue };
        let figure = recovery.map_or_else(
            || format!("{what} did not succeed again while the fault was in force"),
            |rto| format!("{what} succeeded again after {rto:.3} s"),
        );
        let is_missed = recovery.is_none_or(|rto| rto > objective);
        miss(is_missed, format!("{name}: {figure}; the objective is {objective} s"));
    }
    if let Some(service) = &subject.service {
        let edge = subject.objectives.edge_rto_s.or(subject.objectives.rto_s);
        let dns = subject.objectives.dns_rto_s.unwrap_or(DNS_RTO_S);
        let ways =
            [("through the edges", service.edge.rto_s, edge), ("by DNS", service.dns.rto_s, Some(dns))];
        for (how, recovery, objective) in ways {
            let Some(objective) = objective else { continue };
            let figure = recovery.map_or_else(
                || {
                    format!(
                        "the service's users did not all succeed again {how} while the fault was in force"
                    )
                },
                |rto| format!("the service's users succeeded again {how} after {rto:.3} s"),
            );
            miss(
                recovery.is_none_or(|rto| rto > objective),
                format!("RTO {how}: {figure}; the objective is {objective} s"),
            );
        }
    }
    if let Some(objective) = subject.objectives.pause_s {
        let pause = measured.longest_pause_s;
        let text = format!("pause: a lane was {pause:.3} s without a write; the objective is {objective} s");
        miss(pause > objective, text);
    }
    if let Some(objective) = subject.objectives.rpo_s {
        let text = format!(
            "RPO: {} acknowledged writes were lost, the oldest {:.3} s old; the objective is {objective} s",
            measured.lost_writes, measured.rpo_s
        );
        miss(measured.rpo_s > objective, text);
    }
    let never = [
        (measured.duplicate_effects, "effects took place more often than they were asked for"),
        (measured.stale_reads, "reads showed less than had been acknowledged before them"),
        (measured.refused_but_present, "writes were refused and are there all the same"),
    ];
    for (count, text) in never {
        miss(count > 0, format!("{count} {text}"));
    }
    // A process that was killed or stood still cannot be blamed for what its clients were told.
    let runs_on = !matches!(subject.scenario.fault, FaultKind::Kill | FaultKind::Freeze);
    let finals = subject.final_refusals;
    miss(runs_on && finals > 0, format!("{finals} requests were refused without being told to retry"));
    miss(
        !subject.moved,
        format!("leadership had not moved to {} when it was ordered back", subject.target.region),
    );
    let unread = verification.unread.len();
    let first = verification.unread.first().map_or("", String::as_str);
    miss(
        unread > 0,
        format!("{unread} parts could not be read back, so that losses may be hidden; the first: {first}"),
    );
    miss(!subject.settled, "not every region served again after the fault was undone".to_owned());
    let leftover = subject.leftover.clone().unwrap_or_default();
    miss(subject.leftover.is_some(), format!("something was left behind: {leftover}"));
    missed
}
