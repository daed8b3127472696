//! Condition and filter expressions, resolved: checking them and deciding whether an item meets one.

use super::check::{Resolver, Words};
use super::compare::{compare, ordered};
use super::syntax::{self, Parser};
use super::token::Comparator;
use super::{ExpressionKind, Path, Placeholders};
use crate::error::DynamoError;
use crate::number::Number;
use crate::value::{AttributeType, AttributeValue, Item};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::cmp::Ordering;
use serde::{Deserialize, Serialize};

/// The most candidates of one `IN`.
const MAX_IN_CANDIDATES: usize = 100;

const ORDERED: &[AttributeType] = &[AttributeType::S, AttributeType::N, AttributeType::B];
const PREFIXED: &[AttributeType] = &[AttributeType::S, AttributeType::B];
const SIZED: &[AttributeType] = &[
    AttributeType::S,
    AttributeType::B,
    AttributeType::M,
    AttributeType::L,
    AttributeType::Ss,
    AttributeType::Ns,
    AttributeType::Bs,
];

/// A condition that owns its names and values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// All of them hold; true when there are none.
    And(Vec<Condition>),
    /// One of them holds; false when there are none.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A comparison. With an operand that is not there, only `<>` holds.
    Compare(Operand, Comparator, Operand),
    /// The first is not below the second and not above the third.
    Between(Operand, Operand, Operand),
    /// The operand equals one of the candidates.
    In(Operand, Vec<Operand>),
    /// There is something at the path.
    Exists(Path),
    /// There is nothing at the path.
    NotExists(Path),
    /// What is at the path has the type.
    HasType(Path, AttributeType),
    /// Text or binary starts with the other.
    BeginsWith(Operand, Operand),
    /// Text or binary contains the other as a part, a set or list as a member.
    Contains(Operand, Operand),
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operand {
    /// The value at a place of the item.
    Path(Path),
    /// A given value.
    Value(AttributeValue),
    /// The size of the value at a place: characters of text (in UTF-16 units, as the API counts), bytes of a binary,
    /// members of a set, list or map. Numbers, booleans and null have none.
    Size(Path),
}

/// Reads a condition or filter expression.
///
/// # Errors
/// `ValidationException` in the words of the API, starting with `Invalid ConditionExpression: ` or the like.
pub fn parse_condition(
    kind: ExpressionKind,
    text: &str,
    placeholders: &mut Placeholders<'_>,
) -> Result<Condition, DynamoError> {
    kind.check_text(text)?;
    let tree = Parser::new(kind, text).condition()?;
    let mut words = Words::new(kind);
    words.condition(&tree)?;
    words.finish()?;
    Resolver::new(kind, placeholders).condition(&tree)
}

impl Resolver<'_, '_> {
    pub(super) fn condition(&mut self, tree: &syntax::Condition<'_>) -> Result<Condition, DynamoError> {
        use syntax::Condition as Tree;
        // What recurses is apart from what does not, to keep the frames of deep conditions small.
        match tree.bare() {
            Tree::And(parts) => self.conditions(parts).map(Condition::And),
            Tree::Or(parts) => self.conditions(parts).map(Condition::Or),
            Tree::Not(times, inner) if times.is_multiple_of(2) => self.condition(inner),
            Tree::Not(_, inner) => self.condition(inner).map(Box::new).map(Condition::Not),
            test => self.test(test),
        }
    }

    fn conditions(&mut self, parts: &[syntax::Condition<'_>]) -> Result<Vec<Condition>, DynamoError> {
        let mut conditions = Vec::with_capacity(parts.len());
        for part in parts {
            conditions.push(self.condition(part)?);
        }
        Ok(conditions)
    }

    fn test(&mut self, tree: &syntax::Condition<'_>) -> Result<Condition, DynamoError> {
        use syntax::Condition as Tree;
        match tree {
            Tree::Compare(comparator, left, right) => {
                let (left, right) = (self.operand(left)?, self.operand(right)?);
                self.check_distinct(comparator.as_str(), &left, [&right])?;
                if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
                    self.check_types(comparator.as_str(), [&left, &right], ORDERED)?;
                }
                Ok(Condition::Compare(left, *comparator, right))
            }
            Tree::Between(operand, low, high) => {
                let (operand, low, high) = (self.operand(operand)?, self.operand(low)?, self.operand(high)?);
                self.check_distinct("BETWEEN", &operand, [&low, &high])?;
                self.check_types("BETWEEN", [&operand, &low, &high], ORDERED)?;
                self.check_bounds(&low, &high)?;
                Ok(Condition::Between(operand, low, high))
            }
            Tree::In(operand, candidates) => {
                let operand = self.operand(operand)?;
                let candidates: Vec<Operand> =
                    candidates.iter().map(|candidate| self.operand(candidate)).collect::<Result<_, _>>()?;
                if candidates.len() > MAX_IN_CANDIDATES {
                    return Err(self.refuse(format!(
                        "The IN operator is provided with too many operands; number of operands: {}",
                        candidates.len()
                    )));
                }
                self.check_distinct("IN", &operand, &candidates)?;
                Ok(Condition::In(operand, candidates))
            }
            Tree::Call(call) => self.function(call),
            Tree::And(_) | Tree::Or(_) | Tree::Not(..) | Tree::Paren(_) => self.condition(tree),
        }
    }

    fn function(&mut self, call: &syntax::Call<'_>) -> Result<Condition, DynamoError> {
        // The count of arguments was checked as the words were walked.
        let mut arguments = call.arguments.iter();
        let first = arguments.next().map(|argument| self.operand(argument)).transpose()?;
        let second = arguments.next().map(|argument| self.operand(argument)).transpose()?;
        match (call.name, first, second) {
            ("attribute_exists", Some(Operand::Path(path)), None) => Ok(Condition::Exists(path)),
            ("attribute_not_exists", Some(Operand::Path(path)), None) => Ok(Condition::NotExists(path)),
            ("attribute_type", Some(Operand::Path(path)), Some(kind)) => {
                let kind = self.type_named(&kind)?;
                Ok(Condition::HasType(path, kind))
            }
            ("begins_with", Some(whole), Some(start)) => {
                self.check_distinct(call.name, &whole, [&start])?;
                self.check_types(call.name, [&whole, &start], PREFIXED)?;
                Ok(Condition::BeginsWith(whole, start))
            }
            ("contains", Some(whole), Some(part)) => {
                self.check_distinct(call.name, &whole, [&part])?;
                Ok(Condition::Contains(whole, part))
            }
            _ => Err(self.needs_path(call.name)),
        }
    }

    /// The type that the second operand of `attribute_type` names.
    fn type_named(&self, operand: &Operand) -> Result<AttributeType, DynamoError> {
        const FUNCTION: &str = "attribute_type";
        let value = match operand {
            Operand::Value(value) => value,
            Operand::Size(_) => return Err(self.wrong_type(FUNCTION, "N")),
            Operand::Path(_) => {
                let any = "{SS,M,DECIMAL,DOUBLESET,HDS,N,B,DICT,INTSET,BOOL,HD,BS,INT,DECIMALSET,NULL,FLOAT,FS,S,L,NS,\
                           DOUBLE}";
                return Err(self.wrong_type(FUNCTION, any));
            }
        };
        let AttributeValue::S(name) = value else {
            return Err(self.wrong_type(FUNCTION, value.kind().name()));
        };
        AttributeType::from_name(name).ok_or_else(|| {
            self.refuse(format!(
                "Invalid attribute type name found; type: {name}, valid types: {{N,BS,L,B,NULL,M,S,SS,NS,BOOL}}"
            ))
        })
    }

    fn operand(&mut self, tree: &syntax::Operand<'_>) -> Result<Operand, DynamoError> {
        match tree.bare() {
            syntax::Operand::Value(placeholder) => Ok(Operand::Value(self.value(placeholder)?.clone())),
            syntax::Operand::Path(path) => Ok(Operand::Path(self.path(path)?)),
            // The only function that the walk of words lets stand here is `size` with one argument.
            syntax::Operand::Call(call) => {
                let argument = call.arguments.first().ok_or_else(|| self.needs_path(call.name))?;
                let argument = self.operand(argument)?;
                self.check_types(call.name, [&argument], SIZED)?;
                match argument {
                    Operand::Path(path) => Ok(Operand::Size(path)),
                    Operand::Value(value) => {
                        Ok(Operand::Value(AttributeValue::N(size_of(&value).unwrap_or(Number::ZERO))))
                    }
                    Operand::Size(_) => Err(self.wrong_type(call.name, "N")),
                }
            }
            syntax::Operand::Paren(_) | syntax::Operand::Arithmetic(..) => {
                Err(self.refuse("Arithmetic is not allowed in a condition expression"))
            }
        }
    }

    fn check_types<'o>(
        &self,
        operator: &str,
        operands: impl IntoIterator<Item = &'o Operand>,
        allowed: &[AttributeType],
    ) -> Result<(), DynamoError> {
        operands.into_iter().try_for_each(|operand| self.check_type(operator, operand.static_type(), allowed))
    }

    fn check_distinct<'o>(
        &self,
        operator: &str,
        first: &Operand,
        rest: impl IntoIterator<Item = &'o Operand>,
    ) -> Result<(), DynamoError> {
        match first {
            Operand::Path(path) if rest.into_iter().any(|operand| operand == first) => {
                Err(self.not_distinct(operator, path))
            }
            _ => Ok(()),
        }
    }

    /// Refuses given bounds of `BETWEEN` that nothing can be between.
    fn check_bounds(&self, low: &Operand, high: &Operand) -> Result<(), DynamoError> {
        let (Operand::Value(low), Operand::Value(high)) = (low, high) else {
            return Ok(());
        };
        let reason = match ordered(low, high) {
            None => "requires same data type for lower and upper bounds",
            Some(Ordering::Greater) => "requires upper bound to be greater than or equal to lower bound",
            Some(_) => return Ok(()),
        };
        Err(self.refuse(format!(
            "The BETWEEN operator {reason}; lower bound operand: AttributeValue: {{{}}}, upper bound operand: \
             AttributeValue: {{{}}}",
            shown(low),
            shown(high)
        )))
    }
}

/// A bound as refusals show it; other types than these are refused before.
fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("S:{text}"),
        AttributeValue::N(number) => format!("N:{number}"),
        AttributeValue::B(bytes) => format!("B:{}", STANDARD.encode(bytes)),
        other => other.kind().name().into(),
    }
}

impl Operand {
    /// The operand's type when no item is needed to know it.
    fn static_type(&self) -> Option<AttributeType> {
        match self {
            Operand::Path(_) => None,
            Operand::Value(value) => Some(value.kind()),
            Operand::Size(_) => Some(AttributeType::N),
        }
    }

    fn resolve<'a>(&'a self, item: &'a Item) -> Option<Cow<'a, AttributeValue>> {
        match self {
            Operand::Path(path) => path.find(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(path) => size_of(path.find(item)?).map(|size| Cow::Owned(AttributeValue::N(size))),
        }
    }
}

fn size_of(value: &AttributeValue) -> Option<Number> {
    let size = match value {
        AttributeValue::S(text) => text.encode_utf16().count(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::M(map) => map.len(),
        AttributeValue::L(list) => list.len(),
        AttributeValue::Ss(set) => set.len(),
        AttributeValue::Ns(set) => set.len(),
        AttributeValue::Bs(set) => set.len(),
        AttributeValue::N(_) | AttributeValue::Bool(_) | AttributeValue::Null => return None,
    };
    u64::try_from(size).ok().map(Number::from)
}

impl Condition {
    /// Whether the item meets the condition. An item that does not exist is the empty one.
    #[must_use]
    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::And(parts) => parts.iter().all(|part| part.holds(item)),
            Condition::Or(parts) => parts.iter().any(|part| part.holds(item)),
            Condition::Not(inner) => !inner.holds(item),
            Condition::Compare(left, comparator, right) => match (left.resolve(item), right.resolve(item)) {
                (Some(left), Some(right)) => compare(&left, *comparator, &right),
                _ => *comparator == Comparator::NotEqual,
            },
            Condition::Between(operand, low, high) => operand.resolve(item).is_some_and(|value| {
                let within = |bound: &Operand, comparator| {
                    bound.resolve(item).is_some_and(|bound| compare(&value, comparator, &bound))
                };
                within(low, Comparator::GreaterOrEqual) && within(high, Comparator::LessOrEqual)
            }),
            Condition::In(operand, candidates) => operand.resolve(item).is_some_and(|value| {
                candidates
                    .iter()
                    .any(|candidate| candidate.resolve(item).is_some_and(|candidate| value == candidate))
            }),
            Condition::Exists(path) => path.find(item).is_some(),
            Condition::NotExists(path) => path.find(item).is_none(),
            Condition::HasType(path, kind) => path.find(item).is_some_and(|value| value.kind() == *kind),
            Condition::BeginsWith(whole, start) => match (whole.resolve(item), start.resolve(item)) {
                (Some(whole), Some(start)) => begins_with(&whole, &start),
                _ => false,
            },
            Condition::Contains(whole, part) => match (whole.resolve(item), part.resolve(item)) {
                (Some(whole), Some(part)) => contains(&whole, &part),
                _ => false,
            },
        }
    }

    /// Calls `visit` with every path the condition looks at, in the order written.
    pub fn visit_paths<'c>(&'c self, visit: &mut impl FnMut(&'c Path)) {
        fn operand<'c>(operand: &'c Operand, visit: &mut impl FnMut(&'c Path)) {
            if let Operand::Path(path) | Operand::Size(path) = operand {
                visit(path);
            }
        }
        match self {
            Condition::And(parts) | Condition::Or(parts) => {
                parts.iter().for_each(|part| part.visit_paths(visit));
            }
            Condition::Not(inner) => inner.visit_paths(visit),
            Condition::Compare(a, _, b) | Condition::BeginsWith(a, b) | Condition::Contains(a, b) => {
                operand(a, visit);
                operand(b, visit);
            }
            Condition::Between(a, b, c) => [a, b, c].into_iter().for_each(|part| operand(part, visit)),
            Condition::In(a, rest) => core::iter::once(a).chain(rest).for_each(|part| operand(part, visit)),
            Condition::Exists(path) | Condition::NotExists(path) | Condition::HasType(path, _) => visit(path),
        }
    }
}

fn begins_with(whole: &AttributeValue, start: &AttributeValue) -> bool {
    match (whole, start) {
        (AttributeValue::S(whole), AttributeValue::S(start)) => whole.starts_with(start.as_str()),
        (AttributeValue::B(whole), AttributeValue::B(start)) => whole.starts_with(start),
        _ => false,
    }
}

fn contains(whole: &AttributeValue, part: &AttributeValue) -> bool {
    match (whole, part) {
        (AttributeValue::S(whole), AttributeValue::S(part)) => whole.contains(part.as_str()),
        (AttributeValue::B(whole), AttributeValue::B(part)) => {
            part.is_empty() || whole.windows(part.len()).any(|window| window == part)
        }
        (AttributeValue::Ss(set), AttributeValue::S(member)) => set.contains(member),
        (AttributeValue::Ns(set), AttributeValue::N(member)) => set.contains(member),
        (AttributeValue::Bs(set), AttributeValue::B(member)) => set.contains(member),
        (AttributeValue::L(list), member) => list.contains(member),
        _ => false,
    }
}
