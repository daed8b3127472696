//! Checks that all kinds of expressions share: words and functions as written, then placeholders and operand types.

use super::path::{Clash, first_clash};
use super::reserved::is_reserved;
use super::syntax::{self, Call, Element};
use super::{ExpressionKind, MAX_OPERATORS, MAX_PATH_LENGTH, Path, Placeholders, Step};
use crate::error::DynamoError;
use crate::value::{AttributeType, AttributeValue};
use alloc::format;
use alloc::vec::Vec;

/// Where a function may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Condition,
    Operand,
    Update,
}

const FUNCTIONS: [(&str, usize, Place); 8] = [
    ("attribute_exists", 1, Place::Condition),
    ("attribute_not_exists", 1, Place::Condition),
    ("attribute_type", 2, Place::Condition),
    ("begins_with", 2, Place::Condition),
    ("contains", 2, Place::Condition),
    ("size", 1, Place::Operand),
    ("if_not_exists", 2, Place::Update),
    ("list_append", 2, Place::Update),
];

/// Walks a tree as written: reserved words, list indexes, functions and the count of operators.
pub(super) struct Words {
    kind: ExpressionKind,
    operators: usize,
}

impl Words {
    pub(super) fn new(kind: ExpressionKind) -> Self {
        Self { kind, operators: 0 }
    }

    /// Refuses a tree with too many operators; to be called when all of it was walked.
    pub(super) fn finish(self) -> Result<(), DynamoError> {
        if self.operators > MAX_OPERATORS {
            return Err(self.kind.refuse(syntax::too_many_operators(self.operators)));
        }
        Ok(())
    }

    pub(super) fn condition(&mut self, condition: &syntax::Condition<'_>) -> Result<(), DynamoError> {
        use syntax::Condition;
        match condition.bare() {
            Condition::And(parts) | Condition::Or(parts) => {
                self.operators += parts.len() - 1;
                parts.iter().try_for_each(|part| self.condition(part))
            }
            Condition::Not(times, inner) => {
                self.operators += times;
                self.condition(inner)
            }
            Condition::Paren(inner) => self.condition(inner),
            Condition::Call(call) => self.call(call, Place::Condition),
            Condition::Compare(_, left, right) => self.operands([left, right]),
            Condition::Between(operand, low, high) => self.operands([operand, low, high]),
            Condition::In(operand, candidates) => self.operands(core::iter::once(operand).chain(candidates)),
        }
    }

    fn operands<'o, 'a: 'o>(
        &mut self,
        operands: impl IntoIterator<Item = &'o syntax::Operand<'a>>,
    ) -> Result<(), DynamoError> {
        self.operators += 1;
        operands.into_iter().try_for_each(|operand| self.operand(operand))
    }

    pub(super) fn operand(&mut self, operand: &syntax::Operand<'_>) -> Result<(), DynamoError> {
        use syntax::Operand;
        match operand {
            Operand::Value(_) => Ok(()),
            Operand::Path(path) => self.path(path),
            Operand::Call(call) => self.call(call, Place::Operand),
            Operand::Paren(inner) => self.operand(inner),
            Operand::Arithmetic(_, left, right) => self.operands([&**left, &**right]),
        }
    }

    pub(super) fn path(&self, path: &syntax::Path<'_>) -> Result<(), DynamoError> {
        path.iter().try_for_each(|element| match element {
            Element::Name(name) if is_reserved(name) => Err(self
                .kind
                .refuse(format!("Attribute name is a reserved keyword; reserved keyword: {name}"))),
            Element::Index(digits) if index(digits).is_none() => Err(self
                .kind
                .refuse(format!("List index is not within the allowable range; index: [{digits}]"))),
            _ => Ok(()),
        })
    }

    fn call(&mut self, call: &Call<'_>, place: Place) -> Result<(), DynamoError> {
        let name = call.name;
        let refuse = |reason: &str| Err(self.kind.refuse(format!("{reason}; function: {name}")));
        let Some((_, count, allowed)) = FUNCTIONS.iter().find(|(function, ..)| *function == name) else {
            return refuse("Invalid function name");
        };
        match (self.kind == ExpressionKind::Update, *allowed == Place::Update) {
            (true, false) => return refuse("The function is not allowed in an update expression"),
            (false, true) => return refuse("The function is not allowed in a condition expression"),
            (false, false) if place != *allowed => {
                return refuse("The function is not allowed to be used this way in an expression");
            }
            _ => {}
        }
        if call.arguments.len() != *count {
            return Err(self.kind.refuse(format!(
                "Incorrect number of operands for operator or function; operator or function: {name}, number of \
                 operands: {}",
                call.arguments.len()
            )));
        }
        self.operators += 1;
        call.arguments.iter().try_for_each(|argument| self.operand(argument))
    }
}

/// A list index; none past the largest.
fn index(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|index| *index <= i32::MAX.cast_unsigned())
}

/// Resolves placeholders, and refuses operands of types that cannot be right whatever the item holds.
pub(super) struct Resolver<'r, 'a> {
    kind: ExpressionKind,
    placeholders: &'r mut Placeholders<'a>,
}

impl<'r, 'a> Resolver<'r, 'a> {
    pub(super) fn new(kind: ExpressionKind, placeholders: &'r mut Placeholders<'a>) -> Self {
        Self { kind, placeholders }
    }

    pub(super) fn refuse(&self, reason: impl core::fmt::Display) -> DynamoError {
        self.kind.refuse(reason)
    }

    pub(super) fn value(&mut self, placeholder: &str) -> Result<&'a AttributeValue, DynamoError> {
        self.placeholders.value(placeholder).ok_or_else(|| {
            self.kind.refuse(format!(
                "An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            ))
        })
    }

    pub(super) fn path(&mut self, path: &syntax::Path<'_>) -> Result<Path, DynamoError> {
        if path.len() > MAX_PATH_LENGTH {
            return Err(self.refuse(format!(
                "The document path has too many nesting levels; nesting levels: {}",
                path.len()
            )));
        }
        let mut steps = path.iter().map(|element| match element {
            Element::Name(name) => Ok(Step::Name((*name).into())),
            // Checked as the words were walked.
            Element::Index(digits) => Ok(Step::Index(index(digits).unwrap_or(u32::MAX))),
            Element::Placeholder(placeholder) => match self.placeholders.name(placeholder) {
                Some(name) => Ok(Step::Name(name.into())),
                None => Err(self.kind.refuse(format!(
                    "An expression attribute name used in the document path is not defined; attribute name: \
                     {placeholder}"
                ))),
            },
        });
        let root = steps.next().transpose()?;
        let steps = steps.collect::<Result<Vec<Step>, DynamoError>>()?;
        match root {
            Some(Step::Name(root)) => Ok(Path { root, steps }),
            // The grammar starts every path with a name.
            _ => Err(self.refuse("The document path does not start with a map element")),
        }
    }

    /// Refuses a type that an operator cannot take; a type that depends on the item passes.
    pub(super) fn check_type(
        &self,
        operator: &str,
        found: Option<AttributeType>,
        allowed: &[AttributeType],
    ) -> Result<(), DynamoError> {
        match found {
            Some(found) if !allowed.contains(&found) => Err(self.wrong_type(operator, found.name())),
            _ => Ok(()),
        }
    }

    pub(super) fn wrong_type(&self, operator: &str, found: &str) -> DynamoError {
        self.refuse(format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {found}"
        ))
    }

    pub(super) fn needs_path(&self, function: &str) -> DynamoError {
        self.refuse(format!(
            "Operator or function requires a document path; operator or function: {function}"
        ))
    }

    /// The refusal of an operand that is compared with itself.
    pub(super) fn not_distinct(&self, operator: &str, first: &Path) -> DynamoError {
        self.refuse(format!(
            "The first operand must be distinct from the remaining operands for this operator or function; operator: \
             {operator}, first operand: {first}"
        ))
    }

    /// Refuses paths that cannot be written or shown together.
    pub(super) fn check_clashes(&self, paths: &[&Path]) -> Result<(), DynamoError> {
        let Some((clash, one, two)) = first_clash(paths) else {
            return Ok(());
        };
        let clash = match clash {
            Clash::Overlap => "overlap",
            Clash::Conflict => "conflict",
        };
        Err(self.refuse(format!(
            "Two document paths {clash} with each other; must remove or rewrite one of these paths; path one: {}, path \
             two: {}",
            paths[one], paths[two]
        )))
    }
}
