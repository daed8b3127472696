//! Items that every region writes at once: whatever goes wrong, in the end all nodes show the same, and no acknowledged update is missing.

use crate::cluster::{Cluster, Up};
use crate::register::{Request, Response, decode, encode};
use crate::rng::Rng;
use bytes::Bytes;
use meridian_dynamo::{AttributeValue, Item, Number};
use meridian_merge::{Action, Change, Effect, Fragment, Origin, Rules, Stamp};
use meridian_replication::{Evaluation, MergedRead, Mutation, View, runtime};
use meridian_types::{ConflictRule, Demand, GroupId, Hlc, HlcClock, Pattern, RegionName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Items of which nothing is ever taken away.
const GROWING: u64 = 3;
/// One item more, of which anything may be.
const ITEMS: u64 = GROWING + 1;

/// What a write does to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Adds to its number.
    Count(u64),
    /// Adds a member to its set.
    Include(u64),
    /// Assigns its number.
    Assign(u64),
    /// Deletes it.
    Delete,
}

/// A request for an item, to the group of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    item: String,
    /// The origin whose group this is.
    origin: u16,
    /// The groups of the others.
    others: Vec<GroupId>,
}

fn rules() -> Rules {
    Rules::from(ConflictRule::Crdt)
}

fn joined(ask: &Ask, view: &dyn View) -> io::Result<Fragment> {
    let key = ask.item.as_bytes();
    let mut all = Vec::new();
    all.extend(view.get(key)?);
    for group in &ask.others {
        let other = view.neighbour(*group);
        let other =
            other.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "a replica is missing"))?;
        all.extend(other.view.get(key)?);
    }
    let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let all =
        all.iter().map(|stored| Fragment::decode(stored).map_err(damaged)).collect::<io::Result<Vec<_>>>()?;
    let new = || Fragment::new(Item::from([("pk".to_owned(), AttributeValue::S(ask.item.clone()))]));
    Ok(all.into_iter().reduce(Fragment::join).unwrap_or_else(new))
}

/// Evaluates a write as the shipped evaluator does, without the DynamoDB layer.
pub(crate) fn write(ask: &Ask, act: Act, view: &dyn View) -> io::Result<Evaluation> {
    let before = joined(ask, view)?;
    let change = |name: &str, action| Effect::Update(vec![Change { path: vec![name.to_owned()], action }]);
    let number = |n: u64| Number::from(n);
    let effect = match act {
        Act::Count(n) => change("count", Action::Add(number(n))),
        Act::Include(n) => change("members", Action::SetAdd(AttributeValue::Ns(BTreeSet::from([number(n)])))),
        Act::Assign(n) => change("count", Action::Assign(AttributeValue::N(number(n)))),
        Act::Delete => Effect::Delete,
    };
    let mut clock = HlcClock::default();
    clock.observe(before.newest(), u64::MAX >> 16, u64::MAX).map_err(io::Error::other)?;
    let stamp = Stamp { hlc: clock.tick(view.clock().wall_ms), origin: Origin(ask.origin) };
    let after = before.apply(&rules(), &effect, stamp, Hlc::default()).map_err(io::Error::other)?;
    let key = Bytes::copy_from_slice(ask.item.as_bytes());
    Ok(Evaluation {
        mutations: vec![Mutation { key, value: Some(after.encode().into()) }],
        response: encode(&Response::Done)?,
    })
}

/// What the item is: its number first, then the members of its set.
pub(crate) fn read(ask: &Ask, view: &dyn View) -> io::Result<Bytes> {
    let item = joined(ask, view)?.item(&rules()).unwrap_or_default();
    let whole = |number: &Number| number.to_string().parse::<u64>().unwrap_or(u64::MAX);
    let mut values = vec![match item.get("count") {
        Some(AttributeValue::N(number)) => whole(number),
        _ => 0,
    }];
    if let Some(AttributeValue::Ns(members)) = item.get("members") {
        values.extend(members.iter().map(whole));
    }
    encode(&Response::Saw(values))
}

/// What clients have added to one item.
#[derive(Clone, Debug, Default)]
struct Added {
    count: u64,
    perhaps: u64,
    members: BTreeSet<u64>,
}

/// What clients have added. Clones are the same notes.
#[derive(Clone, Debug, Default)]
pub struct Additions(Arc<Mutex<BTreeMap<String, Added>>>);

impl Additions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Added>> {
        // One thread only; a panic ends the run.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The groups of the origins, that of `region` first if there is one.
fn groups(up: &Up, region: Option<&RegionName>) -> Vec<(u16, GroupId)> {
    let system = up.process.within(|| up.replication.system());
    let active = system.policies.values().find(|entry| entry.policy.pattern == Pattern::ActiveActive);
    let Some(entry) = active else { return Vec::new() };
    let mut groups: Vec<(u16, GroupId)> = (0..).zip(entry.groups.iter().copied()).collect();
    let own = |origin: &u16| entry.policy.regions.get(usize::from(*origin)) == region;
    groups.sort_by_key(|(origin, _)| !own(origin));
    groups
}

fn ask_of(item: &str, groups: &[(u16, GroupId)]) -> Option<Ask> {
    let ((origin, _), others) = groups.split_first()?;
    let others = others.iter().map(|(_, group)| *group).collect();
    Some(Ask { item: item.to_owned(), origin: *origin, others })
}

/// Writes through any node of any region, to its region's group, until `end`.
pub async fn work(cluster: Cluster, additions: Additions, mut rng: Rng, end: Instant) {
    let mut number = 0;
    while Instant::now() < end {
        sleep(rng.ms(20..150)).await;
        let Some((node, up)) = rng.pick(&cluster.all_up()).cloned() else { continue };
        let region =
            cluster.shape().nodes().iter().find(|known| known.id == node).map(|node| node.region.clone());
        let groups = groups(&up, region.as_ref());
        let item = format!("active-{}", rng.range(0..ITEMS));
        let Some(ask) = ask_of(&item, &groups) else { continue };
        number += 1;
        let grows = item != format!("active-{GROWING}");
        let act = match rng.range(0..if grows { 10 } else { 16 }) {
            0..=4 => Act::Count(rng.range(1..5)),
            5..=9 => Act::Include(number),
            10..=12 => Act::Assign(number),
            _ => Act::Delete,
        };
        let Some((_, group)) = groups.first().copied() else { continue };
        let Ok(request) = encode(&Request::Active(ask, act)) else { return };
        let replication = Arc::clone(&up.replication);
        let task = up
            .process
            .spawn(async move { replication.write(group, request, runtime::now() + PATIENCE).await });
        let acknowledged = matches!(timeout(PATIENCE, task).await, Ok(Ok(Ok(_))));
        let mut additions = additions.lock();
        let added = additions.entry(item).or_default();
        match act {
            Act::Count(n) if acknowledged => added.count += n,
            Act::Count(n) => added.perhaps += n,
            Act::Include(member) if acknowledged => drop(added.members.insert(member)),
            _ => {}
        }
    }
}

/// What is missing or different in the end, when all replicas have applied the same.
pub async fn wrong(cluster: &Cluster, additions: &Additions) -> Vec<String> {
    let mut wrong = Vec::new();
    let additions = additions.lock().clone();
    for number in 0..ITEMS {
        let item = format!("active-{number}");
        let mut first: Option<Vec<u64>> = None;
        for (node, up) in cluster.all_up() {
            let Some(values) = look(&up, &item).await else { continue };
            if let Some(first) = first.as_ref().filter(|first| **first != values) {
                wrong.push(format!("{item}: node {node} shows {values:?}, another one {first:?}"));
            }
            first.get_or_insert(values);
        }
        let (Some(values), Some(added)) = (first, additions.get(&item)) else { continue };
        if number == GROWING {
            continue;
        }
        let count = values.first().copied().unwrap_or_default();
        if !(added.count..=added.count + added.perhaps).contains(&count) {
            wrong.push(format!("{item} counts {count}, of {} and perhaps {}", added.count, added.perhaps));
        }
        let shown: BTreeSet<u64> = values.iter().skip(1).copied().collect();
        let missing: Vec<_> = added.members.difference(&shown).collect();
        if !missing.is_empty() {
            wrong.push(format!("{item} lacks members that were acknowledged: {missing:?}"));
        }
    }
    wrong
}

/// What a node that holds all groups shows of an item.
async fn look(up: &Up, item: &str) -> Option<Vec<u64>> {
    let groups = groups(up, None);
    let request = encode(&Request::ReadActive(ask_of(item, &groups)?)).ok()?;
    let (seen, consistent) = (vec![Demand::Nothing; groups.len()], false);
    let groups = groups.into_iter().map(|(_, group)| group).collect();
    let read = MergedRead { groups, seen, consistent, max_staleness: None };
    let replication = Arc::clone(&up.replication);
    let task = up
        .process
        .spawn(async move { replication.read_merged(read, request, runtime::now() + PATIENCE).await });
    match decode(&task.await.ok()?.ok()?.response) {
        Ok(Response::Saw(values)) => Some(values),
        _ => None,
    }
}
