//! The words of an expression. Reading never fails: what is no word at all is a token that no grammar takes.

use alloc::vec::Vec;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attribute or function name.
    Identifier,
    /// `#name`.
    Name,
    /// `:value`.
    Value,
    /// A list index.
    Integer,
    /// One of the comparators.
    Comparator(Comparator),
    /// A word of the language, in any case.
    Keyword(Keyword),
    /// A single sign: `( ) [ ] . , + -`.
    Sign(u8),
    /// A character that starts no token.
    Unreadable,
    /// Behind the last token.
    End,
}

/// How two operands are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparator {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparator that says the same with the operands exchanged.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// The words of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    Or,
    Not,
    Between,
    In,
    Set,
    Remove,
    Add,
    Delete,
}

const KEYWORDS: [(&str, Keyword); 9] = [
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("NOT", Keyword::Not),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("SET", Keyword::Set),
    ("REMOVE", Keyword::Remove),
    ("ADD", Keyword::Add),
    ("DELETE", Keyword::Delete),
];

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Whether a byte may be part of a name behind its first.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The tokens of `text`, with an end behind them.
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 3 + 2);
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        // Only ASCII space separates; a no-break space is an unreadable character.
        if first.is_ascii_whitespace() || first == 0x0b {
            at += 1;
            continue;
        }
        let (kind, len) = token_at(text, at, first);
        tokens.push(Token { kind, start: at, end: at + len });
        at += len;
    }
    tokens.push(Token { kind: Kind::End, start: at, end: at });
    tokens
}

fn token_at(text: &str, at: usize, first: u8) -> (Kind, usize) {
    let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
    let run = |allowed: fn(u8) -> bool| 1 + rest.iter().take_while(|byte| allowed(**byte)).count();
    let comparator = |comparator: Comparator| (Kind::Comparator(comparator), comparator.as_str().len());
    match (first, rest.first()) {
        (b'#' | b':', _) => match run(is_name_byte) {
            1 => (Kind::Unreadable, 1),
            len => (if first == b'#' { Kind::Name } else { Kind::Value }, len),
        },
        (b'<', Some(b'>')) => comparator(Comparator::NotEqual),
        (b'<', Some(b'=')) => comparator(Comparator::LessOrEqual),
        (b'<', _) => comparator(Comparator::Less),
        (b'>', Some(b'=')) => comparator(Comparator::GreaterOrEqual),
        (b'>', _) => comparator(Comparator::Greater),
        (b'=', _) => comparator(Comparator::Equal),
        (b'(' | b')' | b'[' | b']' | b'.' | b',' | b'+' | b'-', _) => (Kind::Sign(first), 1),
        // A number that starts with a zero is that zero alone.
        (b'0', _) => (Kind::Integer, 1),
        (b'1'..=b'9', _) => (Kind::Integer, run(|byte| byte.is_ascii_digit())),
        (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => {
            let len = run(is_name_byte);
            let word = text.get(at..at + len).unwrap_or_default();
            let keyword = KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            (keyword.map_or(Kind::Identifier, |(_, keyword)| Kind::Keyword(*keyword)), len)
        }
        _ => {
            let character = text.get(at..).and_then(|rest| rest.chars().next());
            (Kind::Unreadable, character.map_or(1, char::len_utf8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(&str, Kind)> {
        tokenize(text).into_iter().map(|token| (&text[token.start..token.end], token.kind)).collect()
    }

    #[test]
    fn reads_every_kind_of_token() {
        assert_eq!(
            words("a.#b[10]<=:c aNd"),
            [
                ("a", Kind::Identifier),
                (".", Kind::Sign(b'.')),
                ("#b", Kind::Name),
                ("[", Kind::Sign(b'[')),
                ("10", Kind::Integer),
                ("]", Kind::Sign(b']')),
                ("<=", Kind::Comparator(Comparator::LessOrEqual)),
                (":c", Kind::Value),
                ("aNd", Kind::Keyword(Keyword::And)),
                ("", Kind::End),
            ]
        );
        let comparators = ["=", "<>", "<", "<=", ">", ">="];
        for text in comparators {
            assert!(
                matches!(words(text)[..], [(whole, Kind::Comparator(kind)), _] if whole == kind.as_str())
            );
        }
    }

    #[test]
    fn odd_characters_are_tokens_of_their_own() {
        assert_eq!(
            words("# : é\u{a0}!00")[..6],
            [
                ("#", Kind::Unreadable),
                (":", Kind::Unreadable),
                ("é", Kind::Unreadable),
                ("\u{a0}", Kind::Unreadable),
                ("!", Kind::Unreadable),
                ("0", Kind::Integer),
            ]
        );
        assert_eq!(words("\t\r\n \u{b}\u{c}"), [("", Kind::End)]);
    }
}
