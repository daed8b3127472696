//! `meridian region`: drains a region before work on it, has the others go on without one that is away, and takes it back.

use super::connect::connect;
use super::failover::{failures, risk, show};
use super::failure::Failure;
use super::output::{self, Format, Grid, Tone};
use super::switchover::follow;
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::failover::{Expel, ExpulsionPlan};
use clap::Subcommand;
use meridian_types::RegionName;
use std::time::{Duration, Instant};

/// The subcommands of `region`.
#[derive(Subcommand)]
pub(super) enum RegionCommand {
    /// List the regions
    List,
    /// Move every leader out of a region and keep them out
    Drain {
        /// The region
        region: RegionName,
        /// How long to wait until everything has moved
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "TIME")]
        wait: Duration,
    },
    /// Let leaders into a region again
    Undrain {
        /// The region
        region: RegionName,
    },
    /// Have the active-active policies go on without a region that is away: tombstones no longer wait for it
    Expel {
        /// The region
        region: RegionName,
        /// Do it; without this only what it means is printed
        #[arg(long)]
        yes: bool,
    },
    /// Take an expelled region back, once its nodes answer
    Readmit {
        /// The region
        region: RegionName,
    },
}

pub(super) async fn run(command: RegionCommand, global: &Global) -> Outcome {
    let client = connect(global).await?;
    let region = match command {
        RegionCommand::List => None,
        RegionCommand::Drain { region, wait } => {
            let start = Instant::now();
            client.drain_region(&region, true).await?;
            follow(&client, start + wait, &format!("moving leadership out of {region}"), |status| {
                // A group all of whose leaders live there cannot leave it.
                let inside = |nodes: &[meridian_types::NodeName]| {
                    let own =
                        status.regions.iter().filter(|entry| entry.name == region).flat_map(|e| &e.nodes);
                    let own: Vec<_> = own.map(|node| &node.id).collect();
                    nodes.iter().all(|node| own.contains(&node))
                };
                let movable: Vec<_> = status.groups.iter().filter(|group| !inside(&group.voters)).collect();
                let away = |led: &Option<RegionName>| led.as_ref().is_some_and(|led| *led != region);
                (movable.iter().filter(|group| away(&group.leader_region)).count(), movable.len())
            })
            .await?;
            Some(region)
        }
        RegionCommand::Expel { region, yes } => return expel(&client, region, yes, global).await,
        RegionCommand::Readmit { region } => {
            client.readmit_region(&region).await?;
            Some(region)
        }
        RegionCommand::Undrain { region } => {
            client.drain_region(&region, false).await?;
            Some(region)
        }
    };
    let mut status = client.status().await?;
    status.regions.retain(|entry| region.as_ref().is_none_or(|region| entry.name == *region));
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "regions": status.regions })),
        Format::Table => {
            let mut grid = Grid::new(&["REGION", "HEALTH", "NODES", "LEADS", "DRAINED", "EXPELLED"]);
            for entry in &status.regions {
                let leads =
                    status.groups.iter().filter(|group| group.leader_region.as_ref() == Some(&entry.name));
                grid.toned(vec![
                    (entry.name.to_string(), Tone::Plain),
                    (entry.health.to_string(), super::status::tone(entry.health)),
                    (entry.nodes.len().to_string(), Tone::Plain),
                    (leads.count().to_string(), Tone::Plain),
                    (if entry.drained { "yes" } else { "no" }.to_owned(), Tone::Plain),
                    (if entry.expelled { "yes" } else { "no" }.to_owned(), Tone::Plain),
                ]);
            }
            grid.emit();
            Ok(())
        }
    }
}

async fn expel(client: &AdminClient, region: RegionName, yes: bool, global: &Global) -> Outcome {
    let plan = client.expulsion_plan(&region).await?;
    announce(&plan);
    if !yes {
        if global.output == Format::Json {
            output::json(&plan)?;
        }
        return Err(Failure::usage(format!(
            "nothing was done: to go on without {region} run `meridian region expel {region} --yes`"
        )));
    }
    let done = client.expel_region(&region, Expel { accept_loss: true }).await?;
    match global.output {
        Format::Json => output::json(&done)?,
        Format::Table => show(&done),
    }
    failures(&done)
}

fn announce(plan: &ExpulsionPlan) {
    let region = &plan.region;
    if plan.answers {
        output::note(&format!("{region} answers: nothing needs to go on without it"));
    }
    output::note(&format!(
        "known to be in {region} alone, of active-active policies that answer before others have a write:"
    ));
    for group in &plan.groups {
        let risk = risk(group.at_risk.as_ref());
        output::note(&format!("  group {} of policy {}: {risk}", group.group, group.policy));
    }
    for line in [
        "what its clients have written since it was cut off is not known. All of that is missing in the other regions until its nodes are back; then it is",
        "listed, item by item, as salvage, and nothing of it is applied by itself. It goes on taking writes of active-active tables for as long as it is cut off.",
        "Its nodes keep their data, and show nothing of these policies before they have what the others have decided without them. Tables of other policies",
        "are not touched.",
    ] {
        output::note(line);
    }
}
