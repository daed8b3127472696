//! Clients: they write and read registers and lists through any node, hand on their tokens, and note what they saw.

use crate::cluster::{Cluster, Up};
use crate::judge::durable::Acknowledged;
use crate::register::{Request, Response, decode, encode};
use crate::rng::Rng;
use crate::tables::door::{self, Came};
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

/// The keys of a table whose items are registers and lists, and its counter.
#[must_use]
pub fn keys_of_table() -> (Vec<Key>, Vec<Key>, Key) {
    let of = |kind: &str, count| (0..count).map(|n| Key::from(format!("{kind}-table-{n}"))).collect();
    (of("register", REGISTERS), of("list", LISTS), Key::from("counter-table"))
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
    /// The table that they are items of; otherwise they are rows of the groups.
    table: Option<&'static str>,
    /// Where what the cluster decides is noted.
    decisions: Notes,
}

/// What a node answered.
enum Answer {
    Response(Response, Vec<Position>, NodeId),
    Failed,
    Unknown,
}

impl Answer {
    fn of_group(done: Result<(Bytes, Position, NodeId), Unserved>) -> Self {
        match done {
            Ok((response, position, server)) => match decode(&response) {
                Ok(response) => Self::Response(response, vec![position], server),
                Err(_) => Self::Unknown,
            },
            Err(Unserved::Unknown | Unserved::Storage(_)) => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }

    fn of_table<T>(came: Came<T>, shape: impl FnOnce(T) -> Response) -> Self {
        match came {
            Came::Answered(what, seen, server) => Self::Response(shape(what), seen, server),
            Came::Refused => Self::Response(Response::Refused, Vec::new(), NodeId(0)),
            Came::Failed => Self::Failed,
            Came::Unknown => Self::Unknown,
        }
    }
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
            table: None,
            decisions: notes.clone(),
        }
    }

    /// A client of a table, whose notes are apart; `decisions` are those of the cluster.
    #[must_use]
    pub fn of_table(
        (id, home): (u32, NodeId),
        table: &'static str,
        cluster: &Cluster,
        (notes, decisions): (&Notes, &Notes),
        rng: Rng,
    ) -> Self {
        let (registers, lists, _) = keys_of_table();
        let client = Self::new(id, home, cluster, notes, rng);
        Self { registers, lists, table: Some(table), decisions: decisions.clone(), ..client }
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
            85..=91 if self.table.is_some() => self.count(&up).await,
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

    async fn count(&mut self, up: &Up) {
        let (_, _, counter) = keys_of_table();
        let more = self.rng.range(1..4);
        let call = Call::Add(i64::try_from(more).unwrap_or(0));
        self.write(up, counter.clone(), call, Request::Add(counter.to_string(), more)).await;
    }

    async fn send(&self, up: &Up, key: &Key, request: Request) -> Answer {
        if let Some(table) = self.table {
            let op = match &request {
                Request::Put(key, value) => door::put(table, key, *value),
                Request::Swap(key, expected, value) => door::swap(table, key, *expected, *value),
                Request::Append(key, value) => door::append(table, key, *value),
                Request::Add(key, more) => door::add(table, key, *more),
                _ => return Answer::Failed,
            };
            let (Ok(op), tables) = (op, up.tables()) else { return Answer::Failed };
            let write = async move {
                let came = door::write(&tables, op, runtime::now() + PATIENCE).await;
                Answer::of_table(came, |()| Response::Done)
            };
            return self.ask(up, write).await;
        }
        let (group, replication) = (group_of(key), Arc::clone(&up.replication));
        let Ok(bytes) = encode(&request) else { return Answer::Failed };
        let write = async move {
            let done = replication.write(group, bytes, runtime::now() + PATIENCE).await;
            Answer::of_group(done.map(|done| (done.response, done.position, done.served_by)))
        };
        self.ask(up, write).await
    }

    async fn write(&mut self, up: &Up, key: Key, call: Call, request: Request) {
        let invoked = self.cluster.trace().now();
        let answer = self.send(up, &key, request).await;
        let returned = self.cluster.trace().now();
        let (outcome, seen) = match answer {
            Answer::Response(Response::Done, seen, server) => {
                for position in seen.iter().copied().filter(|position| position.group != GroupId::SYSTEM) {
                    let acknowledged = Acknowledged { position, server, invoked, asked: up.clone() };
                    acknowledged.check(&self.cluster, &self.decisions);
                }
                (Outcome::Ok(Reply::Done), Some(seen))
            }
            Answer::Response(Response::Refused, seen, _) => {
                self.has_seen(seen);
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
        if let Some(seen) = seen {
            self.has_seen(seen);
            self.own.insert(key, id);
        }
    }

    fn has_seen(&mut self, positions: Vec<Position>) {
        positions.into_iter().for_each(|position| self.token.add(position));
    }

    async fn read(&mut self, up: &Up, key: Key, consistency: Consistency) {
        let invoked = self.cluster.trace().now();
        let after = self.own.get(&key).copied().into_iter().collect();
        let answer = self.ask_read(up, &key, consistency).await;
        let returned = self.cluster.trace().now();
        let outcome = match answer {
            Answer::Response(Response::Saw(values), seen, _) => {
                self.has_seen(seen);
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
        if let Answer::Response(Response::Saw(values), seen, _) = answer {
            self.has_seen(seen);
            let values = values.into_iter().map(Value).collect();
            self.notes.lock().list_reads.push(ListRead { key, invoked, returned, values });
        }
    }

    async fn ask_read(&self, up: &Up, key: &Key, consistency: Consistency) -> Answer {
        if let Some(table) = self.table {
            let (tables, key, token) = (up.tables(), key.to_string(), self.token.clone());
            let read = async move {
                let consistent = consistency == Consistency::Consistent;
                let limits = (Some(token), runtime::now() + PATIENCE);
                Answer::of_table(door::read(&tables, (table, &key), consistent, limits).await, Response::Saw)
            };
            return self.ask(up, read).await;
        }
        let group = group_of(key);
        let (replication, seen) = (Arc::clone(&up.replication), self.token.demand(group));
        let Ok(bytes) = encode(&Request::Read(key.to_string())) else { return Answer::Failed };
        self.ask(up, async move {
            let consistency = match consistency {
                Consistency::Consistent => ReadConsistency::Consistent,
                Consistency::Eventual => ReadConsistency::Local { seen, max_staleness: None },
            };
            let done = replication.read(group, bytes, consistency, runtime::now() + PATIENCE).await;
            Answer::of_group(done.map(|done| (done.response, done.position, done.served_by)))
        })
        .await
    }

    /// Runs a request in the node's process. What becomes of it when the process dies or stands still is unknown.
    async fn ask(&self, up: &Up, request: impl Future<Output = Answer> + Send + 'static) -> Answer {
        let task = up.process.spawn(request);
        match timeout(PATIENCE + SLACK, task).await {
            Ok(Ok(answer)) => answer,
            Err(_) => Answer::Unknown,
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
