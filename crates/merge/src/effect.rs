//! What a write does to an item, in terms that concurrent writes can be merged in.

use crate::rules::{Mode, Rules};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::expr::{Path, SetValue, Step, UpdateExpr};
use meridian_dynamo::{AttributeValue, Item, Number};

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The item is replaced.
    Put(Item),
    /// The item is removed.
    Delete,
    /// Parts of it change; it is made when it is not there. No part is inside another.
    Update(Vec<Change>),
}

/// A change of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The attribute, and names of members of maps.
    pub path: Vec<String>,
    /// What is done there.
    pub action: Action,
}

/// What is done to a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It gets this value, whatever it was.
    Assign(AttributeValue),
    /// It goes.
    Remove,
    /// A number, or nothing, gets larger by this.
    Add(Number),
    /// A set, or nothing, gets these members.
    SetAdd(AttributeValue),
    /// A set loses these members.
    SetDelete(AttributeValue),
}

impl Effect {
    /// What an update that turned `before` into `after` does.
    ///
    /// Where the rules merge by member, `ADD` and `DELETE` are what they are, and so is a `SET` that adds to or takes from the
    /// number in its own place: `a = a + :n`, `a = a - :n`, `a = if_not_exists(a, :start) + :n`. The last adds its start too where
    /// there is nothing, so that two regions that begin at once both count theirs. What reaches into a list assigns the list. All
    /// else, and everything where the rules keep values whole, assigns what is there after.
    #[must_use]
    pub fn of_update(update: &UpdateExpr, before: &Item, after: &Item, rules: &Rules) -> Self {
        let mut changes = Changes { before, after, rules, found: BTreeMap::new() };
        for set in &update.sets {
            changes.set(&set.path, &set.value);
        }
        for path in &update.removes {
            changes.push(path, || Action::Remove);
        }
        for add in &update.adds {
            changes.push(&add.path, || match &add.value {
                AttributeValue::N(number) => Action::Add(*number),
                set => Action::SetAdd(set.clone()),
            });
        }
        for delete in &update.deletes {
            changes.push(&delete.path, || Action::SetDelete(delete.value.clone()));
        }
        let found = changes.found.into_iter();
        Self::Update(found.map(|(path, action)| Change { path, action }).collect())
    }
}

struct Changes<'a> {
    before: &'a Item,
    after: &'a Item,
    rules: &'a Rules,
    found: BTreeMap<Vec<String>, Action>,
}

impl Changes<'_> {
    fn set(&mut self, path: &Path, value: &SetValue) {
        self.push(path, || {
            let added = || {
                let AttributeValue::N(after) = path.find(self.after)? else { return None };
                match path.find(self.before) {
                    Some(AttributeValue::N(before)) => after.checked_sub(*before).ok(),
                    Some(_) => None,
                    None => Some(*after),
                }
            };
            match path.find(self.after) {
                Some(AttributeValue::N(_)) if adds_to(value, path) => added().map(Action::Add),
                _ => None,
            }
            .or_else(|| path.find(self.after).cloned().map(Action::Assign))
            .unwrap_or(Action::Remove)
        });
    }

    /// Records a change: this one where members merge, else what became of the whole that the path is in.
    fn push(&mut self, path: &Path, action: impl FnOnce() -> Action) {
        let typed = self.rules.mode(&path.root) == Mode::Typed;
        let names: Vec<&String> = path
            .steps
            .iter()
            .map_while(|step| match step {
                Step::Name(name) => Some(name),
                Step::Index(_) => None,
            })
            .collect();
        if typed && names.len() == path.steps.len() {
            let action = action();
            self.record(path, names.len(), action);
            return;
        }
        let kept = if typed { names.len() } else { 0 };
        let whole =
            Path { root: path.root.clone(), steps: path.steps.get(..kept).unwrap_or_default().to_vec() };
        let action = whole.find(self.after).cloned().map_or(Action::Remove, Action::Assign);
        self.record(&whole, kept, action);
    }

    fn record(&mut self, path: &Path, steps: usize, action: Action) {
        let names = path.steps.iter().take(steps).filter_map(|step| match step {
            Step::Name(name) => Some(name.clone()),
            Step::Index(_) => None,
        });
        self.found.insert(core::iter::once(path.root.clone()).chain(names).collect(), action);
    }
}

/// Whether a computed number is what was in the place, and something that does not depend on it.
fn adds_to(value: &SetValue, place: &Path) -> bool {
    match value {
        SetValue::Path(path) => path == place,
        SetValue::IfNotExists(path, start) => path == place && !mentions(start, place),
        SetValue::Plus(left, right) => {
            (adds_to(left, place) && !mentions(right, place))
                || (adds_to(right, place) && !mentions(left, place))
        }
        SetValue::Minus(left, right) => adds_to(left, place) && !mentions(right, place),
        SetValue::Value(_) | SetValue::ListAppend(..) => false,
    }
}

fn mentions(value: &SetValue, place: &Path) -> bool {
    match value {
        SetValue::Path(path) => path == place,
        SetValue::Value(_) => false,
        SetValue::IfNotExists(path, other) => path == place || mentions(other, place),
        SetValue::ListAppend(left, right) | SetValue::Plus(left, right) | SetValue::Minus(left, right) => {
            mentions(left, place) || mentions(right, place)
        }
    }
}
