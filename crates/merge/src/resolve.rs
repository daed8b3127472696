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
                _ if !present => {
                    // Under `merge` the item itself is the conflict.
                    if !rules.keeps_conflicts() {
                        lost.extend(self.gone(node, path));
                    }
                }
                Mode::Whole(rule) if rules.keeps_conflicts() => {
                    if !by_rule(rule, node, cleared) {
                        conflicts.extend(node.conflict(path));
                    }
                }
                Mode::Whole(rule) if by_rule(rule, node, cleared) => {}
                Mode::Whole(_) | Mode::Typed => node.lost(&mut path, cleared, &mut lost),
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
                Mode::Whole(Some(rule)) => chosen(rule, node, cleared).or_else(|| node.show(cleared)),
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

    /// Values that were assigned as a whole and that no put or delete hides, in the order of their writes.
    fn values(&self, cleared: Option<Stamp>) -> impl Iterator<Item = &AttributeValue> {
        let visible = move |stamp: &Stamp| cleared.is_none_or(|cleared| *stamp >= cleared);
        self.register.iter().filter(move |(stamp, _)| visible(stamp)).filter_map(|(_, entry)| match entry {
            Entry::Value(value) => Some(value),
            Entry::Absent | Entry::Set(_) | Entry::Map => None,
        })
    }
}

/// The value that an attribute's own rule gives, if it gives one.
fn chosen(rule: AttributeRule, node: &Node, cleared: Option<Stamp>) -> Option<AttributeValue> {
    let values: Vec<&AttributeValue> = node.values(cleared).collect();
    match values.as_slice() {
        [] => None,
        [value] => Some((*value).clone()),
        several => choose(rule, several),
    }
}

fn by_rule(rule: Option<AttributeRule>, node: &Node, cleared: Option<Stamp>) -> bool {
    rule.is_some_and(|rule| chosen(rule, node, cleared).is_some())
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
