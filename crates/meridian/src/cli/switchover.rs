//! `meridian switchover`: asks for the move, then follows it until every group is led from the region.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format};
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::types::{GroupStatus, Status, Switchover};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_types::{Pattern, PolicyName, RegionName};
use std::time::{Duration, Instant};

/// Between looks at the status.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `switchover`.
#[derive(Args)]
pub(super) struct SwitchoverArgs {
    /// The region that is to lead
    #[arg(long, value_name = "REGION")]
    to: RegionName,
    /// The policy to move; without it, every policy that keeps data there
    #[arg(long, value_name = "POLICY")]
    policy: Option<PolicyName>,
    /// How long to wait until everything has moved
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "TIME")]
    wait: Duration,
}

pub(super) async fn run(args: SwitchoverArgs, global: &Global) -> Outcome {
    let SwitchoverArgs { to, policy, wait } = args;
    let client = connect(global).await?;
    let start = Instant::now();
    let switched = client.switch_over(&Switchover { to: to.clone(), policy: policy.clone() }).await?;
    follow(&client, start + wait, &format!("moving leadership to {to}"), |status| {
        let moved = |group: &&GroupStatus| group.leader_region.as_ref() == Some(&to);
        let wanted = |group: &&GroupStatus| match &policy {
            Some(name) => group.policy == *name,
            None => status.policies.iter().any(|p| {
                p.name == group.policy && p.regions.contains(&to) && p.pattern != Pattern::ActiveActive
            }),
        };
        let groups: Vec<_> = status.groups.iter().filter(wanted).collect();
        (groups.iter().filter(|group| moved(group)).count(), groups.len())
    })
    .await?;
    let took = start.elapsed().as_secs_f64();
    match global.output {
        Format::Json => output::json(
            &serde_json::json!({ "to": to, "policies": switched.policies, "took_s": (took * 1e3).round() / 1e3 }),
        ),
        Format::Table => {
            let count = switched.policies.len();
            output::emit(&format!("{to} leads; {count} policies were changed; took {took:.1} s\n"));
            Ok(())
        }
    }
}

/// Looks at the status until as many groups have moved as should, with a bar on a terminal.
///
/// # Errors
/// When that has not happened by the deadline; it may still happen.
pub(super) async fn follow(
    client: &AdminClient,
    deadline: Instant,
    what: &str,
    progress: impl Fn(&Status) -> (usize, usize),
) -> Outcome {
    let bar = ProgressBar::new(0).with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:20} {pos}/{len} groups  {elapsed}")
    {
        bar.set_style(style);
    }
    loop {
        if let Ok(status) = client.status().await {
            let (done, all) = progress(&status);
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            if done == all {
                bar.finish_and_clear();
                return Ok(());
            }
            if Instant::now() >= deadline {
                bar.abandon();
                return Err(Failure::failed(format!(
                    "{what}: {done} of {all} groups have moved; the rest follow when their members are healthy and \
                     caught up: `meridian status` shows which"
                )));
            }
        } else if Instant::now() >= deadline {
            return Err(Failure::unreachable(format!("{what}: the cluster does not answer any more")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
