//! Clients: they write and read registers and lists through any node, hand on their tokens, and note what they saw.

use crate::cluster::{Cluster, Up};
use crate::judge::durable::Acknowledged;
use crate::register::{Request, Response, decode, encode};
use crate::rng::Rng;
use bytes::Bytes;
use meridian_history::{Call, ClientId, Consistency, History, Key, OpId, Operation, Outcome, Reply, Value};
use meridian_replication::system::SystemState;
use meridian_replication::{ReadConsistency, Unserved, runtime};
use meridian_types::{GroupId, NodeId, Position, RegionName, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How much longer a client waits for a node that does not even say that the time is over.
const SLACK: Duration = Duration::from_millis(500);
/// Registers of each group.
const REGISTERS: u64 = 3;
/// Lists of each group.
const LISTS: u64 = 2;

/// What clients saw of lists, beside the history.
#[derive(Clone, Debug)]
pub struct ListRead {
    /// The list.
    pub key: Key,
    /// When it was asked for.
    pub invoked: u64,
    /// When the answer came.
    pub returned: u64,
    /// What was seen.
    pub values: Vec<Value>,
}

/// All that clients noted. Clones are the same notes.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// What is in the notes.
#[derive(Default)]
pub struct Noted {
    /// Operations on registers, and appends.
    pub history: History,
    /// Consistent reads of lists.
    pub list_reads: Vec<ListRead>,
    /// Broken promises that were seen on the spot.
    pub broken: Vec<String>,
    /// When each region was last recorded as lost by any node.
    pub lost_at: BTreeMap<RegionName, u64>,
    /// The sets of voters that each group has been given.
    pub voters: BTreeMap<GroupId, BTreeSet<BTreeSet<NodeId>>>,
    /// The system state that each node was last seen with.
    pub systems: BTreeMap<NodeId, Arc<SystemState>>,
    /// Operations by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    next_value: u64,
}

impl Notes {
    /// Notes a broken promise.
    pub fn broken(&self, now: u64, what: &str) {
        self.lock().broken.push(format!("at {:.6}: {what}", now as f64 / 1e9));
    }

    /// Opens the notes.
    pub fn lock(&self) -> MutexGuard<'_, Noted> {
        // One thread only; a panic ends the run.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self) -> u64 {
        let mut noted = self.lock();
        noted.next_value += 1;
        noted.next_value
    }
}

/// The group that a key belongs to.
#[must_use]
pub fn group_of(key: &str) -> GroupId {
    let number = key.split_once('-').and_then(|(_, rest)| rest.split_once('-')).map(|(group, _)| group);
    GroupId(number.and_then(|number| number.parse().ok()).unwrap_or(1))
}

/// The keys of the groups: registers, then lists.
#[must_use]
pub fn keys(groups: u64) -> (Vec<Key>, Vec<Key>) {
    let of = |kind: &'static str, count| {
        let groups = 1..=groups;
        groups.flat_map(move |group| (0..count).map(move |n| Key::from(format!("{kind}-{group}-{n}"))))
    };
    (of("register", REGISTERS).collect(), of("list", LISTS).collect())
}

/// One client.
pub struct Client {
    id: ClientId,
    home: NodeId,
    cluster: Cluster,
    notes: Notes,
    rng: Rng,
    token: Token,
    /// The newest own write of each key, whose token is carried on.
    own: BTreeMap<Key, OpId>,
    registers: Vec<Key>,
    lists: Vec<Key>,
}

/// What a node answered.
enum Answer {
    Response(Response, Position, NodeId),
    Failed,
    Unknown,
}

impl Client {
    /// A client that lives near `home`.
    #[must_use]
    pub fn new(id: u32, home: NodeId, cluster: &Cluster, notes: &Notes, rng: Rng) -> Self {
        let (registers, lists) = keys(cluster.shape().strict_groups());
        Self {
            id: ClientId(id),
            home,
            cluster: cluster.clone(),
            notes: notes.clone(),
            rng,
            token: Token::new(),
            own: BTreeMap::new(),
            registers,
            lists,
        }
    }

    /// Works until `end`.
    pub async fn run(mut self, end: Instant) {
        while Instant::now() < end {
            let pause = self.rng.ms(1..120);
            sleep(pause).await;
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let Some((_, up)) = self.choose_node() else { return };
        let Some(register) = self.rng.pick(&self.registers).cloned() else { return };
        let Some(list) = self.rng.pick(&self.lists).cloned() else { return };
        match self.rng.range(0..100) {
            0..=19 => {
                let value = self.notes.value();
                let request = Request::Put(register.to_string(), value);
                self.write(&up, register, Call::Write(Value(value)), request).await;
            }
            20..=34 => {
                let value = self.notes.value();
                let seen = self.last_seen(&register);
                let request = Request::Swap(register.to_string(), seen.map(|seen| seen.0), value);
                self.write(&up, register, Call::CompareAndSet(seen, Value(value)), request).await;
            }
            35..=54 => {
                let value = self.notes.value();
                let request = Request::Append(list.to_string(), value);
                self.write(&up, list, Call::Append(Value(value)), request).await;
            }
            55..=74 => self.read(&up, register, Consistency::Consistent).await,
            75..=84 => self.read_list(&up, list).await,
            _ => self.read(&up, register, Consistency::Eventual).await,
        }
    }

    /// Mostly the home node, sometimes another: tokens hold everywhere.
    fn choose_node(&mut self) -> Option<(NodeId, Up)> {
        if !self.rng.chance(30)
            && let Some(up) = self.cluster.up(self.home)
        {
            return Some((self.home, up));
        }
        let all = self.cluster.all_up();
        self.rng.pick(&all).cloned()
    }

    /// The value that this client saw last under a key: a guess for a compare-and-set.
    fn last_seen(&self, key: &Key) -> Option<Value> {
        let noted = self.notes.lock();
        let mut last = None;
        for (_, op) in noted.history.iter().filter(|(_, op)| op.key == *key && op.client == self.id) {
            match (op.written(), op.outcome) {
                (_, Outcome::Ok(Reply::Saw(seen))) => last = seen,
                (Some(value), Outcome::Ok(Reply::Done)) => last = Some(value),
                _ => {}
            }
        }
        last
    }

    async fn write(&mut self, up: &Up, key: Key, call: Call, request: Request) {
        let invoked = self.cluster.trace().now();
        let group = group_of(&key);
        let replication = Arc::clone(&up.replication);
        let Ok(bytes) = encode(&request) else { return };
        let answer = self
            .ask(up, async move {
                let done = replication.write(group, bytes, runtime::now() + PATIENCE).await?;
                Ok((done.response, done.position, done.served_by))
            })
            .await;
        let returned = self.cluster.trace().now();
        let (outcome, position) = match answer {
            Answer::Response(Response::Done, position, server) => {
                let acknowledged = Acknowledged { position, server, invoked, asked: up.clone() };
                acknowledged.check(&self.cluster, &self.notes);
                (Outcome::Ok(Reply::Done), Some(position))
            }
            Answer::Response(Response::Refused, position, _) => {
                self.token.add(position);
                (Outcome::Ok(Reply::Refused), None)
            }
            Answer::Response(Response::Saw(_), ..) | Answer::Failed => (Outcome::Failed, None),
            Answer::Unknown => (Outcome::Unknown, None),
        };
        let operation = Operation {
            client: self.id,
            key: key.clone(),
            call,
            outcome,
            invoked,
            returned,
            after: Vec::new(),
            // The position of the answer is that of a state which includes the write, not where the write landed.
            position: None,
        };
        let id = self.note(operation);
        if let Some(position) = position {
            self.token.add(position);
            self.own.insert(key, id);
        }
    }

    async fn read(&mut self, up: &Up, key: Key, consistency: Consistency) {
        let invoked = self.cluster.trace().now();
        let after = self.own.get(&key).copied().into_iter().collect();
        let answer = self.ask_read(up, &key, consistency).await;
        let returned = self.cluster.trace().now();
        let outcome = match answer {
            Answer::Response(Response::Saw(values), position, _) => {
                self.token.add(position);
                Outcome::Ok(Reply::Saw(values.first().copied().map(Value)))
            }
            _ => Outcome::Failed,
        };
        let call = Call::Read(consistency);
        let client = self.id;
        self.note(Operation { client, key, call, outcome, invoked, returned, after, position: None });
    }

    async fn read_list(&mut self, up: &Up, key: Key) {
        let invoked = self.cluster.trace().now();
        let answer = self.ask_read(up, &key, Consistency::Consistent).await;
        let returned = self.cluster.trace().now();
        if let Answer::Response(Response::Saw(values), position, _) = answer {
            self.token.add(position);
            let values = values.into_iter().map(Value).collect();
            self.notes.lock().list_reads.push(ListRead { key, invoked, returned, values });
        }
    }

    async fn ask_read(&self, up: &Up, key: &Key, consistency: Consistency) -> Answer {
        let group = group_of(key);
        let (replication, seen) = (Arc::clone(&up.replication), self.token.demand(group));
        let Ok(bytes) = encode(&Request::Read(key.to_string())) else { return Answer::Failed };
        self.ask(up, async move {
            let consistency = match consistency {
                Consistency::Consistent => ReadConsistency::Consistent,
                Consistency::Eventual => ReadConsistency::Local { seen, max_staleness: None },
            };
            let done = replication.read(group, bytes, consistency, runtime::now() + PATIENCE).await?;
            Ok((done.response, done.position, done.served_by))
        })
        .await
    }

    /// Runs a request in the node's process. What becomes of it when the process dies or stands still is unknown.
    async fn ask(
        &self,
        up: &Up,
        request: impl Future<Output = Result<(Bytes, Position, NodeId), Unserved>> + Send + 'static,
    ) -> Answer {
        let task = up.process.spawn(request);
        match timeout(PATIENCE + SLACK, task).await {
            Ok(Ok(Ok((response, position, server)))) => match decode(&response) {
                Ok(response) => Answer::Response(response, position, server),
                Err(_) => Answer::Unknown,
            },
            Ok(Ok(Err(Unserved::Unknown | Unserved::Storage(_)))) | Err(_) => Answer::Unknown,
            Ok(Ok(Err(_))) => Answer::Failed,
            Ok(Err(error)) => {
                if error.is_panic() {
                    self.notes.lock().broken.push(format!("a request panicked: {error}"));
                }
                Answer::Unknown
            }
        }
    }

    fn note(&self, operation: Operation) -> OpId {
        let end = match operation.outcome {
            Outcome::Ok(Reply::Refused) => "refused",
            Outcome::Ok(_) => "done",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        };
        let mut noted = self.notes.lock();
        *noted.ends.entry(end).or_default() += 1;
        let id = noted.history.push(operation);
        self.cluster.trace().event(format_args!("client {}", noted.history.describe(id)));
        id
    }
}
