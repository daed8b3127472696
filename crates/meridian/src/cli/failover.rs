//! `meridian failover`: gives a lost region up.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, or_dash};
use super::{Global, Outcome};
use crate::admin::failover::{AtRisk, Failover, FailoverDone, FailoverPlan};
use clap::Args;
use meridian_types::{PolicyName, RegionName};

/// Arguments of `failover`.
#[derive(Args)]
pub(super) struct FailoverArgs {
    /// The region to give up
    #[arg(long, value_name = "REGION")]
    from: RegionName,
    /// Only the groups of this policy
    #[arg(long)]
    policy: Option<PolicyName>,
    /// Go on without the writes that only the lost region has; it keeps them for `meridian salvage`
    #[arg(long)]
    accept_loss: bool,
}

pub(super) async fn run(args: FailoverArgs, global: &Global) -> Outcome {
    let client = connect(global).await?;
    let FailoverArgs { from, policy, accept_loss } = args;
    let plan = client.failover_plan(&from, policy.as_ref()).await?;
    // Before anything is done, and where it does not disturb the result.
    announce(&plan);
    if !accept_loss {
        if global.output == Format::Json {
            output::json(&plan)?;
        }
        let scope = policy.map(|policy| format!(" --policy {policy}")).unwrap_or_default();
        return Err(Failure::usage(format!(
            "nothing was done: writes that only {from} has would be lost until it is back; to go on without \
             them run `meridian failover --from {from}{scope} --accept-loss`"
        )));
    }
    let done = client.failover(&Failover { from, policy, accept_loss }).await?;
    match global.output {
        Format::Json => output::json(&done)?,
        Format::Table => show(&done),
    }
    failures(&done)
}

/// An error when some groups do not go on.
pub(super) fn failures(done: &FailoverDone) -> Outcome {
    let failed: Vec<_> = done.groups.iter().filter(|group| group.error.is_some()).collect();
    if let Some(first) = failed.first() {
        let why = first.error.as_deref().unwrap_or_default();
        return Err(Failure::failed(format!(
            "{} of {} groups do not go on; group {}: {why}",
            failed.len(),
            done.groups.len(),
            first.group
        )));
    }
    Ok(())
}

/// Writes and time, as far as they are known: `42 writes, 180 ms (heard 1.2 s ago)`.
pub(super) fn risk(at_risk: Option<&AtRisk>) -> String {
    let Some(AtRisk { writes, ms, heard_ms, .. }) = at_risk else {
        return "unknown: nothing was heard from the leader".to_owned();
    };
    let heard = match heard_ms {
        0 => String::new(),
        ms => format!(" (as of {:.1} s ago)", *ms as f64 / 1000.0),
    };
    format!("{writes} writes, {ms} ms{heard}")
}

fn announce(plan: &FailoverPlan) {
    let from = &plan.from;
    if plan.answers {
        output::note(&format!(
            "{from} answers: what it acknowledges until it is given up is lost too, and it need not be given up"
        ));
    }
    output::note(&format!("known to be at risk in {from}:"));
    for group in &plan.groups {
        let risk = risk(group.at_risk.as_ref());
        output::note(&format!("  group {} of policy {}: {risk}", group.group, group.policy));
    }
    if !plan.answers {
        output::note(&format!(
            "what {from} acknowledged after that is not known; it stopped {:.1} s after it lost touch",
            plan.grace_ms as f64 / 1000.0
        ));
    }
}

/// Prints what has become of each group.
pub(super) fn show(done: &FailoverDone) {
    let mut grid =
        Grid::new(&["GROUP", "POLICY", "INC", "PRIMARY", "SEED", "CUT", "LAST KNOWN AT RISK", "ERROR"]);
    for group in &done.groups {
        grid.row(vec![
            group.group.to_string(),
            group.policy.to_string(),
            group.incarnation.to_string(),
            or_dash(group.region.as_ref()),
            or_dash(group.seed.as_ref()),
            or_dash(group.cut.as_ref()),
            risk(group.at_risk.as_ref()),
            or_dash(group.error.as_ref()),
        ]);
    }
    grid.emit();
}
