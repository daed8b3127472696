//! Projection expressions: showing parts of an item. Updates use the same to answer with what they touched.

use super::check::{Resolver, Words};
use super::path::step_into;
use super::syntax::Parser;
use super::{ExpressionKind, Path, Placeholders, Step};
use crate::error::DynamoError;
use crate::value::{AttributeValue, Item};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The places of an item to show, none inside another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projection {
    /// In order.
    paths: Vec<Path>,
}

/// Reads a projection expression.
///
/// # Errors
/// `ValidationException` in the words of the API, starting with `Invalid ProjectionExpression: `.
pub fn parse_projection(text: &str, placeholders: &mut Placeholders<'_>) -> Result<Projection, DynamoError> {
    let kind = ExpressionKind::Projection;
    kind.check_text(text)?;
    let tree = Parser::new(kind, text).projection()?;
    let words = Words::new(kind);
    tree.iter().try_for_each(|path| words.path(path))?;
    let mut resolver = Resolver::new(kind, placeholders);
    let paths = tree.iter().map(|path| resolver.path(path)).collect::<Result<Vec<Path>, _>>()?;
    resolver.check_clashes(&paths.iter().collect::<Vec<_>>())?;
    Ok(Projection::new(paths))
}

impl Projection {
    /// Shows these places. One that is inside another is shown with it.
    #[must_use]
    pub fn new(mut paths: Vec<Path>) -> Self {
        paths.sort_unstable();
        Self { paths }
    }

    /// The places, in order.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The parts of an item at the places; places where there is nothing are left out. List elements close up, in the
    /// order of the list.
    #[must_use]
    pub fn apply(&self, item: &Item) -> Item {
        project(item, &self.paths.iter().collect::<Vec<_>>())
    }
}

/// As [`Projection::apply`], for paths in order.
pub(super) fn project(item: &Item, paths: &[&Path]) -> Item {
    paths
        .chunk_by(|a, b| a.root == b.root)
        .filter_map(|group| {
            let root = &group.first()?.root;
            let steps: Vec<&[Step]> = group.iter().map(|path| path.steps.as_slice()).collect();
            Some((root.clone(), part(item.get(root)?, &steps)?))
        })
        .collect()
}

/// The part of a value at the ends of some ways into it, in order; nothing when no way leads anywhere.
fn part(value: &AttributeValue, ways: &[&[Step]]) -> Option<AttributeValue> {
    let (first, _) = match ways.first()?.split_first() {
        None => return Some(value.clone()),
        Some(split) => split,
    };
    let mut groups = ways.chunk_by(|a, b| a.first() == b.first()).filter_map(|group| {
        let step = group.first()?.first()?;
        let rest: Vec<&[Step]> = group.iter().filter_map(|way| way.get(1..)).collect();
        Some((step, part(step_into(value, step)?, &rest)?))
    });
    match first {
        Step::Name(_) => {
            let map: BTreeMap<_, _> = groups
                .filter_map(|(step, part)| match step {
                    Step::Name(name) => Some((name.clone(), part)),
                    Step::Index(_) => None,
                })
                .collect();
            (!map.is_empty()).then_some(AttributeValue::M(map))
        }
        Step::Index(_) => {
            let first = groups.next()?.1;
            Some(AttributeValue::L(core::iter::once(first).chain(groups.map(|(_, part)| part)).collect()))
        }
    }
}
