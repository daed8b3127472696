//! From tokens to trees. What nests has an explicit bound on depth.

use super::{Action, Call, Clause, Condition, Element, Operand, Path, Sign, Update};
use crate::error::DynamoError;
use crate::expr::token::{Keyword, Kind, Token, tokenize};
use crate::expr::{ExpressionKind, MAX_OPERATORS};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// How deep parentheses and functions may nest. Parentheses around parentheses are refused and every other level needs
/// an operator, so whatever is deeper than the count of operators is refused in any case.
const MAX_DEPTH: usize = MAX_OPERATORS + 20;

/// Why a text is not in the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The token at this position fits nowhere.
    Syntax(usize),
    /// Parentheses straight around parentheses.
    Redundant,
    /// Nested deeper than is read; the token at which it was noticed.
    TooDeep(usize),
}

type Parsed<T> = Result<T, Failure>;

/// A condition or an operand: which of the two parentheses hold is known only behind them.
enum Node<'a> {
    Condition(Condition<'a>),
    Operand(Operand<'a>),
}

/// What is inside one pair of parentheses, or around all of them, up to where the parser is.
#[derive(Default)]
struct Group<'a> {
    /// What `OR` joins.
    any: Vec<Condition<'a>>,
    /// What `AND` joins since the last `OR`.
    all: Vec<Condition<'a>>,
    /// `NOT`s in front of what comes next.
    negations: usize,
}

fn joined<'a>(
    mut parts: Vec<Condition<'a>>,
    last: Condition<'a>,
    join: fn(Vec<Condition<'a>>) -> Condition<'a>,
) -> Condition<'a> {
    if parts.is_empty() {
        return last;
    }
    parts.push(last);
    join(parts)
}

/// Reads one expression.
pub(crate) struct Parser<'a> {
    kind: ExpressionKind,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(kind: ExpressionKind, text: &'a str) -> Self {
        Self { kind, text, tokens: tokenize(text), at: 0, depth: 0 }
    }

    /// Reads the whole text as a condition.
    pub(crate) fn condition(mut self) -> Result<Condition<'a>, DynamoError> {
        let parsed = self.node().and_then(|node| self.as_condition(node)).and_then(|tree| self.end(tree));
        parsed.map_err(|failure| self.refuse(failure))
    }

    /// Reads the whole text as the clauses of an update.
    pub(crate) fn update(mut self) -> Result<Update<'a>, DynamoError> {
        self.clauses().map_err(|failure| self.refuse(failure))
    }

    /// Reads the whole text as a list of paths.
    pub(crate) fn projection(mut self) -> Result<Vec<Path<'a>>, DynamoError> {
        let parsed = self.list(Self::path).and_then(|paths| self.end(paths));
        parsed.map_err(|failure| self.refuse(failure))
    }

    /// A condition or an operand. Parentheses are kept on a stack of their own, not on the machine's.
    fn node(&mut self) -> Parsed<Node<'a>> {
        let mut open: Vec<Group<'a>> = Vec::new();
        let mut group = Group::default();
        loop {
            while self.eat(Kind::Keyword(Keyword::Not)) {
                group.negations += 1;
            }
            if self.peek() == Kind::Sign(b'(') {
                if open.len() == MAX_DEPTH {
                    return Err(Failure::TooDeep(self.at));
                }
                self.at += 1;
                open.push(core::mem::take(&mut group));
                continue;
            }
            let operand = self.operand()?;
            let mut node = self.comparison(operand)?;
            loop {
                node = self.negated(node, core::mem::take(&mut group.negations))?;
                match self.peek() {
                    Kind::Keyword(Keyword::And) => {
                        group.all.push(self.as_condition(node)?);
                        self.at += 1;
                        break;
                    }
                    Kind::Keyword(Keyword::Or) => {
                        let last = self.as_condition(node)?;
                        group.any.push(joined(core::mem::take(&mut group.all), last, Condition::And));
                        self.at += 1;
                        break;
                    }
                    _ => {}
                }
                if !group.all.is_empty() || !group.any.is_empty() {
                    let last = joined(group.all, self.as_condition(node)?, Condition::And);
                    node = Node::Condition(joined(group.any, last, Condition::Or));
                }
                let Some(outer) = open.pop() else {
                    return Ok(node);
                };
                self.expect(Kind::Sign(b')'))?;
                group = outer;
                node = match node {
                    Node::Condition(Condition::Paren(_)) | Node::Operand(Operand::Paren(_)) => {
                        return Err(Failure::Redundant);
                    }
                    Node::Condition(condition) => Node::Condition(Condition::Paren(Box::new(condition))),
                    Node::Operand(operand) => self.comparison(Operand::Paren(Box::new(operand)))?,
                };
            }
        }
    }

    fn negated(&self, node: Node<'a>, times: usize) -> Parsed<Node<'a>> {
        if times == 0 {
            return Ok(node);
        }
        let inner = self.as_condition(node)?;
        Ok(Node::Condition(Condition::Not(times, Box::new(inner))))
    }

    /// What an operand is compared with, if anything.
    fn comparison(&mut self, left: Operand<'a>) -> Parsed<Node<'a>> {
        let condition = match self.peek() {
            Kind::Comparator(comparator) => {
                self.at += 1;
                Condition::Compare(comparator, left, self.operand()?)
            }
            Kind::Keyword(Keyword::Between) => {
                self.at += 1;
                let low = self.operand()?;
                self.expect(Kind::Keyword(Keyword::And))?;
                Condition::Between(left, low, self.operand()?)
            }
            Kind::Keyword(Keyword::In) => {
                self.at += 1;
                self.expect(Kind::Sign(b'('))?;
                let candidates = self.list(Self::operand)?;
                self.expect(Kind::Sign(b')'))?;
                Condition::In(left, candidates)
            }
            _ => return Ok(Node::Operand(left)),
        };
        Ok(Node::Condition(condition))
    }

    /// Takes a node where only a condition may stand. A function alone may be one.
    fn as_condition(&self, node: Node<'a>) -> Parsed<Condition<'a>> {
        match node {
            Node::Condition(condition) => Ok(condition),
            Node::Operand(Operand::Call(call)) => Ok(Condition::Call(call)),
            Node::Operand(Operand::Paren(inner)) => {
                self.as_condition(Node::Operand(*inner)).map(|inner| Condition::Paren(Box::new(inner)))
            }
            Node::Operand(_) => Err(Failure::Syntax(self.at)),
        }
    }

    fn operand(&mut self) -> Parsed<Operand<'a>> {
        // What recurses is apart, to keep the frames of deep expressions small.
        match self.peek() {
            Kind::Value => Ok(Operand::Value(self.take())),
            Kind::Sign(b'(') => self.parenthesised(),
            Kind::Identifier if self.peek_behind() == Kind::Sign(b'(') => self.call(),
            _ => self.path().map(Operand::Path),
        }
    }

    fn parenthesised(&mut self) -> Parsed<Operand<'a>> {
        self.enter()?;
        self.at += 1;
        let inner = self.sum()?;
        self.expect(Kind::Sign(b')'))?;
        self.depth -= 1;
        if matches!(inner, Operand::Paren(_)) {
            return Err(Failure::Redundant);
        }
        Ok(Operand::Paren(Box::new(inner)))
    }

    fn call(&mut self) -> Parsed<Operand<'a>> {
        self.enter()?;
        let name = self.take();
        self.at += 1;
        let arguments = self.list(Self::operand)?;
        self.expect(Kind::Sign(b')'))?;
        self.depth -= 1;
        Ok(Operand::Call(Call { name, arguments }))
    }

    /// One level deeper. A failure ends the parsing, so it need not find the way back up.
    fn enter(&mut self) -> Parsed<()> {
        if self.depth == MAX_DEPTH {
            return Err(Failure::TooDeep(self.at));
        }
        self.depth += 1;
        Ok(())
    }

    /// An operand or, in an update, two with `+` or `-` between.
    fn sum(&mut self) -> Parsed<Operand<'a>> {
        let left = self.operand()?;
        let sign = match self.peek() {
            Kind::Sign(b'+') => Sign::Plus,
            Kind::Sign(b'-') => Sign::Minus,
            _ => return Ok(left),
        };
        if self.kind != ExpressionKind::Update {
            return Err(Failure::Syntax(self.at));
        }
        self.at += 1;
        Ok(Operand::Arithmetic(sign, Box::new(left), Box::new(self.operand()?)))
    }

    fn path(&mut self) -> Parsed<Path<'a>> {
        let mut path = vec![self.path_name()?];
        loop {
            if self.eat(Kind::Sign(b'.')) {
                path.push(self.path_name()?);
            } else if self.eat(Kind::Sign(b'[')) {
                if self.peek() != Kind::Integer {
                    return Err(Failure::Syntax(self.at));
                }
                path.push(Element::Index(self.take()));
                self.expect(Kind::Sign(b']'))?;
            } else {
                return Ok(path);
            }
        }
    }

    fn path_name(&mut self) -> Parsed<Element<'a>> {
        match self.peek() {
            Kind::Identifier => Ok(Element::Name(self.take())),
            Kind::Name => Ok(Element::Placeholder(self.take())),
            _ => Err(Failure::Syntax(self.at)),
        }
    }

    fn clauses(&mut self) -> Parsed<Update<'a>> {
        let mut clauses = Vec::new();
        loop {
            let clause = match self.peek() {
                Kind::Keyword(Keyword::Set) => Clause::Set,
                Kind::Keyword(Keyword::Remove) => Clause::Remove,
                Kind::Keyword(Keyword::Add) => Clause::Add,
                Kind::Keyword(Keyword::Delete) => Clause::Delete,
                Kind::End if !clauses.is_empty() => return Ok(clauses),
                _ => return Err(Failure::Syntax(self.at)),
            };
            self.at += 1;
            let actions = self.list(|parser| parser.action(clause))?;
            clauses.push((clause, actions));
        }
    }

    fn action(&mut self, clause: Clause) -> Parsed<Action<'a>> {
        let path = self.path()?;
        let operand = match clause {
            Clause::Remove => None,
            Clause::Set => {
                self.expect(Kind::Comparator(crate::expr::Comparator::Equal))?;
                Some(self.sum()?)
            }
            Clause::Add | Clause::Delete => {
                if self.peek() != Kind::Value {
                    return Err(Failure::Syntax(self.at));
                }
                Some(Operand::Value(self.take()))
            }
        };
        Ok(Action { path, operand })
    }

    /// One or more, with commas between.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut list = vec![read(self)?];
        while self.eat(Kind::Sign(b',')) {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn end<T>(&self, tree: T) -> Parsed<T> {
        if self.peek() == Kind::End { Ok(tree) } else { Err(Failure::Syntax(self.at)) }
    }

    fn peek(&self) -> Kind {
        self.tokens.get(self.at).map_or(Kind::End, |token| token.kind)
    }

    fn peek_behind(&self) -> Kind {
        self.tokens.get(self.at + 1).map_or(Kind::End, |token| token.kind)
    }

    fn eat(&mut self, kind: Kind) -> bool {
        let eaten = self.peek() == kind;
        self.at += usize::from(eaten);
        eaten
    }

    fn expect(&mut self, kind: Kind) -> Parsed<()> {
        if self.eat(kind) { Ok(()) } else { Err(Failure::Syntax(self.at)) }
    }

    /// The current token's text; moves on.
    fn take(&mut self) -> &'a str {
        let text = self.slice(self.at, self.at);
        self.at += 1;
        text
    }

    /// The text from the start of one token to the end of another.
    fn slice(&self, first: usize, last: usize) -> &'a str {
        let start = self.tokens.get(first).map_or(self.text.len(), |token| token.start);
        let end = self.tokens.get(last).map_or(self.text.len(), |token| token.end);
        self.text.get(start..end).unwrap_or_default()
    }

    fn refuse(&self, failure: Failure) -> DynamoError {
        match failure {
            Failure::Redundant => self.kind.refuse("The expression has redundant parentheses;"),
            Failure::Syntax(at) => self.kind.refuse(self.syntax_error(at)),
            Failure::TooDeep(at) => {
                let operators = self.operator_tokens();
                if self.has_redundant_parentheses() {
                    self.refuse(Failure::Redundant)
                } else if operators > MAX_OPERATORS {
                    self.kind.refuse(too_many_operators(operators))
                } else {
                    self.refuse(Failure::Syntax(at))
                }
            }
        }
    }

    /// Names the token and shows it with the tokens before and behind it.
    fn syntax_error(&self, at: usize) -> String {
        let end = self.tokens.len() - 1;
        if at < end {
            // The end is no token to show.
            let near = self.slice(at.saturating_sub(1), (at + 1).min(end - 1));
            return format!("Syntax error; token: \"{}\", near: \"{near}\"", self.slice(at, at));
        }
        // An expression without a token is shown as it is.
        let near = if end == 0 { self.text } else { self.slice(end - 1, end - 1) };
        format!("Syntax error; token: \"<EOF>\", near: \"{near}\"")
    }

    /// Whether a pair of parentheses stands straight around another, found without reading the rest.
    fn has_redundant_parentheses(&self) -> bool {
        let mut open = Vec::new();
        // Where the last pair to close opened, and where it closed.
        let mut last_pair = (usize::MAX, usize::MAX);
        for (at, token) in self.tokens.iter().enumerate() {
            match token.kind {
                Kind::Sign(b'(') => open.push(at),
                Kind::Sign(b')') => {
                    let Some(start) = open.pop() else { return false };
                    let function =
                        start > 0 && self.tokens.get(start - 1).is_some_and(|t| t.kind == Kind::Identifier);
                    if last_pair == (start + 1, at - 1) && !function {
                        return true;
                    }
                    last_pair = (start, at);
                }
                _ => {}
            }
        }
        false
    }

    /// Operators and functions, counted by their tokens.
    fn operator_tokens(&self) -> usize {
        let keyword = |kind: Kind| {
            use Keyword::{And, Between, In, Not, Or};
            matches!(kind, Kind::Keyword(And | Or | Not | Between | In))
        };
        let operator = |(at, token): (usize, &Token)| {
            let call = token.kind == Kind::Identifier
                && self.tokens.get(at + 1).is_some_and(|next| next.kind == Kind::Sign(b'('));
            let compares = self.kind != ExpressionKind::Update && matches!(token.kind, Kind::Comparator(_));
            call || compares || keyword(token.kind) || matches!(token.kind, Kind::Sign(b'+' | b'-'))
        };
        self.tokens.iter().enumerate().filter(|token| operator(*token)).count()
    }
}

/// The refusal of this many operators.
pub(crate) fn too_many_operators(count: usize) -> String {
    format!("The expression contains too many operators; operator count: {count}")
}
