//! Who is in the cluster, as this node knows it: what the system state says, and until there is one, what the configuration says.

use super::Replication;
use crate::runtime::watch;
use crate::system::{SystemError, SystemState};
use crate::transport::{Doorman, Hello, OLDEST_PROTOCOL, PROTOCOL, PeerAddress, Refusal};
use meridian_placement::Topology;
use meridian_types::{GroupId, NodeId, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// A node that has heard from the system leader within this knows who is in the cluster.
const INFORMED: Duration = Duration::from_secs(5);

/// The nodes of one system state.
#[derive(Clone, Default)]
struct Known {
    everyone: Arc<Topology>,
    staying: Arc<Topology>,
}

/// Why a node has no place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expelled {
    /// It has left, as it was asked to.
    Left(String),
    /// The others do not let it in, and never will.
    Refused(String),
}

/// What a node starts with.
pub(crate) struct Seeds {
    /// The nodes of the configuration.
    pub(crate) topology: Topology,
    /// How they are reached.
    pub(crate) addresses: Vec<PeerAddress>,
    /// Whether this node joins a cluster that runs, and so founds nothing.
    pub(crate) joins: bool,
}

/// Knows the nodes.
pub(crate) struct Roster {
    own: NodeId,
    name: NodeName,
    cluster: String,
    disk: u64,
    pub(crate) seeds: Seeds,
    system: watch::Receiver<Arc<SystemState>>,
    /// The newest state that was looked at, and its nodes.
    known: Mutex<Option<(Arc<SystemState>, Known)>>,
    /// Where peers are reached instead, by name.
    routes: Mutex<BTreeMap<NodeName, String>>,
    expelled: watch::Sender<Option<Expelled>>,
    node: OnceLock<Weak<Replication>>,
}

impl Roster {
    pub(crate) fn new(
        own: NodeId,
        (cluster, disk): (String, u64),
        seeds: Seeds,
        system: watch::Receiver<Arc<SystemState>>,
    ) -> Option<Arc<Self>> {
        let name = seeds.topology.node(own)?.name.clone();
        Some(Arc::new(Self {
            own,
            name,
            cluster,
            disk,
            seeds,
            system,
            known: Mutex::default(),
            routes: Mutex::default(),
            expelled: watch::channel(None).0,
            node: OnceLock::new(),
        }))
    }

    /// Tells how well this node is informed from now on.
    pub(crate) fn serve(&self, node: &Arc<Replication>) {
        // Set once, when the node starts.
        let _ = self.node.set(Arc::downgrade(node));
    }

    fn state(&self) -> Arc<SystemState> {
        Arc::clone(&self.system.borrow())
    }

    fn known(&self) -> Option<Known> {
        let state = self.state();
        if state.nodes.is_empty() {
            return None;
        }
        let mut newest = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((of, known)) if Arc::ptr_eq(of, &state) => Some(known.clone()),
            _ => {
                let known =
                    Known { everyone: Arc::new(state.everyone()), staying: Arc::new(state.staying()) };
                *newest = Some((state, known.clone()));
                Some(known)
            }
        }
    }

    /// Every node of the cluster.
    pub(crate) fn everyone(&self) -> Arc<Topology> {
        self.known().map_or_else(|| Arc::new(self.seeds.topology.clone()), |known| known.everyone)
    }

    /// Those on which groups are placed.
    pub(crate) fn staying(&self) -> Arc<Topology> {
        self.known().map_or_else(|| Arc::new(self.seeds.topology.clone()), |known| known.staying)
    }

    /// Whether a node is a witness; `None` when this node does not know it.
    pub(crate) fn is_witness(&self, node: NodeId) -> Option<bool> {
        let known = self.everyone().node(node).map(|node| node.witness);
        // What is said of this node itself does not change, and a state from before it joined does not know it.
        known.or_else(|| self.seeds.topology.node(node).filter(|_| node == self.own).map(|node| node.witness))
    }

    /// Whether a group has a majority of linked voters without a member.
    pub(crate) fn spares(&self, group: GroupId, member: NodeId, linked: impl Fn(NodeId) -> bool) -> bool {
        let state = self.state();
        let Some(info) = state.groups.get(&group) else { return false };
        let voters = &info.placement.voters;
        let there =
            voters.iter().filter(|voter| **voter == self.own || (**voter != member && linked(**voter)));
        there.count() * 2 > voters.len()
    }

    /// The disk that this node has.
    pub(crate) fn disk(&self) -> u64 {
        self.disk
    }

    /// `host:port` at which the configuration says that this node is reached; empty when it says nothing.
    pub(crate) fn own_address(&self) -> String {
        self.seed(self.own).map_or_else(String::new, |own| own.address.clone())
    }

    fn seed(&self, node: NodeId) -> Option<&PeerAddress> {
        self.seeds.addresses.iter().find(|peer| peer.number == node)
    }

    /// The nodes to which there should be a link.
    pub(crate) fn peers(&self) -> BTreeSet<NodeId> {
        let state = self.state();
        let seeds = self.seeds.addresses.iter().map(|peer| peer.number);
        let seeds = seeds.filter(|number| state.nodes.is_empty() || state.may_yet_join(*number));
        state.nodes.keys().copied().chain(seeds).filter(|number| *number != self.own).collect()
    }

    /// Whether a node is known to be in the cluster no more.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        let state = self.state();
        !state.nodes.is_empty() && state.is_removed(node)
    }

    /// Has peers be reached elsewhere than the configuration and the system state say, by name.
    pub(crate) fn set_routes(&self, routes: BTreeMap<NodeName, String>) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Follows whether this node must go, and why.
    pub(crate) fn watch_expelled(&self) -> watch::Receiver<Option<Expelled>> {
        self.expelled.subscribe()
    }

    /// Notes that this node has left.
    pub(crate) fn left(&self) {
        self.expelled.send_replace(Some(Expelled::Left(removed(&self.name, self.own))));
    }

    fn informed(&self) -> bool {
        let node = self.node.get().and_then(Weak::upgrade);
        node.is_some_and(|node| node.system_staleness().is_some_and(|stale| stale < INFORMED))
    }

    fn greet(&self, expects: Option<u64>) -> Hello {
        Hello {
            node: self.own,
            name: self.name.clone(),
            cluster: self.cluster.clone(),
            disk: self.disk,
            expects,
            // Who does not speak the cluster's level could not read what is in its logs.
            oldest: self.state().level().max(OLDEST_PROTOCOL),
            newest: PROTOCOL,
        }
    }

    fn knows(&self, hello: &Hello) -> Result<(), Refusal> {
        let Hello { node: number, name, .. } = hello;
        let state = self.state();
        let stranger = || Refusal::now(format!("node {name} (number {number}) is not in this cluster"));
        if state.nodes.is_empty() {
            let seed = self.seed(*number).is_some_and(|peer| peer.name == *name);
            return if seed || self.seeds.joins { Ok(()) } else { Err(stranger()) };
        }
        match state.nodes.get(number) {
            Some(entry) if entry.name != *name => Err(stranger()),
            Some(entry) if entry.disk.is_some_and(|disk| disk != hello.disk) => {
                Err(Refusal::for_good(SystemError::OtherDisk(name.clone()).to_string()))
            }
            Some(_) => Ok(()),
            // It may have joined while this node was away.
            None if state.may_yet_join(*number) => {
                if self.informed() {
                    Err(stranger())
                } else {
                    Ok(())
                }
            }
            None => Err(Refusal::for_good(removed(name, *number))),
        }
    }
}

/// What a node that was removed is told.
fn removed(name: &NodeName, number: NodeId) -> String {
    format!(
        "node {name} (number {number}) has left the cluster; delete its data, and to bring the machine back join it as a new \
         node with `meridian node token create` and `meridian node join`"
    )
}

impl Doorman for Roster {
    fn hello(&self, peer: NodeId) -> Hello {
        self.greet(self.state().nodes.get(&peer).and_then(|entry| entry.disk))
    }

    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        self.greet(None).understands(hello)?;
        if hello.expects.is_some_and(|disk| disk != self.disk) {
            let why = SystemError::OtherDisk(self.name.clone()).to_string();
            self.expelled(&why);
            return Err(Refusal::now(why));
        }
        self.knows(hello)
    }

    fn address(&self, peer: NodeId, attempt: usize) -> Option<PeerAddress> {
        if !self.peers().contains(&peer) {
            return None;
        }
        let state = self.state();
        let entry = state.nodes.get(&peer);
        let seed = self.seed(peer);
        let name = entry.map(|entry| &entry.name).or(seed.map(|seed| &seed.name))?.clone();
        let route = self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        // What this node was told of its own surroundings comes before what the cluster knows.
        let told = route.or_else(|| seed.map(|seed| seed.address.clone()));
        let mut addresses: Vec<String> =
            told.into_iter().chain(entry.map(|entry| entry.peer.clone())).collect();
        addresses.retain(|address| !address.is_empty());
        let address = addresses.get(attempt % addresses.len().max(1))?.clone();
        Some(PeerAddress { number: peer, name, address })
    }

    fn expelled(&self, why: &str) {
        tracing::error!(why, "this node has no place in the cluster");
        self.expelled.send_replace(Some(Expelled::Refused(why.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{NodeEntry, Started, SystemCommand};
    use meridian_placement::Node;
    use meridian_types::{RegionName, ZoneName};

    fn name(number: u64) -> NodeName {
        NodeName::new(&format!("n{number}")).expect("a name")
    }

    fn node(number: u64) -> Node {
        let (region, zone) = (RegionName::new("a").expect("a name"), ZoneName::new("z").expect("a name"));
        Node { id: NodeId(number), name: name(number), region, zone, witness: false }
    }

    fn entry(number: u64) -> NodeEntry {
        NodeEntry::new(node(number), format!("n{number}:8005"))
    }

    /// Node 1 of 1 to 3, which knows the disk of each by its number.
    fn roster(joins: bool, founded: bool) -> Arc<Roster> {
        let mut state = SystemState::default();
        if founded {
            let nodes = (1..=3).map(entry).collect();
            state.apply(SystemCommand::Found { cluster: "c".to_owned(), nodes }).expect("it is the first");
            for number in 1..=3 {
                let (node, peer) = (NodeId(number), format!("n{number}:8005"));
                let started = Started { node, disk: number, protocol: 1, peer };
                state.apply(SystemCommand::NodeStarted(started)).expect("it is known");
            }
        }
        let topology = Topology::new((1..=3).map(node)).expect("names differ");
        let address = |number| PeerAddress {
            number: NodeId(number),
            name: name(number),
            address: format!("seed-{number}:8005"),
        };
        let seeds = Seeds { topology, addresses: (1..=3).map(address).collect(), joins };
        let system = watch::channel(Arc::new(state)).1;
        Roster::new(NodeId(1), ("c".to_owned(), 1), seeds, system).expect("it is a seed")
    }

    fn hello(number: u64, disk: u64) -> Hello {
        let node = NodeId(number);
        Hello { node, name: name(number), disk, ..roster(false, false).greet(None) }
    }

    #[test]
    fn a_node_is_known_by_its_name_and_its_disk() {
        let roster = roster(false, true);
        assert_eq!(roster.admit(&hello(2, 2)), Ok(()));
        let wiped = roster.admit(&hello(2, 99)).expect_err("another disk");
        assert!(wiped.for_good && wiped.why.contains("meridian node replace n2"), "{wiped}");
        assert!(!roster.admit(&Hello { name: name(3), ..hello(2, 2) }).expect_err("another name").for_good);
        assert_eq!(roster.hello(NodeId(2)).expects, Some(2));
        // The other side knows this node by another disk: it has forgotten what it promised.
        let expects = Hello { expects: Some(7), ..hello(2, 2) };
        assert!(roster.admit(&expects).is_err());
        assert!(matches!(*roster.watch_expelled().borrow(), Some(Expelled::Refused(_))));
    }

    #[test]
    fn strangers_are_let_in_only_by_those_who_cannot_know_better() {
        assert!(roster(false, false).admit(&hello(4, 4)).is_err(), "a new cluster is those that found it");
        assert_eq!(roster(false, false).admit(&hello(3, 3)), Ok(()));
        assert_eq!(roster(true, false).admit(&hello(4, 4)), Ok(()), "one that joins knows nobody yet");
        // Nothing has been heard of the leader: number 4 may have joined meanwhile.
        assert_eq!(roster(false, true).admit(&hello(4, 4)), Ok(()));
    }

    #[test]
    fn what_the_configuration_says_of_an_address_comes_first() {
        let roster = roster(false, true);
        let address = |attempt| roster.address(NodeId(2), attempt).expect("it is a peer").address;
        assert_eq!([address(0), address(1)], ["seed-2:8005", "n2:8005"]);
        roster.set_routes([(name(2), "relay:1".to_owned())].into());
        assert_eq!([address(0), address(1), address(2)], ["relay:1", "n2:8005", "relay:1"]);
        assert_eq!(roster.address(NodeId(9), 0), None);
    }
}
