//! Update expressions, resolved and checked. Applying one is in [`apply`].

mod apply;

use super::check::{Resolver, Words};
use super::projection::project;
use super::syntax::{self, Clause, Parser, Sign};
use super::{ExpressionKind, Path, Placeholders};
use crate::error::DynamoError;
use crate::key::TableSchema;
use crate::value::{AttributeType, AttributeValue, Item};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What an update changes. No target is inside another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateExpr {
    /// `SET`.
    pub sets: Vec<SetAction>,
    /// `REMOVE`.
    pub removes: Vec<Path>,
    /// `ADD` of a number or a set.
    pub adds: Vec<ValueAction>,
    /// `DELETE` of the members of a set.
    pub deletes: Vec<ValueAction>,
}

/// Writes a computed value to a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAction {
    /// The place.
    pub path: Path,
    /// What is written there.
    pub value: SetValue,
}

/// Combines a place with a given value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueAction {
    /// The place.
    pub path: Path,
    /// The value.
    pub value: AttributeValue,
}

/// A value to compute from the item as it was before the update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetValue {
    /// What is at the path; it must be there.
    Path(Path),
    /// A given value.
    Value(AttributeValue),
    /// What is at the path, or the other value when there is nothing.
    IfNotExists(Path, Box<SetValue>),
    /// Two lists, one behind the other.
    ListAppend(Box<SetValue>, Box<SetValue>),
    /// The sum of two numbers.
    Plus(Box<SetValue>, Box<SetValue>),
    /// The difference of two numbers.
    Minus(Box<SetValue>, Box<SetValue>),
}

/// Reads an update expression.
///
/// # Errors
/// `ValidationException` in the words of the API, starting with `Invalid UpdateExpression: `.
pub fn parse_update(text: &str, placeholders: &mut Placeholders<'_>) -> Result<UpdateExpr, DynamoError> {
    let kind = ExpressionKind::Update;
    kind.check_text(text)?;
    let tree = Parser::new(kind, text).update()?;
    check_words(&tree)?;
    Resolver::new(kind, placeholders).update(&tree)
}

fn check_words(tree: &syntax::Update<'_>) -> Result<(), DynamoError> {
    let mut words = Words::new(ExpressionKind::Update);
    let mut seen = Vec::new();
    for (clause, actions) in tree {
        for action in actions {
            words.path(&action.path)?;
            action.operand.iter().try_for_each(|operand| words.operand(operand))?;
        }
        if seen.contains(clause) {
            return Err(ExpressionKind::Update.refuse(format!(
                "The \"{}\" section can only be used once in an update expression;",
                clause.name()
            )));
        }
        seen.push(*clause);
    }
    words.finish()
}

impl Resolver<'_, '_> {
    fn update(&mut self, tree: &syntax::Update<'_>) -> Result<UpdateExpr, DynamoError> {
        let mut update = UpdateExpr::default();
        for (clause, actions) in tree {
            for action in actions {
                let path = self.path(&action.path)?;
                match (clause, &action.operand) {
                    (Clause::Set, Some(operand)) => {
                        let value = self.set_value(operand)?;
                        update.sets.push(SetAction { path, value });
                    }
                    (Clause::Add, Some(operand)) => {
                        let value = self.action_value("ADD", operand)?;
                        update.adds.push(ValueAction { path, value });
                    }
                    (Clause::Delete, Some(operand)) => {
                        let value = self.action_value("DELETE", operand)?;
                        update.deletes.push(ValueAction { path, value });
                    }
                    // By the grammar, only `REMOVE` is without an operand.
                    (_, _) => update.removes.push(path),
                }
            }
        }
        self.check_clashes(&update.targets())?;
        Ok(update)
    }

    /// The value of an `ADD` or `DELETE`, which must be of a type that can be added or deleted.
    fn action_value(
        &mut self,
        action: &str,
        operand: &syntax::Operand<'_>,
    ) -> Result<AttributeValue, DynamoError> {
        let syntax::Operand::Value(placeholder) = operand else {
            return Err(self.refuse("The operand must be an attribute value"));
        };
        let value = self.value(placeholder)?;
        match value.kind() {
            AttributeType::Ss | AttributeType::Ns | AttributeType::Bs => Ok(value.clone()),
            AttributeType::N if action == "ADD" => Ok(value.clone()),
            other => Err(self.refuse(format!(
                "Incorrect operand type for operator or function; operator: {action}, operand type: {}, typeSet: \
                 ALLOWED_FOR_{action}_OPERAND",
                long_name(other)
            ))),
        }
    }

    fn set_value(&mut self, tree: &syntax::Operand<'_>) -> Result<SetValue, DynamoError> {
        // What recurses is apart, to keep the frames of deep expressions small.
        match tree.bare() {
            syntax::Operand::Value(placeholder) => Ok(SetValue::Value(self.value(placeholder)?.clone())),
            syntax::Operand::Path(path) => Ok(SetValue::Path(self.path(path)?)),
            syntax::Operand::Arithmetic(sign, left, right) => self.arithmetic(*sign, left, right),
            syntax::Operand::Call(call) => self.update_function(call),
            // `bare` has taken the parentheses away.
            syntax::Operand::Paren(inner) => self.set_value(inner),
        }
    }

    fn arithmetic(
        &mut self,
        sign: Sign,
        left: &syntax::Operand<'_>,
        right: &syntax::Operand<'_>,
    ) -> Result<SetValue, DynamoError> {
        let left = Box::new(self.set_value(left)?);
        let right = Box::new(self.set_value(right)?);
        let operator = if sign == Sign::Plus { "+" } else { "-" };
        self.check_type(operator, left.given_type(), &[AttributeType::N])?;
        self.check_type(operator, right.given_type(), &[AttributeType::N])?;
        Ok(match sign {
            Sign::Plus => SetValue::Plus(left, right),
            Sign::Minus => SetValue::Minus(left, right),
        })
    }

    fn update_function(&mut self, call: &syntax::Call<'_>) -> Result<SetValue, DynamoError> {
        // Both the names and the counts of arguments were checked as the words were walked.
        let [first, second] = call.arguments.as_slice() else {
            return Err(self.needs_path(call.name));
        };
        let first = self.set_value(first)?;
        let second = Box::new(self.set_value(second)?);
        if call.name == "list_append" {
            self.check_type(call.name, first.given_type(), &[AttributeType::L])?;
            self.check_type(call.name, second.given_type(), &[AttributeType::L])?;
            return Ok(SetValue::ListAppend(Box::new(first), second));
        }
        match first {
            SetValue::Path(path) if matches!(&*second, SetValue::Path(other) if *other == path) => {
                Err(self.not_distinct(call.name, &path))
            }
            SetValue::Path(path) => Ok(SetValue::IfNotExists(path, second)),
            _ => Err(self.needs_path(call.name)),
        }
    }
}

/// The names that `ADD` and `DELETE` use for types in refusals; the other operators use the descriptors.
fn long_name(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::S => "STRING",
        AttributeType::N => "NUMBER",
        AttributeType::B => "Binary",
        AttributeType::M => "MAP",
        AttributeType::L => "LIST",
        other => other.name(),
    }
}

impl SetValue {
    /// The type of a given value; what depends on the item has none yet.
    fn given_type(&self) -> Option<AttributeType> {
        match self {
            SetValue::Value(value) => Some(value.kind()),
            _ => None,
        }
    }
}

impl UpdateExpr {
    /// The places that the update writes to: those of `SET`, `REMOVE`, `ADD` and `DELETE`, each in the order written.
    #[must_use]
    pub fn targets(&self) -> Vec<&Path> {
        let sets = self.sets.iter().map(|action| &action.path);
        let values = self.adds.iter().chain(&self.deletes).map(|action| &action.path);
        sets.chain(&self.removes).chain(values).collect()
    }

    /// The parts of an item at the places that the update writes to: `UPDATED_OLD` of the item before, `UPDATED_NEW` of
    /// the item after. Empty when there are none.
    #[must_use]
    pub fn touched(&self, item: &Item) -> Item {
        let mut targets = self.targets();
        targets.sort_unstable();
        project(item, &targets)
    }

    /// Refuses an update of a key attribute.
    ///
    /// # Errors
    /// `ValidationException` that names the attribute.
    pub fn check_keys(&self, schema: &TableSchema) -> Result<(), DynamoError> {
        match self.targets().into_iter().find(|path| schema.is_key(&path.root)) {
            None => Ok(()),
            Some(path) => Err(DynamoError::validation(cannot_update(&path.root))),
        }
    }
}

fn cannot_update(name: &str) -> String {
    format!(
        "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of the key"
    )
}
