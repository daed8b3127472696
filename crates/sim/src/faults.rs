//! What goes wrong in a run, alone and mixed, and how it ends.

use crate::cluster::Cluster;
use crate::loose;
use crate::network::Network;
use crate::rng::Rng;
use crate::workload::Notes;
use crate::{rot, script};
use meridian_replication::{FailoverOrder, runtime};
use meridian_types::{GroupId, NodeId, RegionName};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between looks at the health of the stores.
const HEALTH_EVERY: Duration = Duration::from_millis(250);

/// How long an operator waits for a region to be given up.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);
/// The group whose node some faults aim at.
const FIRST: GroupId = GroupId(1);

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between the nodes and the others, in either direction.
    Isolate(BTreeSet<NodeId>),
    /// Nothing passes from the first to the second; the other way everything does.
    OneWay(NodeId, NodeId),
    /// Nothing passes between two nodes.
    Between(NodeId, NodeId),
    /// As [`Fault::Isolate`], on and off.
    Flap(BTreeSet<NodeId>),
    /// Processes die and come back; their peers hear of it, or not.
    Crash(BTreeSet<NodeId>, bool),
    /// Processes stand still.
    Freeze(BTreeSet<NodeId>),
    /// A process stands still, and when it goes on it hears only what had arrived before: nothing new reaches it for a while.
    Numb(NodeId),
    /// Nothing passes between the first two, while the third crashes and comes back, again and again: what it has promised to one
    /// of them before a crash counts afterwards.
    Squeeze(NodeId, NodeId, NodeId),
    /// Syncs take long.
    SlowDisk(NodeId),
    /// A sync fails.
    FailedSync(NodeId),
    /// No space is left.
    FullDisk(NodeId),
    /// Everything takes longer.
    SlowNetwork(u32),
    /// Packets are lost and sent again.
    Loss(u64),
    /// Streams are cut.
    Reset(NodeId),
    /// A wall clock jumps, by milliseconds.
    ClockJump(NodeId, i64),
    /// Leadership of a group is offered to a node.
    Offer(GroupId, NodeId),
    /// As [`Fault::Isolate`], of a region that an operator gives up at once.
    GiveUp(RegionName),
    /// An operator makes a region the first primary of every policy that keeps data there.
    SwitchOver(RegionName),
    /// A bit of the log rots on the node that such things happen to.
    BitFlip(GroupId),
    /// As [`Fault::BitFlip`], when the others need what is lost.
    Forget,
}

/// Which faults are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Menu {
    /// All of them.
    #[default]
    Everything,
    /// Only [`Fault::Squeeze`], around the node that serves the first group.
    Squeezes,
    /// Only [`Fault::Numb`], of the node that serves the first group.
    Numbs,
    /// Only [`Fault::Forget`].
    Forgets,
    /// Only [`Fault::SwitchOver`].
    SwitchesOver,
    /// Only [`Fault::Isolate`], of the node that serves the first group.
    Isolates,
    /// Only [`Fault::GiveUp`], of the region that serves the group that may lose writes.
    GivesUp,
}

impl Fault {
    /// Draws a fault for a cluster.
    #[must_use]
    pub fn draw(rng: &mut Rng, cluster: &Cluster, menu: Menu) -> Option<Self> {
        let shape = cluster.shape();
        let nodes: Vec<NodeId> = shape.nodes().iter().map(|node| node.id).collect();
        let one = *rng.pick(&nodes)?;
        let two = *rng.pick(&nodes)?;
        let region = rng.pick(&shape.regions())?.clone();
        // A whole region, or one node.
        let some: BTreeSet<NodeId> = if rng.chance(60) {
            shape.nodes_of(rng.pick(&shape.regions())?).into_iter().collect()
        } else {
            BTreeSet::from([one])
        };
        let choice = match menu {
            Menu::Everything => rng.range(0..114),
            Menu::Squeezes => 62,
            Menu::Numbs => return Some(Self::Numb(serving(cluster, FIRST).unwrap_or(one))),
            Menu::SwitchesOver => 107,
            Menu::Forgets => 113,
            Menu::Isolates => {
                return Some(Self::Isolate(BTreeSet::from([serving(cluster, FIRST).unwrap_or(one)])));
            }
            Menu::GivesUp => {
                let node = serving(cluster, loose::group(cluster)?).unwrap_or(one);
                let node = shape.nodes().iter().find(|other| other.id == node)?;
                return Some(Self::GiveUp(node.region.clone()));
            }
        };
        Some(match choice {
            0..=11 => Self::Isolate(some),
            12..=19 => Self::OneWay(one, two),
            20..=27 => Self::Between(one, two),
            28..=34 => Self::Flap(some),
            35..=50 => Self::Crash(some, rng.chance(60)),
            51..=59 => Self::Freeze(some),
            60..=61 => Self::Numb(one),
            62..=64 => {
                let one = serving(cluster, FIRST).unwrap_or(one);
                let others: Vec<NodeId> =
                    nodes.iter().copied().filter(|node| *node != one && *node != two).collect();
                Self::Squeeze(one, two, *rng.pick(&others)?)
            }
            65..=69 => Self::SlowDisk(one),
            70..=73 => Self::FailedSync(one),
            74..=77 => Self::FullDisk(one),
            78..=80 => Self::SlowNetwork(u32::try_from(rng.range(2..5)).unwrap_or(2)),
            81..=83 => Self::Loss(rng.range(5..30)),
            84..=86 => Self::Reset(one),
            87..=89 => Self::ClockJump(one, jump(rng)),
            100..=102 if loose::group(cluster).is_some() => Self::GiveUp(region),
            100..=107 => Self::SwitchOver(region),
            108..=111 => Self::BitFlip(rot::group(cluster, rng)),
            112..=113 => Self::Forget,
            _ => {
                let groups = shape.single_groups();
                let group = u32::try_from(rng.range(0..groups + 1)).unwrap_or(1);
                Self::Offer(GroupId(group), two)
            }
        })
    }

    /// Has it happen, and ends it after a while.
    pub async fn happen(self, cluster: Cluster, rng: Rng) -> Result<(), String> {
        let suffering = cluster.clone();
        suffering.suffer(self.go_on(cluster, rng)).await
    }

    async fn go_on(self, cluster: Cluster, mut rng: Rng) -> Result<(), String> {
        cluster.trace().event(format_args!("fault {self:?}"));
        let network = cluster.network().clone();
        let lasting = rng.ms(100..12_000);
        match &self {
            Self::Isolate(nodes) => part(&network, &border(&cluster, nodes), sleep(lasting)).await,
            Self::OneWay(from, to) => part(&network, &[(*from, *to)], sleep(lasting)).await,
            Self::Between(one, two) => part(&network, &both_ways(*one, *two), sleep(lasting)).await,
            Self::Flap(nodes) => {
                flap(&cluster, &border(&cluster, nodes), &mut rng, Instant::now() + lasting).await;
            }
            Self::Crash(nodes, told) => {
                nodes.iter().for_each(|node| cluster.kill(*node, *told));
                sleep(rng.ms(50..8_000)).await;
                for node in nodes {
                    cluster.start(*node).await?;
                }
            }
            Self::Freeze(nodes) => {
                let frozen: Vec<_> = nodes.iter().filter_map(|node| cluster.up(*node)).collect();
                frozen.iter().for_each(|up| up.process.freeze());
                sleep(lasting).await;
                frozen.iter().for_each(|up| up.process.thaw());
            }
            Self::Squeeze(one, two, third) => {
                let crashes = crash_again(&cluster, *third, &mut rng, Instant::now() + lasting);
                part(&network, &both_ways(*one, *two), crashes).await?;
            }
            Self::Numb(node) => numb(&cluster, *node, &mut rng, lasting).await,
            Self::SlowDisk(node) => {
                let Some(disk) = cluster.disk(*node) else { return Ok(()) };
                disk.set_slow(true);
                sleep(lasting).await;
                disk.set_slow(false);
            }
            Self::FailedSync(node) => {
                if let Some(disk) = cluster.disk(*node) {
                    disk.fail_next_sync();
                }
            }
            Self::FullDisk(node) => {
                let Some(disk) = cluster.disk(*node) else { return Ok(()) };
                disk.set_full(true);
                sleep(lasting).await;
                disk.set_full(false);
            }
            Self::SlowNetwork(factor) => {
                network.stretch(*factor);
                sleep(lasting).await;
                network.stretch(1);
            }
            Self::Loss(percent) => {
                network.lose(*percent);
                sleep(lasting).await;
                network.lose(0);
            }
            Self::Reset(node) => network.cut_streams(|ends| ends.0 == *node || ends.1 == *node),
            Self::ClockJump(node, ms) => {
                if let Some(up) = cluster.up(*node) {
                    up.process.jump_wall_clock(*ms);
                }
            }
            Self::Offer(group, to) => {
                for (_, up) in cluster.all_up() {
                    let (replication, group, to) = (up.replication, *group, *to);
                    drop(up.process.spawn(async move { replication.offer_leadership(group, to).await }));
                }
            }
            Self::SwitchOver(region) => switch_over(&cluster, region),
            Self::BitFlip(group) => rot::flip(&cluster, *group, &mut rng).await?,
            Self::Forget => rot::forget(&cluster, &mut rng).await?,
            Self::GiveUp(region) => {
                let inside = cluster.shape().nodes_of(region).into_iter().collect();
                part(&network, &border(&cluster, &inside), async {
                    sleep(rng.ms(1..300)).await;
                    give_up(&cluster, region, &inside);
                    sleep(lasting).await;
                })
                .await;
            }
        }
        cluster.trace().event(format_args!("over {self:?}"));
        Ok(())
    }
}

/// Blocks the pairs for as long as something else goes on.
pub(crate) async fn part<T>(
    network: &Network,
    pairs: &[(NodeId, NodeId)],
    meanwhile: impl Future<Output = T>,
) -> T {
    network.block(pairs);
    let came = meanwhile.await;
    network.open(pairs);
    came
}

fn both_ways(one: NodeId, two: NodeId) -> [(NodeId, NodeId); 2] {
    [(one, two), (two, one)]
}

async fn flap(cluster: &Cluster, pairs: &[(NodeId, NodeId)], rng: &mut Rng, end: Instant) {
    let network = cluster.network();
    while Instant::now() < end {
        part(network, pairs, sleep(rng.ms(50..1_500))).await;
        sleep(rng.ms(50..1_500)).await;
    }
}

async fn numb(cluster: &Cluster, node: NodeId, rng: &mut Rng, lasting: Duration) {
    let network = cluster.network();
    let Some(up) = cluster.up(node) else { return };
    let pairs: Vec<_> =
        border(cluster, &BTreeSet::from([node])).into_iter().filter(|(_, to)| *to == node).collect();
    up.process.freeze();
    sleep(rng.ms(1..400)).await;
    part(network, &pairs, async {
        sleep(lasting).await;
        up.process.thaw();
        sleep(rng.ms(100..2_000)).await;
    })
    .await;
}

async fn crash_again(cluster: &Cluster, node: NodeId, rng: &mut Rng, end: Instant) -> Result<(), String> {
    while Instant::now() < end {
        sleep(rng.ms(300..2_500)).await;
        cluster.kill(node, true);
        sleep(rng.ms(1..100)).await;
        cluster.start(node).await?;
    }
    Ok(())
}

/// Has every node outside a region order that it be given up, as an operator would who sees it dark.
fn give_up(cluster: &Cluster, region: &RegionName, inside: &BTreeSet<NodeId>) {
    for (_, up) in cluster.all_up().into_iter().filter(|(node, _)| !inside.contains(node)) {
        let (replication, cluster) = (up.replication, cluster.clone());
        let order = FailoverOrder { from: region.clone(), policy: None, automatic: false };
        drop(up.process.spawn(async move {
            let done = replication.fail_over(order, runtime::now() + ORDER_PATIENCE).await;
            if done.is_ok_and(|groups| groups.iter().any(|group| group.cut.is_some())) {
                cluster.mark("an operator gave a region up");
            }
        }));
    }
}

/// Has an operator make a region the primary one, through any node.
fn switch_over(cluster: &Cluster, region: &RegionName) {
    let Some((_, up)) = cluster.all_up().into_iter().next() else { return };
    let (replication, to, cluster) = (up.replication, region.clone(), cluster.clone());
    drop(up.process.spawn(async move {
        if script::switch_over(&replication, &to, None).await {
            cluster.mark("an operator made another region primary");
        }
    }));
}

/// The node that serves a group.
pub(crate) fn serving(cluster: &Cluster, group: GroupId) -> Option<NodeId> {
    let up = cluster.all_up();
    let serves = |up: &crate::cluster::Up| {
        up.process.within(|| up.replication.serves()).iter().any(|served| served.group == group)
    };
    up.iter().find(|(_, up)| serves(up)).map(|(node, _)| *node)
}

/// Seconds mostly, minutes sometimes, either way.
fn jump(rng: &mut Rng) -> i64 {
    let size = if rng.chance(70) { rng.range(1..5_000) } else { rng.range(5_000..600_000) };
    let size = i64::try_from(size).unwrap_or(0);
    if rng.chance(50) { size } else { -size }
}

/// Every ordered pair of a node inside and a node outside.
pub(crate) fn border(cluster: &Cluster, inside: &BTreeSet<NodeId>) -> Vec<(NodeId, NodeId)> {
    let all: Vec<NodeId> = cluster.shape().nodes().iter().map(|node| node.id).collect();
    let outside: Vec<NodeId> = all.into_iter().filter(|node| !inside.contains(node)).collect();
    let pairs = inside.iter().flat_map(|a| outside.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

/// Brings faults until `end`, a few at once, and waits for all of them to be over.
///
/// # Errors
/// When a node does not start again.
pub async fn bring(cluster: &Cluster, menu: Menu, mut rng: Rng, end: Instant) -> Result<(), String> {
    let mut under_way = Vec::new();
    while Instant::now() < end {
        sleep(rng.ms(200..6_000)).await;
        for _ in 0..rng.range(1..3) {
            if let Some(fault) = Fault::draw(&mut rng, cluster, menu) {
                under_way.push(tokio::spawn(fault.happen(cluster.clone(), rng.fork())));
            }
        }
    }
    for fault in under_way {
        fault.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Ends everything that is wrong and starts what is down.
///
/// # Errors
/// When a node does not start again.
pub async fn heal(cluster: &Cluster) -> Result<(), String> {
    cluster.trace().event(format_args!("everything heals"));
    cluster.network().heal();
    for node in cluster.members() {
        if let Some(disk) = cluster.disk(node) {
            disk.heal();
        }
        if let Some(up) = cluster.up(node) {
            up.process.thaw();
            up.process.mend_wall_clock();
        }
        cluster.start(node).await?;
    }
    Ok(())
}

/// Ends a node whose store has failed, as the node itself would, and starts it again. Runs until it is aborted.
pub async fn watch_stores(cluster: Cluster, notes: Notes, mut rng: Rng) {
    loop {
        sleep(HEALTH_EVERY).await;
        for (node, up) in cluster.all_up() {
            let Err(error) = up.store.health() else { continue };
            cluster.trace().event(format_args!("node {node} stops: {error}"));
            cluster.mark("a failed sync stopped a node");
            cluster.kill(node, true);
            sleep(rng.ms(100..3_000)).await;
            if let Err(error) = cluster.start(node).await {
                notes.lock().broken.push(error);
            }
        }
    }
}
