//! Drills in the simulator: the scenario of a live drill, with the same times, on simulated nodes and judged by the checkers.

use crate::cluster::{Cluster, Up};
use crate::faults::{border, serving};
use crate::rng::Rng;
use meridian_drill::Scenario;
use meridian_drill::scenario::{FaultKind, Scope, Timing};
use meridian_replication::{Replication, runtime};
use meridian_types::{GroupId, NodeId, Pattern, PolicyName, RegionName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long an operator's order may take.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);
/// The group whose leader a fault aims at when the scenario names no region.
const AIM: GroupId = GroupId(1);

/// For how long clients work in the drill.
#[must_use]
pub fn length(scenario: &Scenario) -> Duration {
    let Timing { warm_up_s, hold_s, after_s, .. } = scenario.timing;
    Duration::from_secs_f64(warm_up_s + hold_s + after_s)
}

/// What is hit.
struct Target {
    region: RegionName,
    nodes: BTreeSet<NodeId>,
}

impl Target {
    /// As a live drill chooses: the region that the scenario names, and of it the part that leads. A region that the simulated
    /// cluster does not have is replaced by the one that leads, or by any other.
    fn choose(cluster: &Cluster, scenario: &Scenario, rng: &mut Rng) -> Option<Self> {
        let shape = cluster.shape();
        let leader = serving(cluster, AIM);
        let regions = shape.data_regions();
        let named = scenario.region.clone().filter(|region| regions.contains(region));
        let leads = shape.nodes().iter().find(|node| Some(node.id) == leader).map(|node| node.region.clone());
        let region = match named {
            Some(region) => region,
            None if rng.chance(50) => leads.or_else(|| regions.first().cloned())?,
            None => rng.pick(&regions)?.clone(),
        };
        let inside = shape.nodes_of(&region);
        let first = leader.filter(|leader| inside.contains(leader)).or(inside.first().copied())?;
        let zone = |id: NodeId| shape.nodes().iter().find(|node| node.id == id).map(|node| &node.zone);
        let is_hit = |node: &NodeId| match scenario.scope {
            Scope::Region => true,
            Scope::Zone => zone(*node) == zone(first),
            Scope::Node => *node == first,
        };
        Some(Self { nodes: inside.iter().copied().filter(is_hit).collect(), region })
    }
}

/// Carries the scenario's fault out and undoes it, at its times.
///
/// # Errors
/// When a node does not start again, or the fault has no meaning here.
pub async fn play(cluster: &Cluster, scenario: &Scenario, mut rng: Rng) -> Result<(), String> {
    let Timing { warm_up_s, hold_s, after_s, .. } = scenario.timing;
    sleep(Duration::from_secs_f64(warm_up_s)).await;
    let target = Target::choose(cluster, scenario, &mut rng).ok_or("the cluster has no region to hit")?;
    let what = format!("{:?} of {} {:?}", scenario.fault, target.region, target.nodes);
    cluster.trace().event(format_args!("drill {}: {what}", scenario.name));
    let hold = sleep(Duration::from_secs_f64(hold_s));
    let network = cluster.network();
    let pairs = border(cluster, &target.nodes);
    match scenario.fault {
        FaultKind::Kill => {
            target.nodes.iter().for_each(|node| cluster.kill(*node, true));
            hold.await;
            for node in &target.nodes {
                cluster.start(*node).await?;
            }
        }
        FaultKind::Freeze => {
            let frozen = up(cluster, &target);
            frozen.iter().for_each(|up| up.process.freeze());
            hold.await;
            frozen.iter().for_each(|up| up.process.thaw());
        }
        FaultKind::Partition => {
            network.block(&pairs);
            hold.await;
            network.open(&pairs);
        }
        FaultKind::OneWay => {
            let out: Vec<_> = pairs.into_iter().filter(|(from, _)| target.nodes.contains(from)).collect();
            network.block(&out);
            hold.await;
            network.open(&out);
        }
        FaultKind::Slow => {
            network.slow(&pairs, Duration::from_millis(scenario.delay_ms));
            hold.await;
            network.slow(&pairs, Duration::ZERO);
        }
        FaultKind::DiskFull => {
            set_full(cluster, &target, true);
            hold.await;
            set_full(cluster, &target, false);
        }
        FaultKind::ClockSkew => {
            let ms = scenario.skew_s.saturating_mul(1_000);
            let skewed = up(cluster, &target);
            skewed.iter().for_each(|up| up.process.jump_wall_clock(ms));
            hold.await;
            skewed.iter().for_each(|up| up.process.jump_wall_clock(-ms));
        }
        // What is beside the nodes is not simulated: nothing may happen to the data.
        FaultKind::Service => hold.await,
        FaultKind::Switchover => {
            let homes = primaries(cluster);
            order(cluster, &target.region, None).await;
            hold.await;
            for (policy, home) in homes {
                order(cluster, &home, Some(policy)).await;
            }
        }
    }
    cluster.trace().event(format_args!("drill {}: {}", scenario.name, scenario.fault.undone()));
    sleep(Duration::from_secs_f64(after_s)).await;
    Ok(())
}

fn up(cluster: &Cluster, target: &Target) -> Vec<Up> {
    target.nodes.iter().filter_map(|node| cluster.up(*node)).collect()
}

fn set_full(cluster: &Cluster, target: &Target, full: bool) {
    target.nodes.iter().filter_map(|node| cluster.disk(*node)).for_each(|disk| disk.set_full(full));
}

/// The first primary region of each policy.
fn primaries(cluster: &Cluster) -> BTreeMap<PolicyName, RegionName> {
    let Some((_, up)) = cluster.all_up().into_iter().next() else { return BTreeMap::new() };
    let system = up.replication.system();
    let policies = system.policies.values().map(|entry| &entry.policy);
    let policies = policies.filter(|policy| policy.pattern != Pattern::ActiveActive);
    policies
        .filter_map(|policy| Some((policy.name.clone(), policy.primary_order().first().cloned()?)))
        .collect()
}

/// Has an operator make a region the first primary of one policy or of all, through any node. A refusal is an answer, too: the order
/// may have been taken back meanwhile.
async fn order(cluster: &Cluster, to: &RegionName, policy: Option<PolicyName>) {
    let Some((_, up)) = cluster.all_up().into_iter().next() else { return };
    let (replication, to, cluster) = (up.replication, to.clone(), cluster.clone());
    let ordered = up.process.spawn(async move {
        if switch_over(&replication, &to, policy.as_ref()).await {
            cluster.mark("an operator made another region primary");
        }
    });
    // It may die with its node.
    let _ = tokio::time::timeout(ORDER_PATIENCE, ordered).await;
}

/// Makes a region the first primary; whether it now is, of any policy. To be called in a process.
pub(crate) async fn switch_over(
    replication: &Arc<Replication>,
    to: &RegionName,
    policy: Option<&PolicyName>,
) -> bool {
    let Ok(commands) = replication.plan_switchover(to, policy) else { return false };
    let mut any = false;
    for command in commands.into_values() {
        let done = replication.system_write(command, runtime::now() + ORDER_PATIENCE).await;
        any |= matches!(done, Ok(Ok(_)));
    }
    any
}
