//! Document paths with their names resolved: finding, ordering and comparing places inside an item.

use crate::value::{AttributeValue, Item};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The most elements of one document path.
pub const MAX_PATH_LENGTH: usize = 32;

/// One step into a map or a list. Names come before indexes, indexes are ordered as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Into a map, by name.
    Name(String),
    /// Into a list, by index.
    Index(u32),
}

/// A place in an item: an attribute, and steps into it. A path comes before the ones that it starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The attribute.
    pub root: String,
    /// Steps into the attribute's value.
    pub steps: Vec<Step>,
}

/// How two paths of one expression get in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    /// One is the other or leads to it.
    Overlap,
    /// They take one place for a map and for a list.
    Conflict,
}

impl Path {
    /// A whole attribute.
    pub fn attribute(name: impl Into<String>) -> Self {
        Self { root: name.into(), steps: Vec::new() }
    }

    /// The value at this place of an item.
    #[must_use]
    pub fn find<'a>(&self, item: &'a Item) -> Option<&'a AttributeValue> {
        let root = item.get(&self.root)?;
        self.steps.iter().try_fold(root, step_into)
    }

    /// How this path clashes with another, if it does.
    pub(crate) fn clash(&self, other: &Path) -> Option<Clash> {
        if self.root != other.root {
            return None;
        }
        let parting = self.steps.iter().zip(&other.steps).find(|(a, b)| a != b);
        match parting {
            None => Some(Clash::Overlap),
            Some((Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_))) => Some(Clash::Conflict),
            Some(_) => None,
        }
    }
}

/// The value one step inside another.
pub(crate) fn step_into<'a>(value: &'a AttributeValue, step: &Step) -> Option<&'a AttributeValue> {
    match (value, step) {
        (AttributeValue::M(map), Step::Name(name)) => map.get(name),
        (AttributeValue::L(list), Step::Index(index)) => list.get(usize::try_from(*index).ok()?),
        _ => None,
    }
}

/// The first clash among paths, as positions in the order written. Cheap when there is none.
pub(crate) fn first_clash(paths: &[&Path]) -> Option<(Clash, usize, usize)> {
    let mut sorted = paths.to_vec();
    sorted.sort_unstable();
    // In order, whatever clashes with a path stands next to one that does; only then is it worth to look for the pair.
    if !sorted.windows(2).any(|pair| pair[0].clash(pair[1]).is_some()) {
        return None;
    }
    paths
        .iter()
        .enumerate()
        .find_map(|(i, a)| paths.iter().enumerate().skip(i + 1).find_map(|(j, b)| Some((a.clash(b)?, i, j))))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Path {
    /// As the API shows paths: `[a, b, [0]]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.root)?;
        self.steps.iter().try_for_each(|step| write!(f, ", {step}"))?;
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn path(root: &str, steps: &[Step]) -> Path {
        Path { root: root.into(), steps: steps.to_vec() }
    }

    fn name(text: &str) -> Step {
        Step::Name(text.into())
    }

    #[test]
    fn finds_values_through_maps_and_lists() {
        let list = AttributeValue::L(vec![AttributeValue::Null, AttributeValue::Bool(true)]);
        let map = AttributeValue::M([("b".into(), list)].into());
        let item = Item::from([("a".into(), map)]);
        assert_eq!(path("a", &[name("b"), Step::Index(1)]).find(&item), Some(&AttributeValue::Bool(true)));
        for missing in [
            path("x", &[]),
            path("a", &[name("c")]),
            path("a", &[Step::Index(0)]),
            path("a", &[name("b"), Step::Index(2)]),
            path("a", &[name("b"), name("c")]),
            path("a", &[name("b"), Step::Index(0), name("c")]),
        ] {
            assert_eq!(missing.find(&item), None, "{missing}");
        }
    }

    #[test]
    fn clashes_are_overlaps_and_conflicts() {
        let (a, ab, a0, c) =
            (path("a", &[]), path("a", &[name("b")]), path("a", &[Step::Index(0)]), path("c", &[]));
        assert_eq!(a.clash(&a), Some(Clash::Overlap));
        assert_eq!(a.clash(&ab), Some(Clash::Overlap));
        assert_eq!(ab.clash(&a0), Some(Clash::Conflict));
        assert_eq!(ab.clash(&c), None);
        assert_eq!(first_clash(&[&c, &a0, &ab]), Some((Clash::Conflict, 1, 2)));
        assert_eq!(first_clash(&[&ab, &c, &a]), Some((Clash::Overlap, 0, 2)));
        assert_eq!(first_clash(&[&ab, &c]), None);
    }

    #[test]
    fn shown_as_the_api_shows_it() {
        assert_eq!(path("a", &[name("b"), Step::Index(0)]).to_string(), "[a, b, [0]]");
        assert_eq!(Path::attribute("a").to_string(), "[a]");
    }
}
