//! The expression language: condition, filter, key condition, update and projection expressions.
//!
//! A text goes through three steps. `token` reads its words, `syntax` builds a tree that still borrows from the text,
//! and the modules of the five kinds resolve the placeholders, check what can be checked without an item, and give a
//! tree that owns its names and values: those are stored, sent between nodes and evaluated. All refusals use the words
//! of the API. Every step is bounded by the size of the text, the count of operators and the depth of nesting.

mod check;
mod compare;
mod condition;
mod key_condition;
mod path;
mod placeholders;
mod projection;
mod reserved;
mod syntax;
mod token;
mod update;

use crate::error::DynamoError;
use alloc::format;
use core::fmt;

pub use compare::{compare, ordered};
pub use condition::{Condition, Operand, parse_condition};
pub use key_condition::{KeyClause, KeyCondition, KeyRange, KeyTest, parse_key_condition};
pub use path::{MAX_PATH_LENGTH, Path, Step};
pub use placeholders::{Placeholders, check_names, check_value_names};
pub use projection::{Projection, parse_projection};
pub use token::Comparator;
pub use update::{SetAction, SetValue, UpdateExpr, ValueAction, parse_update};

/// The longest expression, in bytes as sent.
pub const MAX_EXPRESSION_SIZE: usize = 4096;
/// The most operators and functions of one expression.
pub const MAX_OPERATORS: usize = 300;

/// The request member an expression came in. Names it in refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionKind {
    /// `ConditionExpression`.
    Condition,
    /// `FilterExpression`.
    Filter,
    /// `KeyConditionExpression`.
    KeyCondition,
    /// `ProjectionExpression`.
    Projection,
    /// `UpdateExpression`.
    Update,
}

impl ExpressionKind {
    /// The member's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Condition => "ConditionExpression",
            Self::Filter => "FilterExpression",
            Self::KeyCondition => "KeyConditionExpression",
            Self::Projection => "ProjectionExpression",
            Self::Update => "UpdateExpression",
        }
    }

    /// The refusal of an expression of this kind.
    pub(crate) fn refuse(self, reason: impl fmt::Display) -> DynamoError {
        DynamoError::request(format!("Invalid {}: {reason}", self.name()))
    }

    /// What is checked of every expression before it is read.
    fn check_text(self, text: &str) -> Result<(), DynamoError> {
        if text.is_empty() {
            return Err(self.refuse("The expression can not be empty;"));
        }
        if text.len() > MAX_EXPRESSION_SIZE {
            return Err(self.refuse("Expression size has exceeded the maximum allowed size;"));
        }
        Ok(())
    }
}
