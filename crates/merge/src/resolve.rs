//! What a view shows, and what it keeps beside that.

use crate::fragment::Fragment;
use crate::node::{Entry, Node};
use crate::rules::{AttributeRule, Mode, Rules};
use crate::show::Shape;
use crate::stamp::Stamp;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::{AttributeValue, Item};

/// A view under the table's rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// The item; nothing when there is none.
    pub item: Option<Item>,
    /// Concurrent writes that are kept for the application to resolve: under `merge` only.
    pub conflicts: Vec<Conflict>,
    /// Concurrent writes that have lost by the rules. They are kept until the next write there.
    pub lost: Vec<Conflict>,
}

/// Writes of one place that have not seen each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The attribute and names of members; empty for the item as a whole.
    pub path: Vec<String>,
    /// What is shown.
    pub winner: Sibling,
    /// The others, the newest first.
    pub others: Vec<Sibling>,
}

/// One of several writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// The write.
    pub stamp: Stamp,
    /// What it left there; nothing for a removal or delete.
    pub value: Option<AttributeValue>,
}

impl Fragment {
    /// The item that this view shows, and the concurrent writes that it keeps beside.
    #[must_use]
    pub fn resolve(&self, rules: &Rules) -> Resolved {
        let present = self.is_present(rules);
        let item = self.whole(rules);
        let (mut conflicts, mut lost) = (Vec::new(), Vec::new());
        if rules.keeps_conflicts() {
            conflicts.extend(self.item_conflict(&item));
        }
        let cleared = self.hidden_before(rules);
        for (name, node) in &self.attributes {
            let mut path = Vec::from([name.clone()]);
            match rules.mode(name) {
                // Under `merge` the item itself is the conflict.
                _ if !present && rules.keeps_conflicts() => {}
                _ if !present => lost.extend(self.gone(node, path)),
                Mode::Whole(Some(rule)) => {
                    let list = if rules.keeps_conflicts() { &mut conflicts } else { &mut lost };
                    list.extend(node.not_chosen(rule, path, cleared));
                }
                Mode::Whole(None) if rules.keeps_conflicts() => conflicts.extend(node.conflict(path)),
                Mode::Whole(None) | Mode::Typed => node.lost(&mut path, cleared, &mut lost),
            }
        }
        Resolved { item: present.then_some(item), conflicts, lost }
    }

    /// The item alone.
    #[must_use]
    pub fn item(&self, rules: &Rules) -> Option<Item> {
        self.is_present(rules).then(|| self.whole(rules))
    }

    /// The item as if it were present.
    fn whole(&self, rules: &Rules) -> Item {
        let cleared = self.hidden_before(rules);
        let shown = self.attributes.iter().filter_map(|(name, node)| {
            let value = match rules.mode(name) {
                Mode::Whole(Some(rule)) => match node.chosen(rule, cleared) {
                    Some((value, _)) => Some(value),
                    None => node.show(cleared),
                },
                Mode::Whole(None) | Mode::Typed => node.show(cleared),
            };
            Some((name.clone(), value?))
        });
        self.key.clone().into_iter().chain(shown).collect()
    }

    /// Puts, deletes and updates of the item that build on different puts and deletes; deletes alone agree.
    fn item_conflict(&self, item: &Item) -> Option<Conflict> {
        if self.is_gone() {
            return None;
        }
        let mut bases = self.presence.values().map(|presence| presence.base);
        let first = bases.next()?;
        if bases.all(|base| base == first) {
            return None;
        }
        let siblings = self.presence.iter().rev().map(|(stamp, presence)| Sibling {
            stamp: *stamp,
            value: presence.present.then(|| AttributeValue::M(item.clone())),
        });
        conflict(Vec::new(), siblings.collect())
    }

    /// What is left of an attribute of an item that is not there.
    fn gone(&self, node: &Node, path: Vec<String>) -> Option<Conflict> {
        let (stamp, _) = self.presence.last_key_value()?;
        let assigned = node.siblings(|entry| *entry != Entry::Absent);
        let added = node.added(None).into_iter().map(|(stamp, value)| Sibling { stamp, value: Some(value) });
        let others = assigned.into_iter().chain(added);
        conflict(path, core::iter::once(Sibling { stamp: *stamp, value: None }).chain(others).collect())
    }
}

/// The first of the siblings has won; no conflict when it is alone.
fn conflict(path: Vec<String>, siblings: Vec<Sibling>) -> Option<Conflict> {
    let mut siblings = siblings.into_iter();
    let (winner, others) = (siblings.next()?, siblings.collect::<Vec<_>>());
    (!others.is_empty()).then_some(Conflict { path, winner, others })
}

impl Node {
    /// What assignments and removals left, the newest first.
    fn siblings(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Sibling> {
        let wanted = self.register.iter().rev().filter(|(_, entry)| wanted(entry));
        wanted
            .map(|(stamp, entry)| {
                let value = match entry {
                    Entry::Absent => None,
                    Entry::Value(value) => Some(value.clone()),
                    Entry::Set(kind) => self.set(*kind).map(|(value, _)| value),
                    Entry::Map => Some(AttributeValue::M(self.map(None).0)),
                };
                Sibling { stamp: *stamp, value }
            })
            .collect()
    }

    /// Removals alone agree.
    fn conflict(&self, path: Vec<String>) -> Option<Conflict> {
        let any = self.register.values().any(|entry| *entry != Entry::Absent);
        any.then(|| conflict(path, self.siblings(|_| true))).flatten()
    }

    /// What does not show: assignments that are not the newest, and what was added to something else than what shows.
    fn lost(&self, path: &mut Vec<String>, cleared: Option<Stamp>, out: &mut Vec<Conflict>) {
        let winner = self.winner(cleared);
        let shape = self.shape(cleared);
        // Sets and maps of one kind have merged.
        let merged = |entry: &Entry| {
            matches!(entry, Entry::Set(_) | Entry::Map) && winner.is_some_and(|(_, winner)| winner == entry)
        };
        let newest = winner.map(|(stamp, _)| stamp);
        // A removal loses against what is there, not against another.
        let shown = self.show(cleared);
        let mut others =
            self.siblings(|entry| !merged(entry) && (shown.is_some() || *entry != Entry::Absent));
        others.retain(|sibling| Some(sibling.stamp) != newest);
        let mut winning = newest;
        for (stamp, value) in self.added(cleared) {
            if Some(Shape::of(&value)) == shape {
                winning = winning.max(Some(stamp));
            } else {
                others.push(Sibling { stamp, value: Some(value) });
            }
        }
        if let Some(stamp) = winning.or(cleared) {
            let winner = Sibling { stamp, value: shown };
            out.extend(conflict(path.clone(), core::iter::once(winner).chain(others).collect()));
        }
        if shape == Some(Shape::Map) {
            for (name, child) in &self.children {
                path.push(name.clone());
                child.lost(path, cleared, out);
                path.pop();
            }
        }
    }

    /// What an attribute's own rule makes of the values that no put or delete hides, and whether it is for them: else it is the
    /// newest. Nothing when there are none; removals do not count.
    fn chosen(&self, rule: AttributeRule, cleared: Option<Stamp>) -> Option<(AttributeValue, bool)> {
        let visible =
            self.register.iter().filter(|(stamp, _)| cleared.is_none_or(|cleared| **stamp >= cleared));
        let values = visible.filter_map(|(_, entry)| match entry {
            Entry::Value(value) => Some(value),
            Entry::Absent | Entry::Set(_) | Entry::Map => None,
        });
        let values: Vec<&AttributeValue> = values.collect();
        match values.as_slice() {
            [] => None,
            [value] => Some(((*value).clone(), true)),
            [.., newest] => {
                Some(choose(rule, &values).map_or_else(|| ((*newest).clone(), false), |value| (value, true)))
            }
        }
    }

    /// The values that have no part in what an attribute's own rule shows.
    fn not_chosen(&self, rule: AttributeRule, path: Vec<String>, cleared: Option<Stamp>) -> Option<Conflict> {
        let values = self.siblings(|entry| matches!(entry, Entry::Value(_)));
        let hidden = |sibling: &Sibling| cleared.is_some_and(|cleared| sibling.stamp < cleared);
        let (hidden, shown): (Vec<Sibling>, Vec<Sibling>) = values.into_iter().partition(hidden);
        let newest = shown.first().map(|sibling| sibling.stamp).or(cleared)?;
        let (value, by_rule) = match self.chosen(rule, cleared) {
            Some((value, by_rule)) => (Some(value), by_rule),
            None => (None, true),
        };
        let beaten = shown.into_iter().skip(if by_rule { usize::MAX } else { 1 });
        let winner = Sibling { stamp: newest, value };
        conflict(path, core::iter::once(winner).chain(beaten).chain(hidden).collect())
    }
}

/// What a rule makes of several values, in the order of their writes; nothing when they are not of one type that it is for.
fn choose(rule: AttributeRule, values: &[&AttributeValue]) -> Option<AttributeValue> {
    use AttributeValue::{B, Bs, L, N, Ns, S, Ss};
    let comparable = || {
        let kind = values.first()?.kind();
        let fits = values.iter().all(|value| value.kind() == kind && matches!(value, N(_) | S(_) | B(_)));
        fits.then(|| values.iter().copied())
    };
    let order = |a: &&AttributeValue, b: &&AttributeValue| {
        meridian_dynamo::expr::ordered(a, b).unwrap_or(core::cmp::Ordering::Equal)
    };
    match rule {
        AttributeRule::Max => comparable()?.max_by(order).cloned(),
        AttributeRule::Min => comparable()?.min_by(order).cloned(),
        AttributeRule::KeepBoth => Some(L(values.iter().map(|value| (*value).clone()).collect())),
        AttributeRule::Union => {
            values.iter().skip(1).try_fold((*values.first()?).clone(), |all, value| match (all, value) {
                (Ss(a), Ss(b)) => Some(Ss(&a | b)),
                (Ns(a), Ns(b)) => Some(Ns(&a | b)),
                (Bs(a), Bs(b)) => Some(Bs(&a | b)),
                _ => None,
            })
        }
        AttributeRule::Sum => None,
    }
}
