//! `meridian table move`: starts a move, then follows it until the table has its new policy.

use super::failure::Failure;
use super::output::{self, Format};
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::types::{MoveTable, TableInfo};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_types::{PolicyName, TableName};
use std::time::{Duration, Instant};

/// Between looks at the table.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `table move`.
#[derive(Args)]
pub(super) struct MoveArgs {
    /// Its name
    name: TableName,
    /// The policy to move it to
    #[arg(long, required_unless_present = "cancel")]
    policy: Option<PolicyName>,
    /// Call a move off; the table stays as it is
    #[arg(long, conflicts_with = "policy")]
    cancel: bool,
    /// How long to wait until it has moved; it goes on by itself
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
    wait: Duration,
}

pub(super) async fn run(args: MoveArgs, client: &AdminClient, global: &Global) -> Outcome {
    let MoveArgs { name, policy, wait, .. } = args;
    let Some(policy) = policy else {
        client.cancel_move(&name).await?;
        return match global.output {
            Format::Json => output::json(&serde_json::json!({ "cancelled": name })),
            Format::Table => {
                output::emit(&format!("the move of table {name} is off; it stays as it was\n"));
                Ok(())
            }
        };
    };
    let start = Instant::now();
    client.move_table(&name, &MoveTable { policy: policy.clone() }).await?;
    let items = follow(client, &name, &policy, start + wait).await?;
    let took = start.elapsed().as_secs_f64();
    match global.output {
        Format::Json => output::json(&serde_json::json!({
            "table": name, "policy": policy, "copied_items": items, "took_s": (took * 1e3).round() / 1e3,
        })),
        Format::Table => {
            output::emit(&format!("table {name} has policy {policy}; took {took:.1} s\n"));
            Ok(())
        }
    }
}

/// Looks at the table until it has the policy; how many items had been copied at the last look before.
async fn follow(
    client: &AdminClient,
    name: &TableName,
    policy: &PolicyName,
    deadline: Instant,
) -> Result<u64, Failure> {
    let bar = ProgressBar::new_spinner().with_message(format!("moving {name} to {policy}"));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {pos} items copied  {elapsed}") {
        bar.set_style(style);
    }
    loop {
        if let Ok(TableInfo { policy: now, moving, .. }) = client.table(name).await {
            match moving {
                Some(moving) => bar.set_position(moving.copied_items),
                None if now == *policy => {
                    bar.finish_and_clear();
                    return Ok(bar.position());
                }
                None => {
                    bar.abandon();
                    return Err(Failure::failed(format!(
                        "the move was called off: an operator did, or groups of {policy} or {now} did not take part in \
                         time; table {name} stays at {now}; look at `meridian status`, then try again"
                    )));
                }
            }
        }
        if Instant::now() >= deadline {
            bar.abandon();
            return Err(Failure::failed(format!(
                "table {name} has not moved yet and goes on; `meridian table describe {name}` shows how far it is, \
                 `meridian table move {name} --cancel` calls it off"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
