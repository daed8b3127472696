//! `meridian policy`.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, joined, or_dash};
use super::switchover::follow;
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::admin::types::GroupStatus;
use clap::{Args, Subcommand};
use meridian_types::policy::DEFAULT_GROUPS;
use meridian_types::{
    ConflictRule, Failback, OnRegionLoss, Pattern, Policy, PolicyName, RegionName, Replication, Span,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use std::time::{Duration, Instant};

/// A replica that is no further behind has what it is to have: writes go on meanwhile.
const CLOSE: u64 = 64;

/// The subcommands of `policy`.
#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// List the policies
    List,
    /// Show a policy
    Show {
        /// Its name
        name: PolicyName,
    },
    /// Declare a policy
    Create(CreateArgs),
    /// Change a policy; its groups move while they serve
    Update(UpdateArgs),
}

/// Arguments of `policy create`.
#[derive(Args)]
pub(super) struct CreateArgs {
    /// Its name
    name: PolicyName,
    /// Who takes writes: active-passive, active-active or read-local
    #[arg(long, value_parser = word::<Pattern>)]
    pattern: Pattern,
    /// What an acknowledgement means: sync, semi-sync or async
    #[arg(long, value_parser = word::<Replication>)]
    replication: Replication,
    /// The regions that may hold the data
    #[arg(long, value_delimiter = ',', required = true, value_name = "REGION,...")]
    regions: Vec<RegionName>,
    /// The regions that should lead, best first
    #[arg(long, value_delimiter = ',', value_name = "REGION,...")]
    primary: Vec<RegionName>,
    /// A region that only votes, when two regions hold data
    #[arg(long, value_name = "REGION")]
    witness: Option<RegionName>,
    /// How many groups share the items
    #[arg(long, default_value_t = DEFAULT_GROUPS)]
    groups: u32,
    /// What a sync policy does when a region is lost: degrade or block
    #[arg(long, value_parser = word::<OnRegionLoss>)]
    on_region_loss: Option<OnRegionLoss>,
    /// What concurrent writes mean (active-active): lww, merge or crdt
    #[arg(long, value_parser = word::<ConflictRule>)]
    conflict: Option<ConflictRule>,
    /// Give a lost primary region up without an operator (async)
    #[arg(long)]
    auto_failover: bool,
    /// How long a region must have been silent before that
    #[arg(long, value_name = "TIME", requires = "auto_failover")]
    failover_after: Option<Span>,
    /// Refuse writes, retryably, while other regions are further behind (async)
    #[arg(long, value_name = "TIME")]
    max_lag: Option<Span>,
    /// Whether leadership goes back to a primary region that is well again: auto or manual
    #[arg(long, value_parser = word::<Failback>)]
    failback: Option<Failback>,
}

/// Arguments of `policy update`. What is not named stays as it is.
#[derive(Args)]
pub(super) struct UpdateArgs {
    /// Its name
    name: PolicyName,
    /// What an acknowledgement means: sync, semi-sync or async
    #[arg(long, value_parser = word::<Replication>)]
    replication: Option<Replication>,
    /// The regions that may hold the data
    #[arg(long, value_delimiter = ',', value_name = "REGION,...")]
    regions: Option<Vec<RegionName>>,
    /// The regions that should lead, best first
    #[arg(long, value_delimiter = ',', value_name = "REGION,...")]
    primary: Option<Vec<RegionName>>,
    /// A region that only votes, when two regions hold data
    #[arg(long, value_name = "REGION", conflicts_with = "no_witness")]
    witness: Option<RegionName>,
    /// Do without the witness
    #[arg(long)]
    no_witness: bool,
    /// What a sync policy does when a region is lost: degrade or block
    #[arg(long, value_parser = word::<OnRegionLoss>)]
    on_region_loss: Option<OnRegionLoss>,
    /// How long to wait until everything has moved
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
    wait: Duration,
}

impl UpdateArgs {
    fn apply(self, was: Policy) -> Policy {
        let replication = self.replication.unwrap_or(was.replication);
        let regions = self.regions.unwrap_or(was.regions);
        let stays = was.primary.into_iter().filter(|region| regions.contains(region)).collect();
        let sync = replication == Replication::Sync;
        let on_loss = self.on_region_loss.or(was.on_region_loss.filter(|_| sync));
        let asynchronous = replication == Replication::Async;
        Policy {
            primary: self.primary.unwrap_or(stays),
            witness: self.witness.or(was.witness.filter(|_| !self.no_witness)),
            on_region_loss: on_loss.or(sync.then(OnRegionLoss::default)),
            auto_failover: was.auto_failover && asynchronous,
            failover_after: was.failover_after.filter(|_| asynchronous),
            max_lag: was.max_lag.filter(|_| asynchronous),
            replication,
            regions,
            ..was
        }
    }
}

/// Reads a word as the configuration file would.
fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let words: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(words).map_err(|error| error.to_string())
}

pub(super) async fn run(command: PolicyCommand, global: &Global) -> Outcome {
    let client = connect(global).await?;
    match command {
        PolicyCommand::List => {
            let list = client.policies().await?;
            match global.output {
                Format::Json => output::json(&list),
                Format::Table => {
                    grid(&list.policies).emit();
                    Ok(())
                }
            }
        }
        PolicyCommand::Show { name } => show_one(&find(&client, &name).await?, global),
        PolicyCommand::Update(args) => {
            let was = find(&client, &args.name).await?;
            let (start, wait) = (Instant::now(), args.wait);
            let policy = client.update_policy(&args.apply(was)).await?;
            follow(&client, start + wait, &format!("moving policy {}", policy.name), |status| {
                let groups = status.groups.iter().filter(|group| group.policy == policy.name);
                let there = |group: &GroupStatus| group.settled && group.leader.is_some();
                let behind = |group: &GroupStatus| group.replicas.iter().any(|r| r.lag_entries > CLOSE);
                (groups.clone().filter(|group| there(group) && !behind(group)).count(), groups.count())
            })
            .await?;
            show_one(&policy, global)
        }
        PolicyCommand::Create(args) => {
            let CreateArgs {
                name,
                pattern,
                replication,
                regions,
                primary,
                witness,
                groups,
                on_region_loss,
                conflict,
                auto_failover,
                failover_after,
                max_lag,
                failback,
            } = args;
            let policy = Policy {
                name,
                pattern,
                replication,
                regions,
                primary,
                witness,
                groups,
                on_region_loss,
                conflict,
                auto_failover,
                failover_after,
                max_lag,
                failback,
            };
            show_one(&client.create_policy(&policy).await?, global)
        }
    }
}

async fn find(client: &AdminClient, name: &PolicyName) -> Result<Policy, Failure> {
    let policies = client.policies().await?.policies;
    let known = policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = policies.into_iter().find(|policy| policy.name == *name);
    found.ok_or_else(|| Failure::failed(format!("there is no policy {name}; there are {known}")))
}

fn grid(policies: &[Policy]) -> Grid {
    let header = [
        "POLICY",
        "PATTERN",
        "REPLICATION",
        "REGIONS",
        "PRIMARY",
        "WITNESS",
        "GROUPS",
        "ON LOSS",
        "CONFLICT",
    ];
    let mut grid = Grid::new(&header);
    for policy in policies {
        grid.row(vec![
            policy.name.to_string(),
            policy.pattern.to_string(),
            policy.replication.to_string(),
            joined(&policy.regions),
            joined(&policy.primary),
            or_dash(policy.witness.as_ref()),
            policy.groups.to_string(),
            or_dash(policy.on_region_loss.as_ref()),
            or_dash(policy.conflict.as_ref()),
        ]);
    }
    grid
}

fn show_one(policy: &Policy, global: &Global) -> Outcome {
    match global.output {
        Format::Json => output::json(policy),
        Format::Table => {
            grid(std::slice::from_ref(policy)).emit();
            Ok(())
        }
    }
}
