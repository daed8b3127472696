//! Applying an update to an item: every value is computed from the item as it was, then all are written.

use super::{SetValue, UpdateExpr};
use crate::error::DynamoError;
use crate::expr::path::step_into;
use crate::expr::{Path, Step};
use crate::number::{Number, NumberError};
use crate::value::{AttributeValue, Item};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;

const INVALID_PATH: &str = "The document path provided in the update expression is invalid for update";
const MISSING_ATTRIBUTE: &str =
    "The provided expression refers to an attribute that does not exist in the item";
const WRONG_TYPE: &str = "An operand in the update expression has an incorrect data type";

impl UpdateExpr {
    /// The item after the update. An item that does not exist is the one of its key attributes alone.
    ///
    /// Places mean what they meant before the update: a list index behind the end appends, in the order of indexes, and
    /// removed elements do not move the targets behind them.
    ///
    /// # Errors
    /// `ValidationException` when a place cannot be reached, something that is read is not there, an operand has the
    /// wrong type, or a number does not fit.
    pub fn apply(&self, before: &Item) -> Result<Item, DynamoError> {
        // An operand that does not fit is reported before any place that cannot be reached.
        for action in &self.adds {
            if !add_fits(action.path.find(before), &action.value) {
                return Err(DynamoError::validation(WRONG_TYPE));
            }
        }
        for action in &self.deletes {
            if !delete_fits(action.path.find(before), &action.value) {
                return Err(DynamoError::validation(WRONG_TYPE));
            }
        }
        let mut writes: Vec<(&Path, AttributeValue)> = Vec::with_capacity(self.sets.len() + self.adds.len());
        for action in &self.sets {
            writes.push((&action.path, action.value.compute(before)?.into_owned()));
        }
        for action in &self.adds {
            writes.push((&action.path, added(action.path.find(before), &action.value)?));
        }
        let mut removals: Vec<&Path> = Vec::with_capacity(self.removes.len());
        for action in &self.deletes {
            check_parent(before, &action.path)?;
            match action.path.find(before).map(|set| without(set, &action.value)) {
                Some(Some(left)) => writes.push((&action.path, left)),
                // An emptied set goes, since there are no empty sets.
                Some(None) => removals.push(&action.path),
                None => {}
            }
        }
        writes.sort_unstable_by_key(|(path, _)| *path);
        let mut after = before.clone();
        for (path, value) in writes {
            match slot(&mut after, path) {
                Some(Slot::Map(map, name)) => {
                    map.insert(name.into(), value);
                }
                Some(Slot::List(list, index)) => match list.get_mut(index) {
                    Some(element) => *element = value,
                    None => list.push(value),
                },
                None => return Err(DynamoError::validation(INVALID_PATH)),
            }
        }
        for path in &self.removes {
            check_parent(before, path)?;
            if path.find(before).is_some() {
                removals.push(path);
            }
        }
        // From the back, so that no removal moves the target of another.
        removals.sort_unstable_by(|a, b| b.cmp(a));
        for path in removals {
            match slot(&mut after, path) {
                Some(Slot::Map(map, name)) => {
                    map.remove(name);
                }
                Some(Slot::List(list, index)) if index < list.len() => {
                    list.remove(index);
                }
                _ => {}
            }
        }
        Ok(after)
    }
}

impl SetValue {
    fn compute<'a>(&'a self, item: &'a Item) -> Result<Cow<'a, AttributeValue>, DynamoError> {
        match self {
            SetValue::Value(value) => Ok(Cow::Borrowed(value)),
            SetValue::Path(path) => {
                path.find(item).map(Cow::Borrowed).ok_or_else(|| DynamoError::validation(MISSING_ATTRIBUTE))
            }
            SetValue::IfNotExists(path, other) => match path.find(item) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => other.compute(item),
            },
            SetValue::ListAppend(first, second) => {
                match (first.compute(item)?.into_owned(), second.compute(item)?.into_owned()) {
                    (AttributeValue::L(mut list), AttributeValue::L(tail)) => {
                        list.extend(tail);
                        Ok(Cow::Owned(AttributeValue::L(list)))
                    }
                    _ => Err(DynamoError::validation(WRONG_TYPE)),
                }
            }
            SetValue::Plus(left, right) => arithmetic(left, right, item, Number::checked_add),
            SetValue::Minus(left, right) => arithmetic(left, right, item, Number::checked_sub),
        }
    }
}

fn arithmetic<'a>(
    left: &SetValue,
    right: &SetValue,
    item: &Item,
    operation: fn(Number, Number) -> Result<Number, NumberError>,
) -> Result<Cow<'a, AttributeValue>, DynamoError> {
    match (&*left.compute(item)?, &*right.compute(item)?) {
        (AttributeValue::N(left), AttributeValue::N(right)) => {
            let result = operation(*left, *right).map_err(refused_number)?;
            Ok(Cow::Owned(AttributeValue::N(result)))
        }
        _ => Err(DynamoError::validation(WRONG_TYPE)),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused_number(error: NumberError) -> DynamoError {
    DynamoError::validation(error.to_string())
}

/// Whether `ADD` can combine a value with what is there.
fn add_fits(existing: Option<&AttributeValue>, value: &AttributeValue) -> bool {
    use AttributeValue::{Bs, N, Ns, Ss};
    matches!(
        (existing, value),
        (None, _) | (Some(N(_)), N(_)) | (Some(Ss(_)), Ss(_)) | (Some(Ns(_)), Ns(_)) | (Some(Bs(_)), Bs(_))
    )
}

/// Whether `DELETE` can take a set's members from what is there.
fn delete_fits(existing: Option<&AttributeValue>, value: &AttributeValue) -> bool {
    !matches!(value, AttributeValue::N(_)) && add_fits(existing, value)
}

/// A number plus what is there, or a set joined with it.
fn added(existing: Option<&AttributeValue>, value: &AttributeValue) -> Result<AttributeValue, DynamoError> {
    use AttributeValue::{Bs, N, Ns, Ss};
    Ok(match (existing, value) {
        (Some(N(a)), N(b)) => N(a.checked_add(*b).map_err(refused_number)?),
        (Some(Ss(a)), Ss(b)) => Ss(a | b),
        (Some(Ns(a)), Ns(b)) => Ns(a | b),
        (Some(Bs(a)), Bs(b)) => Bs(a | b),
        (_, value) => value.clone(),
    })
}

/// A set without the members of another; none when nothing is left.
fn without(set: &AttributeValue, members: &AttributeValue) -> Option<AttributeValue> {
    use AttributeValue::{Bs, Ns, Ss};
    fn difference<T: Ord + Clone>(
        set: &BTreeSet<T>,
        members: &BTreeSet<T>,
        wrap: fn(BTreeSet<T>) -> AttributeValue,
    ) -> Option<AttributeValue> {
        let left = set - members;
        (!left.is_empty()).then(|| wrap(left))
    }
    match (set, members) {
        (Ss(a), Ss(b)) => difference(a, b, Ss),
        (Ns(a), Ns(b)) => difference(a, b, Ns),
        (Bs(a), Bs(b)) => difference(a, b, Bs),
        // Types were found to fit before.
        (other, _) => Some(other.clone()),
    }
}

/// Refuses a place whose parent is not there or is not what the last step needs. The place itself may be empty.
fn check_parent(item: &Item, path: &Path) -> Result<(), DynamoError> {
    let Some((last, parents)) = path.steps.split_last() else {
        return Ok(());
    };
    let parent = item.get(&path.root).and_then(|root| parents.iter().try_fold(root, step_into));
    match (parent, last) {
        (Some(AttributeValue::M(_)), Step::Name(_)) | (Some(AttributeValue::L(_)), Step::Index(_)) => Ok(()),
        _ => Err(DynamoError::validation(INVALID_PATH)),
    }
}

/// A place to write to or remove from.
enum Slot<'a, 'p> {
    Map(&'a mut BTreeMap<alloc::string::String, AttributeValue>, &'p str),
    List(&'a mut Vec<AttributeValue>, usize),
}

fn slot<'a, 'p>(item: &'a mut Item, path: &'p Path) -> Option<Slot<'a, 'p>> {
    let Some((last, parents)) = path.steps.split_last() else {
        return Some(Slot::Map(item, &path.root));
    };
    let mut parent = item.get_mut(&path.root)?;
    for step in parents {
        parent = match (parent, step) {
            (AttributeValue::M(map), Step::Name(name)) => map.get_mut(name)?,
            (AttributeValue::L(list), Step::Index(index)) => list.get_mut(usize::try_from(*index).ok()?)?,
            _ => return None,
        };
    }
    match (parent, last) {
        (AttributeValue::M(map), Step::Name(name)) => Some(Slot::Map(map, name)),
        (AttributeValue::L(list), Step::Index(index)) => {
            Some(Slot::List(list, usize::try_from(*index).ok()?))
        }
        _ => None,
    }
}
