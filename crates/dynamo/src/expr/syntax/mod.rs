//! Expressions as they are written: a tree that borrows its names from the text, parentheses included.

mod parse;
#[cfg(test)]
mod print;

use super::token::Comparator;
use alloc::boxed::Box;
use alloc::vec::Vec;

pub(crate) use parse::{Parser, too_many_operators};

/// A condition as written. Chains of `AND` and of `OR` are flat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    And(Vec<Condition<'a>>),
    Or(Vec<Condition<'a>>),
    /// `NOT`, this many times.
    Not(usize, Box<Condition<'a>>),
    Compare(Comparator, Operand<'a>, Operand<'a>),
    Between(Operand<'a>, Operand<'a>, Operand<'a>),
    In(Operand<'a>, Vec<Operand<'a>>),
    Call(Call<'a>),
    Paren(Box<Condition<'a>>),
}

/// What is compared or computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand<'a> {
    /// `:value`, sign included.
    Value(&'a str),
    Path(Path<'a>),
    Call(Call<'a>),
    Paren(Box<Operand<'a>>),
    /// Only in updates.
    Arithmetic(Sign, Box<Operand<'a>>, Box<Operand<'a>>),
}

/// `+` or `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: Vec<Operand<'a>>,
}

/// A document path: a name, then names and indexes.
pub(crate) type Path<'a> = Vec<Element<'a>>;

/// An element of a document path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// A name as it is.
    Name(&'a str),
    /// `#name`, sign included.
    Placeholder(&'a str),
    /// The digits of an index.
    Index(&'a str),
}

/// What a clause of an update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    Set,
    Remove,
    Add,
    Delete,
}

impl Clause {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Remove => "REMOVE",
            Self::Add => "ADD",
            Self::Delete => "DELETE",
        }
    }
}

/// One action of an update; only `REMOVE` has no operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action<'a> {
    pub(crate) path: Path<'a>,
    pub(crate) operand: Option<Operand<'a>>,
}

/// An update's clauses in the order written; a clause may be there twice, which a later check refuses.
pub(crate) type Update<'a> = Vec<(Clause, Vec<Action<'a>>)>;

impl<'a> Operand<'a> {
    /// The operand inside its parentheses.
    pub(crate) fn bare(&self) -> &Operand<'a> {
        match self {
            Operand::Paren(inner) => inner.bare(),
            other => other,
        }
    }
}

impl<'a> Condition<'a> {
    /// The condition inside its parentheses.
    pub(crate) fn bare(&self) -> &Condition<'a> {
        match self {
            Condition::Paren(inner) => inner.bare(),
            other => other,
        }
    }
}
