//! `meridian region`: drains a region before work on it, and takes it back.

use super::connect::connect;
use super::output::{self, Format, Grid, Tone};
use super::switchover::follow;
use super::{Global, Outcome};
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
            let mut grid = Grid::new(&["REGION", "HEALTH", "NODES", "LEADS", "DRAINED"]);
            for entry in &status.regions {
                let leads =
                    status.groups.iter().filter(|group| group.leader_region.as_ref() == Some(&entry.name));
                grid.toned(vec![
                    (entry.name.to_string(), Tone::Plain),
                    (entry.health.to_string(), super::status::tone(entry.health)),
                    (entry.nodes.len().to_string(), Tone::Plain),
                    (leads.count().to_string(), Tone::Plain),
                    (if entry.drained { "yes" } else { "no" }.to_owned(), Tone::Plain),
                ]);
            }
            grid.emit();
            Ok(())
        }
    }
}
