//! Origins with their logs, replicas that apply them at different speeds, and the horizon that lets tombstones go.

mod exile;

use super::model::Model;
use super::{Rng, item, key, map, number, schema, text, texts, update_of};
use meridian_dynamo::write::{After, ReturnValues, WriteKind, WriteOp, evaluate};
use meridian_dynamo::{AttributeValue, Item};
use meridian_merge::{Effect, Fragment, Origin, Rules, Stamp};
use meridian_types::{Hlc, HlcClock, TableName};

use exile::{Exile, Fence};

const NEVER_TOO_FAR: u64 = u64::MAX;

/// What an origin's log says of the item.
#[derive(Clone)]
struct Entry {
    stamp: Stamp,
    /// The origin's fragment from here on; none: it was dropped.
    fragment: Option<Fragment>,
    /// The horizon that its writer went by.
    horizon: Hlc,
    /// All writes that the writer had seen, and this one.
    seen: u128,
}

/// What a node has: how far it is in each log, and the fragments.
#[derive(Clone)]
struct Replica {
    positions: Vec<usize>,
    fragments: Vec<Option<Fragment>>,
    seen: u128,
}

/// One item of one table, everywhere.
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) model: Model,
    pub(crate) rng: Rng,
    clocks: Vec<HlcClock>,
    skews: Vec<u64>,
    horizons: Vec<Hlc>,
    logs: Vec<Vec<Entry>>,
    /// Those of the origins, and one that only reads.
    replicas: Vec<Replica>,
    /// How many deletes come on eight other writes.
    deletes: usize,
    /// All is about one number, and logs come together by chance only: for what happens while something is on its way.
    narrow: bool,
    now: u64,
    horizon: Hlc,
    /// A horizon to be: once all have applied this much of the logs.
    coming: Option<(Hlc, Vec<usize>)>,
    /// Everything that was ever stored.
    pub(crate) stored: Vec<Fragment>,
    pub(crate) drops: usize,
    /// The region that is severed and expelled at times, in some worlds.
    exile: Option<Exile>,
    /// By log.
    fences: Vec<Vec<Fence>>,
}

impl World {
    pub(crate) fn new(rules: Rules, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let origins = 2 + rng.below(3);
        // How far the clocks are apart: a step, or most of the history.
        let spread = rng.pick(&[5, 40, 200]);
        let replica = Replica { positions: vec![0; origins], fragments: vec![None; origins], seen: 0 };
        Self {
            model: Model::new(rules.clone()),
            rules,
            clocks: vec![HlcClock::default(); origins],
            skews: (0..origins).map(|_| 1000 + rng.next() % spread).collect(),
            horizons: vec![Hlc::default(); origins],
            logs: vec![Vec::new(); origins],
            replicas: vec![replica; origins + 1],
            deletes: 1 + rng.below(6),
            narrow: rng.one_in(4),
            now: 0,
            horizon: Hlc::default(),
            coming: None,
            stored: Vec::new(),
            drops: 0,
            exile: None,
            fences: vec![Vec::new(); origins],
            rng,
        }
    }

    pub(crate) fn origins(&self) -> usize {
        self.logs.len()
    }

    /// Some writes, deliveries and collections, in some order.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now += self.rng.next() % 5;
            self.turn();
            let origin = self.rng.below(self.origins());
            match self.rng.below(10) {
                0..4 => self.write(origin),
                4..8 => {
                    let replica = self.rng.below(self.replicas.len());
                    let count = 1 + self.rng.below(3);
                    (0..count).for_each(|_| self.deliver(origin, replica));
                    self.check(replica);
                }
                8 => {
                    // The logs come closer together, or all the way.
                    if !self.narrow && self.rng.one_in(2) {
                        self.deliver_all();
                    }
                    self.advance_horizon();
                }
                _ => {
                    let rounds = if self.narrow { 0 } else { self.rng.below(4) };
                    (0..rounds).for_each(|_| self.collect_round());
                    self.collect(origin);
                }
            }
        }
        self.come_home();
        self.deliver_all();
        self.check_converged();
        self.check_forgotten();
    }

    fn view(&self, replica: usize) -> Fragment {
        let fragments = self.replicas[replica].fragments.iter().flatten().cloned();
        fragments.fold(Fragment::new(key()), Fragment::join)
    }

    fn stamp(&mut self, origin: usize) -> Stamp {
        let newest = self.view(self.evaluator(origin)).newest();
        self.clocks[origin].observe(newest, 0, NEVER_TOO_FAR).unwrap();
        let hlc = self.clocks[origin].tick(self.now + self.skews[origin]);
        Stamp { hlc, origin: Origin(origin as u16) }
    }

    /// A random request at an origin; one that the API refuses changes nothing.
    fn write(&mut self, origin: usize) {
        let by = self.evaluator(origin);
        if self.model.is_full() || !self.may_be_read(by) {
            return;
        }
        let view = self.view(by);
        let op = if self.narrow { narrow_op(&mut self.rng) } else { random_op(&mut self.rng, self.deletes) };
        let before = view.item(&self.rules);
        let Ok(evaluated) = evaluate(&schema(), before.as_ref(), &op) else { return };
        let stamp = self.stamp(origin);
        let floor = self.horizons[by];
        let written = view.write(&self.rules, &schema(), &op, stamp, floor).unwrap();
        let Some(fragment) = written.fragment else { return };
        let (effect, expected) = match (&op.kind, evaluated.after) {
            (WriteKind::Put { item }, _) => (Effect::Put(item.clone()), Some(item.clone())),
            (WriteKind::Update { key, update }, After::Put(after)) => {
                (Effect::of_update(update, before.as_ref().unwrap_or(key), &after, &self.rules), Some(after))
            }
            _ => (Effect::Delete, None),
        };
        assert_eq!(fragment.item(&self.rules), expected, "{op:?}\non {view:?}");
        assert_eq!(fragment.newest(), stamp.hlc);
        let seen = self.model.write(stamp, self.replicas[by].seen, &effect);
        self.append(origin, stamp, Some(fragment), seen);
    }

    fn append(&mut self, origin: usize, stamp: Stamp, fragment: Option<Fragment>, seen: u128) {
        if let Some(fragment) = &fragment {
            let bytes = fragment.encode();
            assert_eq!(Fragment::decode(&bytes).as_ref(), Ok(fragment));
            self.stored.push(fragment.clone());
        }
        let by = self.evaluator(origin);
        self.logs[origin].push(Entry { stamp, fragment, horizon: self.horizons[by], seen });
        while self.replicas[by].positions[origin] < self.logs[origin].len() {
            self.take(origin, by);
        }
        self.check(by);
    }

    fn deliver(&mut self, origin: usize, replica: usize) {
        if self.reaches(origin, replica) {
            self.take(origin, replica);
        }
    }

    fn take(&mut self, origin: usize, replica: usize) {
        let there = &mut self.replicas[replica];
        let Some(entry) = self.logs[origin].get(there.positions[origin]) else { return };
        there.positions[origin] += 1;
        there.fragments[origin].clone_from(&entry.fragment);
        there.seen |= entry.seen;
        if let Some(clock) = self.clocks.get_mut(replica) {
            clock.observe(entry.stamp.hlc, 0, NEVER_TOO_FAR).unwrap();
            if entry.fragment.is_none() {
                self.horizons[replica] = self.horizons[replica].max(entry.horizon);
            }
        }
    }

    fn deliver_all(&mut self) {
        for replica in 0..self.replicas.len() {
            for origin in 0..self.origins() {
                while self.reaches(origin, replica)
                    && self.replicas[replica].positions[origin] < self.logs[origin].len()
                {
                    self.take(origin, replica);
                }
            }
        }
    }

    /// The candidate is what every replica has applied and no origin will write before; it is the horizon once they have also
    /// applied all that had been written by then, since that was evaluated before its origin had applied the candidate.
    fn advance_horizon(&mut self) {
        if self.is_stuck() {
            return;
        }
        let common = self.common();
        let applied_by_all = |lengths: &[usize]| common.iter().zip(lengths).all(|(at, end)| at >= end);
        match self.coming.take() {
            Some((horizon, lengths)) if applied_by_all(&lengths) => {
                self.horizon = horizon;
                self.fence(&lengths);
            }
            Some(coming) => self.coming = Some(coming),
            None => {
                // No origin stamps anything earlier any more.
                for origin in 0..self.origins() {
                    self.stamp(origin);
                }
                let ticked: Vec<Hlc> = (0..self.origins()).map(|origin| self.stamp(origin).hlc).collect();
                let missing = self.logs.iter().zip(&common).flat_map(|(log, at)| &log[*at..]);
                let before = |stamp: Stamp| Hlc::new(stamp.hlc.wall_ms() - 1, 0);
                let applied = missing.map(|entry| before(entry.stamp)).min();
                let candidate = ticked.into_iter().chain(applied).min().unwrap_or_default();
                if candidate > self.horizon {
                    self.coming = Some((candidate, self.logs.iter().map(Vec::len).collect()));
                    self.fence(&common);
                }
            }
        }
    }

    /// All is applied, the horizon follows, and the origins do what can be done, one or all of them.
    fn collect_round(&mut self) {
        self.deliver_all();
        self.advance_horizon();
        for origin in 0..self.origins() {
            if self.rng.one_in(2) {
                self.collect(origin);
            }
        }
    }

    /// An origin learns of the horizon and does what can be done for the item.
    fn collect(&mut self, origin: usize) {
        let by = self.evaluator(origin);
        if self.is_stuck() || !self.may_be_read(by) {
            return;
        }
        self.horizons[by] = self.horizons[by].max(self.horizon);
        let horizon = self.horizons[by];
        let Some(own) = self.replicas[by].fragments[origin].clone() else { return };
        let all = self.replicas[by].fragments.iter().flatten();
        if all.clone().all(|fragment| fragment.can_drop(horizon)) {
            let stamp = self.stamp(origin);
            let seen = self.replicas[by].seen;
            self.drops += 1;
            self.append(origin, stamp, None, seen);
        } else if !own.is_tombstone() && self.view(by).item(&self.rules).is_none() && !self.model.is_full() {
            let view = self.view(by);
            let stamp = self.stamp(origin);
            let fragment = view.absorb(&self.rules, stamp, horizon).unwrap();
            assert_eq!(fragment.resolve(&self.rules).item, None);
            let seen = self.model.absorb(stamp, self.replicas[by].seen);
            self.append(origin, stamp, Some(fragment), seen);
        }
    }

    /// What a replica shows is what the model says of the writes that it has.
    fn check(&mut self, replica: usize) {
        if !self.rules.attributes.is_empty() || !self.may_be_read(replica) {
            // The model knows no rules of attributes; all else is checked of them too.
            return;
        }
        let resolved = self.view(replica).resolve(&self.rules);
        let expected = self.model.resolve(self.replicas[replica].seen);
        assert_eq!(resolved.item, expected.item, "{:#?}", self.view(replica));
        let conflicts: Vec<_> = resolved
            .conflicts
            .iter()
            .map(|conflict| {
                let others = conflict.others.iter().map(|sibling| sibling.stamp);
                (
                    conflict.path.clone(),
                    std::iter::once(conflict.winner.stamp).chain(others).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(conflicts, expected.conflicts, "{:#?}", self.view(replica));
    }

    /// Of an item that is gone nothing is left once the horizon has passed, unless a conflict keeps it.
    fn check_forgotten(&mut self) {
        let resolved = self.view(0).resolve(&self.rules);
        if resolved.item.is_some() || !resolved.conflicts.is_empty() {
            return;
        }
        // Learn the horizon, absorb, learn the next one, drop; a step each for what was on its way.
        for _ in 0..6 {
            self.deliver_all();
            self.advance_horizon();
            (0..self.origins()).for_each(|origin| self.collect(origin));
        }
        self.deliver_all();
        assert_eq!(self.view(0), Fragment::new(key()));
        self.check_converged();
    }

    fn check_converged(&mut self) {
        let last = self.replicas.last().unwrap().fragments.clone();
        for replica in 0..self.replicas.len() {
            assert_eq!(self.replicas[replica].fragments, last);
            self.check(replica);
        }
        // Any order, any repetition.
        let bytes = self.view(0).encode();
        for _ in 0..3 {
            let mut all: Vec<Fragment> = last.iter().flatten().cloned().collect();
            let mut view = Fragment::new(key());
            while !all.is_empty() {
                let at = self.rng.below(all.len());
                let next = if self.rng.one_in(3) { all[at].clone() } else { all.swap_remove(at) };
                view = if self.rng.one_in(2) { view.join(next) } else { next.join(view) };
            }
            assert_eq!(view.encode(), bytes);
        }
    }
}

fn random_value(rng: &mut Rng) -> AttributeValue {
    match rng.below(9) {
        0..3 => number(rng.pick(&["0", "1", "5", "-7", "0.5"])),
        3 => text(rng.pick(&["x", "y"])),
        4 | 5 => texts(rng.pick(&[&["a"][..], &["a", "b"], &["b", "c"]])),
        6 => AttributeValue::Ns(["1".parse().unwrap()].into()),
        7 => AttributeValue::L(vec![number("1"), text("x")]),
        _ => {
            let inner = number(rng.pick(&["1", "2"]));
            match rng.below(4) {
                0 => map(&[]),
                1 => map(&[("x", inner)]),
                2 => map(&[("x", texts(&["a"])), ("y", inner)]),
                _ => map(&[("x", map(&[("x", inner)]))]),
            }
        }
    }
}

fn random_item(rng: &mut Rng) -> Item {
    let mut whole = item(&[]);
    for name in ["a", "b", "c"] {
        if rng.one_in(2) {
            whole.insert(name.into(), random_value(rng));
        }
    }
    whole
}

fn random_op(rng: &mut Rng, deletes: usize) -> WriteOp {
    let kind = match rng.below(8 + deletes) {
        0 => WriteKind::Put { item: random_item(rng) },
        8.. => WriteKind::Delete { key: key() },
        _ => {
            let names = ["a", "b", "c", "a.x", "b.x", "a.y", "a.x.x", "c[0]", "a.x[1]"];
            let path = rng.pick(&names);
            let value = random_value(rng);
            let n = number(rng.pick(&["1", "2", "-3", "0"]));
            let set = texts(rng.pick(&[&["a"][..], &["b"], &["a", "c"]]));
            let (expression, values) = match rng.below(11) {
                0 | 1 => (format!("SET {path} = :v"), vec![(":v", value)]),
                2 => (format!("REMOVE {path}"), vec![]),
                3 | 4 => (format!("ADD {path} :n"), vec![(":n", n)]),
                5 => (format!("SET {path} = {path} - :n"), vec![(":n", n)]),
                6 => (
                    format!("SET {path} = if_not_exists({path}, :s) + :n"),
                    vec![(":n", n), (":s", number("10"))],
                ),
                7 => (format!("ADD {path} :set"), vec![(":set", set)]),
                8 => (format!("DELETE {path} :set"), vec![(":set", set)]),
                9 => (
                    format!("SET {path} = if_not_exists({path}, :v) ADD d :n"),
                    vec![(":v", value), (":n", n)],
                ),
                _ => ("SET e = :v REMOVE d".into(), vec![(":v", value)]),
            };
            WriteKind::Update { key: key(), update: update_of(&expression, &values) }
        }
    };
    op_of(kind)
}

/// One of few that matter to one number.
fn narrow_op(rng: &mut Rng) -> WriteOp {
    let n = [(":n", number(rng.pick(&["1", "3"])))];
    let update = |expression: &str| WriteKind::Update { key: key(), update: update_of(expression, &n) };
    op_of(match rng.below(6) {
        0..3 => update("ADD a :n"),
        3 => update("SET a = :n"),
        4 => WriteKind::Update { key: key(), update: update_of("REMOVE a", &[]) },
        _ => update("SET b = :n"),
    })
}

fn op_of(kind: WriteKind) -> WriteOp {
    WriteOp {
        table: TableName::new("items").unwrap(),
        kind,
        condition: None,
        return_values: ReturnValues::None,
        return_on_failure: false,
    }
}
