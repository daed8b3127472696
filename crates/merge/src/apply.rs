//! Writing on a view: the origin's next fragment.

use crate::effect::{Action, Change, Effect};
use crate::fragment::{Fragment, Presence};
use crate::node::{Element, Entry, Node, elements_of};
use crate::rules::{Mode, Rules};
use crate::show::Shape;
use crate::stamp::Stamp;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::number::sum::{Sum, sum};
use meridian_dynamo::{AttributeValue, Item, Number};
use meridian_types::Hlc;

/// Why a write cannot be applied to a view. None of them comes of what clients send, as long as the effect was evaluated on the
/// item that the view shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The stamp does not follow what the write builds on.
    #[error(
        "a write stamped {stamp} must be later than {newest}, which it builds on; the clock has to observe what is applied"
    )]
    NotLater {
        /// The write's stamp.
        stamp: Stamp,
        /// The newest write of the view, or the floor.
        newest: Hlc,
    },
    /// A part is not what the change needs.
    #[error("`{0}` is not of the type that the change needs; evaluate it on the item that the view shows")]
    Mismatch(String),
    /// A sum does not fit 38 digits.
    #[error("`{0}` would have more than 38 significant digits or be out of range")]
    Number(String),
}

/// Why one part cannot be changed; the path is added where it is known.
enum Refusal {
    Mismatch,
    Number,
}

impl Fragment {
    /// The fragment of an origin that does `effect` on this view at `stamp`.
    ///
    /// `floor` is the horizon that the origin knows, as in [`Fragment::can_drop`]; zero when it knows none. The result shows just
    /// what the effect gives on the item that the view shows.
    ///
    /// # Errors
    /// [`ApplyError`]; the view is unchanged.
    pub fn apply(
        &self,
        rules: &Rules,
        effect: &Effect,
        stamp: Stamp,
        floor: Hlc,
    ) -> Result<Fragment, ApplyError> {
        let (mut next, present) = self.settled(rules, stamp, floor)?;
        let base =
            present.then(|| self.presence.values().filter_map(|presence| presence.base).max()).flatten();
        let (present, base) = match effect {
            Effect::Put(item) => {
                next.put(rules, item, stamp);
                (true, Some(stamp))
            }
            Effect::Delete => {
                next.attributes.values_mut().for_each(|node| node.clear(stamp));
                next.cleared = Some(stamp);
                (false, Some(stamp))
            }
            Effect::Update(changes) => {
                for change in changes {
                    next.change(rules, change, stamp)?;
                }
                (true, base)
            }
        };
        next.presence = [(stamp, Presence { present, base })].into();
        next.close(rules, stamp, floor);
        Ok(next)
    }

    /// The fragment of an origin that takes over this view at `stamp` and changes nothing of what it shows, so that its own
    /// fragment knows of a delete elsewhere. Conflicts that are kept stay.
    ///
    /// # Errors
    /// [`ApplyError::NotLater`].
    pub fn absorb(&self, rules: &Rules, stamp: Stamp, floor: Hlc) -> Result<Fragment, ApplyError> {
        let mut next = if rules.keeps_conflicts() {
            self.check_later(stamp, floor)?;
            self.clone()
        } else {
            let (mut next, present) = self.settled(rules, stamp, floor)?;
            if !present {
                next.presence.retain(|_, presence| !presence.present);
            }
            next
        };
        next.close(rules, stamp, floor);
        Ok(next)
    }

    fn check_later(&self, stamp: Stamp, floor: Hlc) -> Result<(), ApplyError> {
        let newest = self.newest().max(floor);
        if stamp.hlc > newest { Ok(()) } else { Err(ApplyError::NotLater { stamp, newest }) }
    }

    /// The view without what a write on it finally overrules: what is hidden behind a put or delete. Also whether it is present.
    fn settled(&self, rules: &Rules, stamp: Stamp, floor: Hlc) -> Result<(Fragment, bool), ApplyError> {
        self.check_later(stamp, floor)?;
        let mut next = self.clone();
        let present = self.is_present(rules);
        if !present {
            next.attributes.values_mut().for_each(|node| node.clear(stamp));
        } else if let Some(cleared) = self.hidden_before(rules) {
            next.attributes.values_mut().for_each(|node| node.hide(cleared));
        }
        Ok((next, present))
    }

    fn put(&mut self, rules: &Rules, item: &Item, stamp: Stamp) {
        for (name, node) in &mut self.attributes {
            if !rules.keeps_conflicts() || item.contains_key(name) {
                node.clear(stamp);
            } else if !node.is_dead() {
                // So that an update elsewhere of what this takes away is seen to conflict with it.
                node.remove(stamp);
            }
        }
        for (name, value) in item.iter().filter(|(name, _)| !self.key.contains_key(*name)) {
            assign(self.attributes.entry(name.clone()).or_default(), rules.mode(name), value, stamp);
        }
        self.cleared = Some(stamp);
    }

    fn change(&mut self, rules: &Rules, change: &Change, stamp: Stamp) -> Result<(), ApplyError> {
        let named = |refusal| {
            let path = change.path.join(".");
            match refusal {
                Refusal::Mismatch => ApplyError::Mismatch(path),
                Refusal::Number => ApplyError::Number(path),
            }
        };
        let Some((root, inside)) = change.path.split_first() else {
            return Err(named(Refusal::Mismatch));
        };
        if self.key.contains_key(root) {
            return Err(named(Refusal::Mismatch));
        }
        let mode = if inside.is_empty() { rules.mode(root) } else { Mode::Typed };
        let mut node = self.attributes.entry(root.clone()).or_default();
        for name in inside {
            node.become_map(stamp).map_err(named)?;
            node = node.children.entry(name.clone()).or_default();
        }
        match &change.action {
            Action::Assign(value) => {
                assign(node, mode, value, stamp);
                Ok(())
            }
            Action::Remove => {
                node.remove(stamp);
                Ok(())
            }
            Action::Add(amount) => node.add(*amount, stamp),
            Action::SetAdd(set) => node.set_add(set, stamp),
            Action::SetDelete(set) => node.set_delete(set, stamp),
        }
        .map_err(named)
    }

    /// Counts the write as seen, and drops what the floor allows.
    fn close(&mut self, rules: &Rules, stamp: Stamp, floor: Hlc) {
        self.context.see(stamp);
        self.context.raise(floor);
        let floor = self.context.floor;
        self.cleared = self.cleared.filter(|cleared| cleared.hlc > floor);
        self.attributes.retain(|name, node| {
            node.forget(floor, rules.removals(name), stamp);
            !node.is_void()
        });
    }
}

fn assign(node: &mut Node, mode: Mode, value: &AttributeValue, stamp: Stamp) {
    match mode {
        Mode::Typed => node.assign_typed(value, stamp),
        Mode::Whole(_) => node.assign_whole(Entry::Value(value.clone()), stamp),
    }
}

impl Node {
    /// Drops what was assigned before a put or delete.
    fn hide(&mut self, cleared: Stamp) {
        self.register.retain(|stamp, _| *stamp >= cleared);
        self.children.values_mut().for_each(|child| child.hide(cleared));
    }

    /// Takes away the parts that do not show in this shape: the write has seen them and goes by what shows.
    fn settle(&mut self, shape: Shape, stamp: Stamp) {
        if shape != Shape::Number {
            self.counter.reset(stamp);
        }
        self.elements.retain(|element, _| Shape::Set(element.kind()) == shape);
        if shape != Shape::Map {
            self.clear_children(stamp);
        }
    }

    /// Makes room for something new where nothing shows.
    fn start(&mut self, stamp: Stamp) {
        self.clear_parts(stamp);
        // A removal goes on to win against earlier assignments.
        if self.winner(None).is_none_or(|(_, entry)| *entry != Entry::Absent) {
            self.register.clear();
        }
    }

    /// Prepares for a change of members: a value kept whole is taken apart.
    fn open(&mut self, wanted: Shape, stamp: Stamp) -> Result<(), Refusal> {
        match self.shape(None) {
            Some(Shape::Whole) => match self.show(None) {
                Some(value) if Shape::of(&value) == wanted => self.assign_typed(&value, stamp),
                _ => return Err(Refusal::Mismatch),
            },
            Some(shape) if self.show(None).is_some() => {
                if shape != wanted {
                    return Err(Refusal::Mismatch);
                }
                self.settle(shape, stamp);
            }
            _ => self.start(stamp),
        }
        Ok(())
    }

    /// A change inside is coming. A map that stands only on what was put inside it becomes one of its own.
    fn become_map(&mut self, stamp: Stamp) -> Result<(), Refusal> {
        if self.show(None).is_none() {
            return Err(Refusal::Mismatch);
        }
        self.open(Shape::Map, stamp)?;
        if self.winner(None).is_none_or(|(_, entry)| *entry != Entry::Map) {
            self.register = [(stamp, Entry::Map)].into();
        }
        Ok(())
    }

    fn add(&mut self, amount: Number, stamp: Stamp) -> Result<(), Refusal> {
        self.open(Shape::Number, stamp)?;
        if self.counter.add(stamp, amount).is_ok() {
            return Ok(());
        }
        // The origin's own sum is full, while all together is not: begin again from what it is.
        let total = match self.show(None) {
            Some(AttributeValue::N(before)) => sum([before, amount].into_iter()),
            _ => Sum::Exact(amount),
        };
        match total {
            Sum::Exact(total) => {
                self.assign_typed(&AttributeValue::N(total), stamp);
                Ok(())
            }
            Sum::Cut(_) => Err(Refusal::Number),
        }
    }

    fn set_add(&mut self, set: &AttributeValue, stamp: Stamp) -> Result<(), Refusal> {
        let (kind, elements) = elements_of(set).ok_or(Refusal::Mismatch)?;
        self.open(Shape::Set(kind), stamp)?;
        // The writes that put them there before have been seen.
        self.elements.extend(elements.into_iter().map(|element| (element, [stamp].into())));
        Ok(())
    }

    fn set_delete(&mut self, set: &AttributeValue, stamp: Stamp) -> Result<(), Refusal> {
        let (kind, elements): (_, Vec<Element>) = elements_of(set).ok_or(Refusal::Mismatch)?;
        if self.show(None).is_none() {
            return Ok(());
        }
        self.open(Shape::Set(kind), stamp)?;
        elements.iter().for_each(|element| {
            self.elements.remove(element);
        });
        if self.elements.is_empty() {
            // There are no empty sets. An earlier removal stays.
            self.register.retain(|_, entry| *entry == Entry::Absent);
        }
        Ok(())
    }
}
