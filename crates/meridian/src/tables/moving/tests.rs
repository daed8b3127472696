//! Whole moves under load, with the real rules and movers over a cluster in memory: requests are late, are lost, and take effect though
//! their answer is lost; movers die, and there are several at once. The clock is paused, and a seed decides everything.

use super::mover::{Cluster, Ended, Mover, jobs};
use super::rules::{MoveAnswer, MoveWrite};
use super::{Place, capture, changed, evaluate, has_moved, rows};
use crate::tables::evaluate::{GroupRead, decode};
use bytes::Bytes;
use meridian_placement::{CommitRule, Placement};
use meridian_replication::system::{
    GroupInfo, MovePhase, Sweep, SystemCommand, SystemState, TableEntry, TableStatus,
};
use meridian_replication::{
    MoveNote, Mutation, Neighbour, Unserved, View, WallClock, move_notes, table_prefix, table_range,
};
use meridian_types::hash::group_ordinal;
use meridian_types::{GroupId, Incarnation, Policy, PolicyName, Position, RegionName, TableId, TableName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const TABLE: TableId = TableId(1);
const KEYS: u64 = 60;

/// One group's state.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Bytes, (u64, Bytes)>,
    index: u64,
}

impl Rows {
    fn apply(&mut self, mutations: Vec<Mutation>) {
        self.index += 1;
        for Mutation { key, value } in mutations {
            match value {
                Some(value) => drop(self.rows.insert(key, (self.index, value))),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    fn delete(&mut self, (start, end): &(Bytes, Bytes)) {
        self.rows.retain(|key, _| key < start || key >= end);
    }
}

impl View for Rows {
    fn group(&self) -> GroupId {
        GroupId(1)
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.rows.get(key).map(|(_, value)| value.clone()))
    }

    fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
        Ok(self.rows.get(key).map_or(0, |(index, _)| *index))
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        _reverse: bool,
        row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
    ) -> io::Result<()> {
        for (key, (_, value)) in self.rows.range(Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end)) {
            if !row(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn neighbour(&self, _: GroupId) -> Option<Neighbour<'_>> {
        None
    }

    fn clock(&self) -> WallClock {
        WallClock::default()
    }
}

struct World {
    system: Mutex<SystemState>,
    groups: Mutex<BTreeMap<GroupId, Rows>>,
    dice: Mutex<StdRng>,
    /// Groups that nobody reaches.
    away: Mutex<BTreeSet<GroupId>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn policy_name(name: &str) -> PolicyName {
    PolicyName::new(name).unwrap()
}

fn table_name() -> TableName {
    TableName::new("orders").unwrap()
}

impl World {
    /// A table of policy `a`, of three groups; policy `b` has two.
    fn new(seed: u64) -> Arc<Self> {
        let mut system = SystemState::default();
        let region = RegionName::new("r1").unwrap();
        for (name, groups) in [("a", 3), ("b", 2)] {
            let mut policy = Policy::built_in(std::slice::from_ref(&region), None).remove(0);
            policy.name = policy_name(name);
            let group = |ordinal| GroupInfo {
                id: GroupId(0),
                policy: policy_name(name),
                ordinal,
                incarnation: Incarnation(0),
                placement: Placement {
                    voters: [].into(),
                    learners: [].into(),
                    witnesses: [].into(),
                    preferred_leaders: Vec::new(),
                    data: BTreeMap::new(),
                    rule: CommitRule::Majority,
                },
                refoundations: Vec::new(),
                founders: [].into(),
                arriving: [].into(),
            };
            let groups = (0..groups).map(group).collect();
            system.apply(SystemCommand::CreatePolicy { policy, groups, members: 0 }).unwrap();
        }
        let table = TableEntry {
            id: TABLE,
            name: table_name(),
            policy: policy_name("a"),
            status: TableStatus::Creating,
            created_ms: 0,
            definition: Vec::new(),
            tags: BTreeMap::new(),
            purged: [].into(),
            moving: None,
            sweep: BTreeMap::new(),
            home: 0,
            arrived: BTreeMap::new(),
        };
        system.apply(SystemCommand::CreateTable { table }).unwrap();
        system.apply(SystemCommand::ActivateTables(vec![TABLE])).unwrap();
        let groups = system.groups.keys().map(|id| (*id, Rows::default())).collect();
        let dice = StdRng::seed_from_u64(seed);
        Arc::new(Self {
            system: Mutex::new(system),
            groups: Mutex::new(groups),
            dice: Mutex::new(dice),
            away: Mutex::default(),
        })
    }

    fn chance(&self, percent: u32) -> bool {
        held(&self.dice).random_range(0..100) < percent
    }

    async fn travel(&self) {
        let longest = if self.chance(5) { 2_000 } else { 30 };
        let ms = held(&self.dice).random_range(0..longest);
        sleep(Duration::from_millis(ms)).await;
    }

    fn entry(&self) -> TableEntry {
        held(&self.system).tables[&table_name()].clone()
    }

    /// The group of a key, and the move that has brought the table there.
    fn home(&self, key: &[u8]) -> (GroupId, u64) {
        let system = held(&self.system);
        let table = &system.tables[&table_name()];
        let groups = &system.policies[&table.policy].groups;
        let ordinal = group_ordinal(hash_of(key), u32::try_from(groups.len()).unwrap());
        (groups[ordinal as usize], table.home)
    }
}

fn hash_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key[4..12].first_chunk().unwrap())
}

fn key(number: u64) -> Bytes {
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [&table_prefix(TABLE)[..], &hash.to_be_bytes(), &number.to_be_bytes()].concat().into()
}

impl Cluster for Arc<World> {
    async fn write(&self, group: GroupId, write: MoveWrite) -> Result<(MoveAnswer, Position), Ended> {
        self.travel().await;
        if held(&self.away).contains(&group) {
            sleep(Duration::from_secs(3)).await;
            return Err(Unserved::NoLeader.into());
        }
        if self.chance(2) {
            return Err(Unserved::NoLeader.into());
        }
        let done = {
            let mut groups = held(&self.groups);
            let rows = groups.get_mut(&group).unwrap();
            let evaluation = evaluate(&write, rows, |_, stored| Ok(stored.clone()))?;
            rows.apply(evaluation.mutations);
            let position = Position { group, incarnation: Incarnation(0), index: rows.index };
            (decode(&evaluation.response)?, position)
        };
        self.travel().await;
        if self.chance(2) { Err(Unserved::Unknown.into()) } else { Ok(done) }
    }

    async fn read(&self, group: GroupId, read: GroupRead<'_>) -> Result<(Bytes, u64), Ended> {
        self.travel().await;
        let answer = {
            let groups = held(&self.groups);
            let view = &groups[&group];
            let answer = match &read {
                GroupRead::MoveRows(read) => rows(read, view)?,
                GroupRead::MoveChanged(read) => changed(read, view)?,
                other => panic!("a mover does not ask {other:?}"),
            };
            (answer, view.index)
        };
        self.travel().await;
        Ok(answer)
    }

    async fn tell(&self, command: SystemCommand) -> Result<(), Ended> {
        self.travel().await;
        let told = held(&self.system).apply(command);
        self.travel().await;
        told.map(drop).map_err(|refused| Ended::Damaged(io::Error::other(refused)))
    }

    fn system(&self) -> Arc<SystemState> {
        Arc::new(held(&self.system).clone())
    }

    fn serves(&self, _: GroupId) -> bool {
        !self.chance(1)
    }
}

/// Starts movers where there is something to do, at times a second one, and kills some.
async fn run_movers(world: Arc<World>) {
    let mut tasks = JoinSet::new();
    loop {
        sleep(Duration::from_millis(100)).await;
        while tasks.try_join_next().is_some() {}
        if world.chance(3) {
            tasks.abort_all();
        }
        for (source, job) in jobs(&world.entry()) {
            if tasks.len() < 3 || world.chance(5) {
                let cluster = Arc::clone(&world);
                let mover = Mover { cluster, name: table_name(), table: TABLE, source, job };
                tasks.spawn(async move { drop(mover.work().await) });
            }
        }
    }
}

/// Deletes what a group is to delete, as the supervisor of its leader does.
async fn sweep(world: Arc<World>) {
    loop {
        world.travel().await;
        let next = world.entry().sweep.into_iter().find(|(_, sweep)| !matches!(sweep, Sweep::Stayed(_)));
        let Some((group, sweep)) = next else { continue };
        let note = if sweep == Sweep::Moved { MoveNote::Changed } else { MoveNote::Target };
        for range in [move_notes(TABLE, note), table_range(TABLE)] {
            held(&world.groups).get_mut(&group).unwrap().delete(&range);
            world.travel().await;
        }
        drop(held(&world.system).apply(SystemCommand::TablePurged { table: TABLE, group }));
    }
}

/// Writes and reads the keys that are its own, one request after the other, and so knows what each must be.
async fn client(world: Arc<World>, own: Vec<u64>, until: Instant) -> BTreeMap<u64, Option<u64>> {
    let mut known: BTreeMap<u64, Option<u64>> = own.iter().map(|number| (*number, None)).collect();
    let mut next = 0;
    while Instant::now() < until {
        let number = own[held(&world.dice).random_range(0..own.len())];
        let (key, before) = (key(number), known[&number]);
        let after = if world.chance(25) { None } else { Some(next) };
        next += 1;
        loop {
            // The group is found first, and the request arrives there later.
            let (group, home) = world.home(&key);
            world.travel().await;
            let mut groups = held(&world.groups);
            let rows = groups.get_mut(&group).unwrap();
            let place = Place { table: TABLE, home };
            if !has_moved(rows, place).unwrap() {
                let seen =
                    rows.get(&key).unwrap().map(|value| u64::from_be_bytes(*value.first_chunk().unwrap()));
                assert_eq!(seen, before, "key {number} in group {group}");
                let value = after.map(|value: u64| Bytes::copy_from_slice(&value.to_be_bytes()));
                let written = capture(rows, place, vec![Mutation { key: key.clone(), value }]).unwrap();
                rows.apply(written.expect("it serves the table"));
                known.insert(number, after);
                break;
            }
        }
    }
    known
}

async fn one_run(seed: u64) -> usize {
    let world = World::new(seed);
    let mut background = JoinSet::new();
    background.spawn(run_movers(Arc::clone(&world)));
    background.spawn(sweep(Arc::clone(&world)));
    let until = Instant::now() + Duration::from_secs(120);
    let mut clients = JoinSet::new();
    for lane in 0..4 {
        let own = (0..KEYS).filter(|number| number % 4 == lane).collect();
        clients.spawn(client(Arc::clone(&world), own, until));
    }
    let mut moved = 0;
    let mut wanted = "b";
    while Instant::now() < until {
        let started = {
            let to = policy_name(wanted);
            held(&world.system).apply(SystemCommand::MoveTable { name: table_name(), to })
        };
        let cancel_after = world.chance(30).then(|| held(&world.dice).random_range(0..4_000));
        if let (Ok(_), Some(ms)) = (&started, cancel_after) {
            sleep(Duration::from_millis(ms)).await;
            drop(held(&world.system).apply(SystemCommand::CancelMove { name: table_name(), id: None }));
        }
        while world.entry().moving.is_some() {
            sleep(Duration::from_millis(100)).await;
        }
        if world.entry().policy == policy_name(wanted) {
            moved += 1;
            wanted = if wanted == "b" { "a" } else { "b" };
        }
        sleep(Duration::from_millis(100)).await;
    }
    while let Some(known) = clients.join_next().await {
        for (number, value) in known.unwrap() {
            let key = key(number);
            let (group, _) = world.home(&key);
            let there = held(&world.groups)[&group].get(&key).unwrap();
            let there = there.map(|value| u64::from_be_bytes(*value.first_chunk().unwrap()));
            assert_eq!(there, value, "seed {seed}: key {number}");
        }
    }
    moved
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_shown_stale_however_movers_fail() {
    let seeds = std::env::var("MERIDIAN_MOVE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let mut moved = 0;
    for seed in 0..seeds {
        moved += one_run(seed).await;
    }
    assert!(moved > usize::try_from(seeds).unwrap(), "hardly any move came to its end: {moved}");
}

/// Has a new group, or another source, fall away as the table switches; the table must be served again soon, where it was.
async fn one_falls_away(seed: u64, falls: impl Fn(&SystemState) -> GroupId) {
    let world = World::new(seed);
    let mut background = JoinSet::new();
    background.spawn(run_movers(Arc::clone(&world)));
    background.spawn(sweep(Arc::clone(&world)));
    held(&world.system).apply(SystemCommand::MoveTable { name: table_name(), to: policy_name("b") }).unwrap();
    let switching = || world.entry().moving.is_some_and(|moving| moving.phase == MovePhase::Switching);
    while !switching() {
        sleep(Duration::from_millis(1)).await;
    }
    let group = falls(&held(&world.system));
    held(&world.away).insert(group);
    let until = Instant::now() + Duration::from_secs(20);
    let home = || held(&world.system).policies[&policy_name("a")].groups.clone();
    let serves = |group: &GroupId| {
        let place = Place { table: TABLE, home: 0 };
        *group == held(&world.away).first().copied().unwrap()
            || !has_moved(&held(&world.groups)[group], place).unwrap()
    };
    while world.entry().moving.is_some() || !home().iter().all(serves) {
        assert!(Instant::now() < until, "seed {seed}: group {group} is away, and the table is not served");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.entry().policy, policy_name("a"));
}

#[tokio::test(start_paused = true)]
async fn a_table_is_served_again_where_it_was_when_a_group_falls_away_as_it_switches() {
    for seed in 0..10 {
        one_falls_away(seed, |system| system.policies[&policy_name("b")].groups[0]).await;
        one_falls_away(seed, |system| system.policies[&policy_name("a")].groups[2]).await;
    }
}
