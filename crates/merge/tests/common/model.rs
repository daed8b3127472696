//! What an item ought to be, slowly: from the set of all writes, each with the set of writes that it had seen.
//!
//! Nothing is ever joined, summed up ahead, or forgotten here.

use super::key;
use meridian_dynamo::{AttributeValue, Item, Number};
use meridian_merge::{Action, Effect, Rules, Stamp};
use meridian_types::ConflictRule;
use std::collections::{BTreeMap, BTreeSet};

type Path = Vec<String>;

/// Something that a write left in a place, or took from it; it takes only what it had seen.
#[derive(Clone, Debug, PartialEq)]
enum Trace {
    Register(Register),
    Plus(Number),
    Member(AttributeValue),
    KillRegister,
    KillRegisterButAbsent,
    KillNumber,
    KillMembers,
    KillOtherKinds(AttributeValue),
    KillMember(AttributeValue),
    KillInside,
}

#[derive(Clone, Debug, PartialEq)]
enum Register {
    Absent,
    Value(AttributeValue),
    /// An empty set of its kind.
    Set(AttributeValue),
    Map,
}

struct Write {
    stamp: Stamp,
    seen: u128,
    effect: Option<Effect>,
    present: bool,
    base: Option<Stamp>,
    traces: Vec<(Path, Trace)>,
}

/// All writes of a history.
pub(crate) struct Model {
    rules: Rules,
    writes: Vec<Write>,
}

/// What is compared.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) item: Option<Item>,
    /// Paths with the stamps of the siblings, the newest first.
    pub(crate) conflicts: Vec<(Path, Vec<Stamp>)>,
}

/// What is alive in a place.
#[derive(Default, Debug)]
struct Place {
    registers: BTreeMap<Stamp, Register>,
    plus: Vec<(Stamp, Number)>,
    members: Vec<(Stamp, AttributeValue)>,
}

type Tree = BTreeMap<Path, Place>;

fn kind_of(set: &AttributeValue) -> AttributeValue {
    match set {
        AttributeValue::Ss(_) => AttributeValue::Ss(BTreeSet::new()),
        AttributeValue::Ns(_) => AttributeValue::Ns(BTreeSet::new()),
        _ => AttributeValue::Bs(BTreeSet::new()),
    }
}

/// The members of a set, each as a set of its own.
fn members(set: &AttributeValue) -> Vec<AttributeValue> {
    match set {
        AttributeValue::Ss(set) => set.iter().map(|m| AttributeValue::Ss([m.clone()].into())).collect(),
        AttributeValue::Ns(set) => set.iter().map(|m| AttributeValue::Ns([*m].into())).collect(),
        AttributeValue::Bs(set) => set.iter().map(|m| AttributeValue::Bs([m.clone()].into())).collect(),
        _ => Vec::new(),
    }
}

fn is_set(value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_))
}

fn united<'a>(kind: &AttributeValue, all: impl Iterator<Item = &'a AttributeValue>) -> AttributeValue {
    all.fold(kind.clone(), |sum, one| match (sum, one) {
        (AttributeValue::Ss(a), AttributeValue::Ss(b)) => AttributeValue::Ss(&a | b),
        (AttributeValue::Ns(a), AttributeValue::Ns(b)) => AttributeValue::Ns(&a | b),
        (AttributeValue::Bs(a), AttributeValue::Bs(b)) => AttributeValue::Bs(&a | b),
        (sum, _) => sum,
    })
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, writes: Vec::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.writes.len() >= 127
    }

    fn among(&self, set: u128) -> impl Iterator<Item = (usize, &Write)> {
        self.writes.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1)
    }

    /// The writes of the item that no other has seen, in the order of their stamps.
    fn last(&self, set: u128) -> Vec<&Write> {
        let overtaken =
            self.among(set).filter(|(_, w)| w.effect.is_some()).fold(0, |all, (_, w)| all | w.seen);
        let last = self.among(set & !overtaken).filter(|(_, write)| write.effect.is_some());
        let mut last: Vec<&Write> = last.map(|(_, write)| write).collect();
        last.sort_by_key(|write| write.stamp);
        last
    }

    fn is_present(&self, set: u128) -> bool {
        let last = self.last(set);
        match self.rules.conflict {
            ConflictRule::Crdt => last.iter().any(|write| write.present),
            _ => last.last().is_some_and(|write| write.present),
        }
    }

    /// Adds a write by somebody who had seen `seen`; gives what they have seen then.
    pub(crate) fn write(&mut self, stamp: Stamp, seen: u128, effect: &Effect) -> u128 {
        let base = match effect {
            Effect::Put(_) | Effect::Delete => Some(stamp),
            Effect::Update(_) if self.is_present(seen) => {
                self.last(seen).iter().filter_map(|write| write.base).max()
            }
            Effect::Update(_) => None,
        };
        let present = *effect != Effect::Delete;
        self.add(Write { stamp, seen, effect: Some(effect.clone()), present, base, traces: Vec::new() })
    }

    /// Somebody takes over what they see: a write of nothing.
    pub(crate) fn absorb(&mut self, stamp: Stamp, seen: u128) -> u128 {
        self.add(Write { stamp, seen, effect: None, present: false, base: None, traces: Vec::new() })
    }

    fn add(&mut self, mut write: Write) -> u128 {
        let with = write.seen | 1 << self.writes.len();
        write.traces = self.traces(&write);
        self.writes.push(write);
        // Sets of which nothing is left go with the next write of anything.
        let tree = self.tree(with);
        let mut emptied = Vec::new();
        for (path, place) in &tree {
            if matches!(place.registers.last_key_value(), Some((_, Register::Set(_))))
                && show(&tree, path).is_none()
            {
                clear(path, &mut emptied);
            }
        }
        let last = self.writes.last_mut().unwrap();
        last.traces.extend(emptied);
        with
    }

    fn traces(&self, write: &Write) -> Vec<(Path, Trace)> {
        let tree = self.tree(write.seen);
        let roots: BTreeSet<&String> = tree.keys().map(|path| &path[0]).collect();
        let typed = self.rules.conflict == ConflictRule::Crdt;
        let merge = self.rules.conflict == ConflictRule::Merge;
        let mut out = Vec::new();
        // Taking over what is not shown decides no conflict.
        let undecided = merge && write.effect.is_none();
        if !undecided && !self.is_present(write.seen) {
            roots.iter().for_each(|root| clear(&vec![(*root).clone()], &mut out));
        }
        match &write.effect {
            None => {}
            Some(Effect::Delete) => roots.iter().for_each(|root| clear(&vec![(*root).clone()], &mut out)),
            Some(Effect::Put(item)) => {
                for root in roots {
                    let path = vec![root.clone()];
                    let there = tree.get(&path).is_some_and(|place| {
                        place.registers.values().any(|register| *register != Register::Absent)
                    });
                    if !merge || item.contains_key(root) {
                        clear(&path, &mut out);
                    } else if there && self.is_present(write.seen) {
                        clear(&path, &mut out);
                        out.push((path, Trace::Register(Register::Absent)));
                    }
                }
                for (name, value) in item.iter().filter(|(name, _)| !key().contains_key(*name)) {
                    assign(&vec![name.clone()], value, typed, &mut out);
                }
            }
            Some(Effect::Update(changes)) => {
                for change in changes {
                    let gone = !self.is_present(write.seen);
                    let nothing = Tree::new();
                    let tree = if gone { &nothing } else { &tree };
                    self.change(tree, &change.path, &change.action, typed, &mut out);
                }
            }
        }
        out
    }

    fn change(&self, tree: &Tree, path: &Path, action: &Action, typed: bool, out: &mut Vec<(Path, Trace)>) {
        for inside in 1..path.len() {
            let parent = path[..inside].to_vec();
            out.extend([(parent.clone(), Trace::KillNumber), (parent.clone(), Trace::KillMembers)]);
            let winner = tree.get(&parent).and_then(|place| place.registers.last_key_value());
            if winner.is_none_or(|(_, winner)| *winner != Register::Map) {
                out.extend([(parent.clone(), Trace::KillRegister), (parent, Trace::Register(Register::Map))]);
            }
        }
        let shown = show(tree, path).map(|(value, _)| value);
        let fresh = |out: &mut Vec<(Path, Trace)>| {
            out.extend(
                [Trace::KillNumber, Trace::KillMembers, Trace::KillInside].map(|kill| (path.clone(), kill)),
            );
            let winner = tree.get(path).and_then(|place| place.registers.last_key_value());
            if winner.is_none_or(|(_, winner)| *winner != Register::Absent) {
                out.push((path.clone(), Trace::KillRegister));
            }
        };
        match action {
            Action::Assign(value) => {
                clear(path, out);
                assign(path, value, typed, out);
            }
            Action::Remove => {
                clear(path, out);
                out.push((path.clone(), Trace::Register(Register::Absent)));
            }
            Action::Add(amount) => {
                match shown {
                    None => fresh(out),
                    Some(_) => {
                        out.extend([Trace::KillMembers, Trace::KillInside].map(|kill| (path.clone(), kill)));
                    }
                }
                out.push((path.clone(), Trace::Plus(*amount)));
            }
            Action::SetAdd(set) => {
                match shown {
                    None => fresh(out),
                    Some(_) => self.keep_kind(path, set, out),
                }
                for member in members(set) {
                    out.push((path.clone(), Trace::KillMember(member.clone())));
                    out.push((path.clone(), Trace::Member(member)));
                }
            }
            Action::SetDelete(set) => {
                let Some(shown) = shown else { return };
                self.keep_kind(path, set, out);
                let gone = members(set);
                let left = members(&shown).iter().any(|member| !gone.contains(member));
                out.extend(gone.into_iter().map(|member| (path.clone(), Trace::KillMember(member))));
                if !left {
                    out.push((path.clone(), Trace::KillRegisterButAbsent));
                }
            }
        }
    }

    fn keep_kind(&self, path: &Path, set: &AttributeValue, out: &mut Vec<(Path, Trace)>) {
        let kills = [Trace::KillNumber, Trace::KillOtherKinds(kind_of(set)), Trace::KillInside];
        out.extend(kills.map(|kill| (path.clone(), kill)));
    }

    /// What is alive after some writes: left by one of them and taken by none that had seen it.
    fn tree(&self, set: u128) -> Tree {
        let mut tree = Tree::new();
        for (at, write) in self.among(set) {
            for (path, trace) in &write.traces {
                let taken = || {
                    self.among(set).any(|(_, other)| {
                        other.seen >> at & 1 == 1
                            && other.traces.iter().any(|(where_, kill)| kills(kill, where_, trace, path))
                    })
                };
                let leaves = matches!(trace, Trace::Register(_) | Trace::Plus(_) | Trace::Member(_));
                if !leaves || taken() {
                    continue;
                }
                let place = tree.entry(path.clone()).or_default();
                match trace {
                    Trace::Register(register) => {
                        place.registers.insert(write.stamp, register.clone());
                    }
                    Trace::Plus(amount) => place.plus.push((write.stamp, *amount)),
                    Trace::Member(member) => place.members.push((write.stamp, member.clone())),
                    _ => {}
                }
            }
        }
        tree
    }

    pub(crate) fn resolve(&self, set: u128) -> Expected {
        if self.rules.conflict == ConflictRule::Lww {
            return Expected { item: self.replay(set), conflicts: Vec::new() };
        }
        let tree = self.tree(set);
        let roots: BTreeSet<&String> = tree.keys().map(|path| &path[0]).collect();
        let shown =
            roots.iter().filter_map(|root| Some(((*root).clone(), show(&tree, &vec![(*root).clone()])?.0)));
        let item: Item = key().into_iter().chain(shown).collect();
        let present = self.is_present(set);
        let mut conflicts = Vec::new();
        if self.rules.conflict == ConflictRule::Merge {
            let last = self.last(set);
            let differ = last.iter().any(|write| write.base != last[0].base);
            if differ && last.iter().any(|write| write.present) {
                conflicts.push((Vec::new(), last.iter().rev().map(|write| write.stamp).collect()));
            }
            let contested = |place: &Place| {
                place.registers.len() > 1
                    && place.registers.values().any(|register| *register != Register::Absent)
            };
            for (path, place) in tree.iter().filter(|(_, place)| present && contested(place)) {
                conflicts.push((path.clone(), place.registers.keys().rev().copied().collect()));
            }
        }
        Expected { item: present.then_some(item), conflicts }
    }

    /// Strict last write wins is the same as all writes one after the other in the order of their stamps.
    fn replay(&self, set: u128) -> Option<Item> {
        let mut writes: Vec<&Write> = self.among(set).map(|(_, write)| write).collect();
        writes.sort_by_key(|write| write.stamp);
        let mut item: Option<Item> = None;
        for effect in writes.iter().filter_map(|write| write.effect.as_ref()) {
            match effect {
                Effect::Put(whole) => item = Some(whole.clone()),
                Effect::Delete => item = None,
                Effect::Update(changes) => {
                    let item = item.get_or_insert_with(key);
                    for change in changes {
                        match &change.action {
                            Action::Assign(value) => item.insert(change.path[0].clone(), value.clone()),
                            Action::Remove => item.remove(&change.path[0]),
                            other => panic!("not last write wins: {other:?}"),
                        };
                    }
                }
            }
        }
        item
    }
}

fn clear(path: &Path, out: &mut Vec<(Path, Trace)>) {
    let kills = [Trace::KillRegister, Trace::KillNumber, Trace::KillMembers, Trace::KillInside];
    out.extend(kills.map(|kill| (path.clone(), kill)));
}

fn assign(path: &Path, value: &AttributeValue, typed: bool, out: &mut Vec<(Path, Trace)>) {
    match value {
        AttributeValue::M(map) if typed => {
            out.push((path.clone(), Trace::Register(Register::Map)));
            for (name, value) in map {
                let inside = path.iter().cloned().chain([name.clone()]).collect();
                assign(&inside, value, typed, out);
            }
        }
        set if typed && is_set(set) => {
            out.push((path.clone(), Trace::Register(Register::Set(kind_of(set)))));
            out.extend(members(set).into_iter().map(|member| (path.clone(), Trace::Member(member))));
        }
        other => out.push((path.clone(), Trace::Register(Register::Value(other.clone())))),
    }
}

fn kills(kill: &Trace, there: &Path, trace: &Trace, path: &Path) -> bool {
    if *kill == Trace::KillInside {
        return path.len() > there.len() && path.starts_with(there);
    }
    if there != path {
        return false;
    }
    match (kill, trace) {
        (Trace::KillRegister, Trace::Register(_))
        | (Trace::KillNumber, Trace::Plus(_))
        | (Trace::KillMembers, Trace::Member(_)) => true,
        (Trace::KillRegisterButAbsent, Trace::Register(register)) => *register != Register::Absent,
        (Trace::KillOtherKinds(kind), Trace::Member(member)) => kind_of(member) != *kind,
        (Trace::KillMember(one), Trace::Member(other)) => one == other,
        _ => false,
    }
}

/// What a place shows, and the newest write of it.
fn show(tree: &Tree, path: &Path) -> Option<(AttributeValue, Stamp)> {
    let nothing = Place::default();
    let place = tree.get(path).unwrap_or(&nothing);
    let names: BTreeSet<&String> = tree
        .keys()
        .filter(|other| other.len() > path.len() && other.starts_with(path))
        .map(|other| &other[path.len()])
        .collect();
    let (mut inside, mut newest_inside) = (BTreeMap::new(), None);
    for name in names {
        let child = path.iter().cloned().chain([name.clone()]).collect();
        if let Some((value, newest)) = show(tree, &child) {
            inside.insert(name.clone(), value);
            newest_inside = newest_inside.max(Some(newest));
        }
    }
    let added = place.plus.iter().fold(Number::ZERO, |sum, (_, n)| sum.checked_add(*n).unwrap());
    let newest_plus = place.plus.iter().map(|(stamp, _)| *stamp).max();
    let of_kind = |kind: &AttributeValue| {
        let those = place.members.iter().filter(|(_, member)| kind_of(member) == *kind);
        let newest = those.clone().map(|(stamp, _)| *stamp).max()?;
        Some((united(kind, those.map(|(_, member)| member)), newest))
    };
    match place.registers.last_key_value() {
        Some((stamp, Register::Value(AttributeValue::N(base)))) => {
            let sum = base.checked_add(added).unwrap();
            Some((AttributeValue::N(sum), newest_plus.map_or(*stamp, |newest| newest.max(*stamp))))
        }
        Some((stamp, Register::Value(value))) => Some((value.clone(), *stamp)),
        Some((stamp, Register::Set(kind))) => of_kind(kind).map(|(set, newest)| (set, newest.max(*stamp))),
        Some((stamp, Register::Map)) => {
            Some((AttributeValue::M(inside), newest_inside.map_or(*stamp, |newest| newest.max(*stamp))))
        }
        Some((_, Register::Absent)) | None => {
            let mut candidates = Vec::new();
            candidates.extend(newest_inside.map(|newest| (AttributeValue::M(inside), newest)));
            candidates.extend(newest_plus.map(|newest| (AttributeValue::N(added), newest)));
            let kinds: Vec<AttributeValue> =
                place.members.iter().map(|(_, member)| kind_of(member)).collect();
            candidates.extend(kinds.iter().filter_map(of_kind));
            candidates.into_iter().max_by_key(|(_, newest)| *newest)
        }
    }
}
