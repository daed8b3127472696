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
            changes.push(path, Action::Remove);
        }
        for add in &update.adds {
            let action = match &add.value {
                AttributeValue::N(number) => Action::Add(*number),
                set => Action::SetAdd(set.clone()),
            };
            changes.push(&add.path, action);
        }
        for delete in &update.deletes {
            changes.push(&delete.path, Action::SetDelete(delete.value.clone()));
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
        let action = match (path.find(self.after), self.added(path, value)) {
            (_, Some(amount)) => Action::Add(amount),
            (Some(after), None) => Action::Assign(after.clone()),
            (None, None) => Action::Remove,
        };
        self.push(path, action);
    }

    /// How much larger the number in a place has become, where the value is computed by adding to it.
    fn added(&self, path: &Path, value: &SetValue) -> Option<Number> {
        match (path.find(self.before), path.find(self.after)) {
            _ if !adds_to(value, path) => None,
            (Some(AttributeValue::N(before)), Some(AttributeValue::N(after))) => {
                after.checked_sub(*before).ok()
            }
            (None, Some(AttributeValue::N(after))) => Some(*after),
            _ => None,
        }
    }

    /// Records a change: this one where members merge, else what became of the whole that the path is in.
    fn push(&mut self, path: &Path, action: Action) {
        let typed = self.rules.mode(&path.root) == Mode::Typed;
        let names = path.steps.iter().take_while(|step| typed && matches!(step, Step::Name(_))).count();
        let place = Path { root: path.root.clone(), steps: path.steps.iter().take(names).cloned().collect() };
        let action = if typed && names == path.steps.len() {
            action
        } else {
            place.find(self.after).cloned().map_or(Action::Remove, Action::Assign)
        };
        let steps = place.steps.into_iter().filter_map(|step| match step {
            Step::Name(name) => Some(name),
            Step::Index(_) => None,
        });
        self.found.insert(core::iter::once(place.root).chain(steps).collect(), action);
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use meridian_dynamo::expr::{Placeholders, parse_update};
    use meridian_types::ConflictRule;

    fn number(value: i64) -> AttributeValue {
        AttributeValue::N(value.into())
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.into())
    }

    fn before() -> Item {
        let map = AttributeValue::M(
            [("n".into(), number(5)), ("l".into(), AttributeValue::L(vec![number(1)]))].into(),
        );
        let set = AttributeValue::Ss(["a".into()].into());
        Item::from([
            ("n".into(), number(10)),
            ("k".into(), number(3)),
            ("t".into(), text("t")),
            ("m".into(), map),
            ("s".into(), set),
        ])
    }

    /// The changes, `path action` each.
    fn changes(rules: &Rules, expression: &str) -> Vec<String> {
        let values = [
            (":n".to_string(), number(2)),
            (":t".to_string(), text("x")),
            (":l".to_string(), AttributeValue::L(vec![number(9)])),
            (":s".to_string(), AttributeValue::Ss(["a".into(), "b".into()].into())),
        ];
        let values = values.into();
        let update = parse_update(expression, &mut Placeholders::new(None, Some(&values))).unwrap();
        let after = update.apply(&before()).unwrap();
        let Effect::Update(changes) = Effect::of_update(&update, &before(), &after, rules) else {
            panic!("an update updates");
        };
        let shown = changes.iter().map(|change| {
            let action = match &change.action {
                Action::Assign(AttributeValue::N(value)) => alloc::format!("= {value}"),
                Action::Assign(AttributeValue::S(value)) => alloc::format!("= {value}"),
                Action::Assign(value) => alloc::format!("= {}", value.kind().name()),
                Action::Remove => "removed".into(),
                Action::Add(amount) => alloc::format!("+ {amount}"),
                Action::SetAdd(_) => "with members".into(),
                Action::SetDelete(_) => "without members".into(),
            };
            alloc::format!("{} {action}", change.path.join("."))
        });
        shown.collect()
    }

    #[test]
    fn what_adds_to_its_own_place_counts_and_all_else_assigns() {
        let crdt = Rules::from(ConflictRule::Crdt);
        for (expression, expected) in [
            ("ADD n :n", "n + 2"),
            ("ADD m.n :n", "m.n + 2"),
            ("ADD fresh :n", "fresh + 2"),
            ("SET n = n + :n", "n + 2"),
            ("SET n = :n + n", "n + 2"),
            ("SET n = n - :n", "n + -2"),
            ("SET n = n + k", "n + 3"),
            ("SET n = if_not_exists(n, :n) + :n", "n + 2"),
            ("SET fresh = if_not_exists(fresh, :n) + :n", "fresh + 4"),
            ("SET fresh = if_not_exists(fresh, :n) - :n", "fresh + 0"),
            ("SET n = if_not_exists(n, :n)", "n + 0"),
            ("SET fresh = if_not_exists(fresh, :n)", "fresh + 2"),
            ("SET fresh = if_not_exists(fresh, :t)", "fresh = x"),
            ("SET m.n = m.n + :n", "m.n + 2"),
            // These depend on what was there in another way, or not at all.
            ("SET n = :n", "n = 2"),
            ("SET n = :n - n", "n = -8"),
            ("SET n = n + n", "n = 20"),
            ("SET n = n - n", "n = 0"),
            ("SET n = k + :n", "n = 5"),
            ("SET n = if_not_exists(k, :n) + :n", "n = 5"),
            ("SET fresh = if_not_exists(fresh, k) + if_not_exists(fresh, k)", "fresh = 6"),
            ("SET t = :t", "t = x"),
            ("ADD s :s", "s with members"),
            ("DELETE s :s", "s without members"),
            ("REMOVE m.n", "m.n removed"),
            ("REMOVE fresh", "fresh removed"),
            // Lists are whole.
            ("SET m.l[0] = :n", "m.l = L"),
            ("SET m.l[0] = m.l[0] + :n", "m.l = L"),
            ("ADD m.l[0] :n", "m.l = L"),
            ("REMOVE m.l[0]", "m.l = L"),
            ("SET m.l = list_append(m.l, :l)", "m.l = L"),
        ] {
            assert_eq!(changes(&crdt, expression), [expected], "{expression}");
        }
        assert_eq!(changes(&crdt, "SET m.l[0] = :n, m.l[1] = :n, n = :n"), ["m.l = L", "n = 2"]);
    }

    #[test]
    fn what_is_kept_whole_is_assigned_whole() {
        let mut rules = Rules::from(ConflictRule::Merge);
        for (expression, expected) in [
            ("ADD n :n", "n = 12"),
            ("SET n = n - :n", "n = 8"),
            ("SET m.n = :n", "m = M"),
            ("REMOVE m.n", "m = M"),
            ("REMOVE m", "m removed"),
            ("ADD s :s", "s = SS"),
            ("DELETE s :s", "s removed"),
        ] {
            assert_eq!(changes(&rules, expression), [expected], "{expression}");
        }
        rules.attributes.insert("n".into(), crate::AttributeRule::Sum);
        assert_eq!(changes(&rules, "ADD n :n, k :n"), ["k = 5", "n + 2"]);
    }
}
