//! Tokens: what a client has seen, as a small opaque text, so that any region can serve its own writes back to it.

use crate::id::{GroupId, Incarnation};
use crate::position::Position;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;
use core::str::FromStr;

/// The most positions one token carries.
pub const MAX_POSITIONS: usize = 64;
const VERSION: u8 = 1;
/// The version byte of a token that has seen more groups than it names.
const VERSION_CUT: u8 = 2;
/// Version, then at most three varints (5 + 5 + 10 bytes) a position, then a check byte; base64 adds a third.
const MAX_TEXT: usize = (2 + MAX_POSITIONS * 20) * 4 / 3 + 4;

/// A set of positions, at most one a group. Joining two tokens keeps the later position of each group.
///
/// A token that is full forgets a group for each new one, and from then on demands the latest state of all groups that it does not
/// name: it may be answered slower, and never with an older state.
///
/// Text form: `URL_SAFE_NO_PAD` base64 of a version byte, then per group varints of (group, incarnation, index),
/// then a checksum byte that catches truncation and typing errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    positions: BTreeMap<GroupId, (Incarnation, u64)>,
    cut: bool,
}

/// What a client has seen of one group, and so must be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: any state will do.
    Nothing,
    /// A state that includes this position.
    Position(Position),
    /// Something that is not known any more: only the latest state will do.
    Latest,
}

impl Demand {
    /// As much as this and `position` demand.
    #[must_use]
    pub fn with(self, position: Position) -> Self {
        match self {
            Self::Nothing => Self::Position(position),
            Self::Position(seen) => Self::Position(seen.max(position)),
            Self::Latest => Self::Latest,
        }
    }
}

/// Why a token's text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token that Meridian makes.
    #[error("the token is longer than {MAX_TEXT} characters")]
    TooLong,
    /// Not base64, cut short, or changed on the way.
    #[error("the token is damaged; send one exactly as a response carried it")]
    Damaged,
    /// Made by a version of Meridian that this one does not know.
    #[error("the token has a format that this version does not know")]
    UnknownVersion,
    /// More positions than a token may carry.
    #[error("the token carries more than {MAX_POSITIONS} positions")]
    TooManyPositions,
}

impl Token {
    /// A token that demands nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the token demands nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Adds a position; an earlier one of the same group is replaced, a later one stays: tokens only grow.
    pub fn add(&mut self, position: Position) {
        let seen = (position.incarnation, position.index);
        if let Some(old) = self.positions.get_mut(&position.group) {
            *old = (*old).max(seen);
            return;
        }
        if self.positions.len() >= MAX_POSITIONS {
            // Every request depends on the system group, so that is named to the end.
            let first = self.positions.keys().copied().find(|group| !group.is_system());
            first.map(|group| self.positions.remove(&group));
            self.cut = true;
        }
        self.positions.insert(position.group, seen);
    }

    /// Adds all that `other` demands.
    pub fn join(&mut self, other: &Token) {
        other.positions().for_each(|position| self.add(position));
        self.cut |= other.cut;
    }

    /// What the token demands of `group`.
    #[must_use]
    pub fn demand(&self, group: GroupId) -> Demand {
        match self.positions.get(&group) {
            Some(&(incarnation, index)) => Demand::Position(Position { group, incarnation, index }),
            None if self.cut => Demand::Latest,
            None => Demand::Nothing,
        }
    }

    /// All positions, ordered by group.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.positions.iter().map(|(&group, &(incarnation, index))| Position { group, incarnation, index })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = alloc::vec![if self.cut { VERSION_CUT } else { VERSION }];
        for position in self.positions() {
            put_varint(&mut bytes, u64::from(position.group.0));
            put_varint(&mut bytes, u64::from(position.incarnation.0));
            put_varint(&mut bytes, position.index);
        }
        let check = checksum(&bytes);
        bytes.push(check);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TEXT {
            return Err(TokenError::TooLong);
        }
        let bytes: Vec<u8> = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Damaged)?;
        let (&check, body) = bytes.split_last().ok_or(TokenError::Damaged)?;
        let (&version, mut rest) = body.split_first().ok_or(TokenError::Damaged)?;
        if checksum(body) != check {
            return Err(TokenError::Damaged);
        }
        let mut token = match version {
            VERSION => Token::new(),
            VERSION_CUT => Token { cut: true, ..Token::new() },
            _ => return Err(TokenError::UnknownVersion),
        };
        while !rest.is_empty() {
            let mut field = || take_varint(&mut rest).ok_or(TokenError::Damaged);
            let (group, incarnation, index) = (field()?, field()?, field()?);
            let position = Position {
                group: GroupId(u32::try_from(group).map_err(|_| TokenError::Damaged)?),
                incarnation: Incarnation(u32::try_from(incarnation).map_err(|_| TokenError::Damaged)?),
                index,
            };
            if token.positions.len() == MAX_POSITIONS {
                return Err(TokenError::TooManyPositions);
            }
            token.add(position);
        }
        Ok(token)
    }
}

impl From<Position> for Token {
    fn from(position: Position) -> Self {
        let mut token = Token::new();
        token.add(position);
        token
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    // The low byte: enough to catch a cut or mistyped token; tokens are no secret and need no signature.
    xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes()[0]
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The text of a token, for places that hold it as a string.
impl From<&Token> for String {
    fn from(token: &Token) -> Self {
        alloc::string::ToString::to_string(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (0u32..100, any::<u32>(), any::<u64>()).prop_map(|(group, incarnation, index)| Position {
            group: GroupId(group),
            incarnation: Incarnation(incarnation),
            index,
        })
    }

    fn token() -> impl Strategy<Value = Token> {
        proptest::collection::vec(position(), 0..120).prop_map(|all| {
            let mut token = Token::new();
            for position in all {
                token.add(position);
            }
            token
        })
    }

    proptest! {
        #[test]
        fn text_round_trips(token in token()) {
            prop_assert_eq!(token.to_string().parse::<Token>(), Ok(token));
        }

        #[test]
        fn joining_never_loses_a_demand(a in token(), b in token()) {
            let mut joined = a.clone();
            joined.join(&b);
            for position in a.positions().chain(b.positions()) {
                match joined.demand(position.group) {
                    Demand::Position(kept) => prop_assert!(position.is_covered_by(&kept)),
                    Demand::Latest => {}
                    Demand::Nothing => prop_assert!(false, "{position} is forgotten"),
                }
            }
            prop_assert!(joined.positions().count() <= MAX_POSITIONS);
            prop_assert_eq!(joined.to_string().parse::<Token>(), Ok(joined));
        }

        #[test]
        fn garbage_is_refused_not_a_panic(text in ".{0,200}") {
            let _ = text.parse::<Token>();
        }

        #[test]
        fn a_cut_token_is_refused_or_demands_no_more(token in token(), cut in 1usize..4) {
            let text = token.to_string();
            let short = &text[..text.len().saturating_sub(cut)];
            if let Ok(parsed) = short.parse::<Token>() {
                prop_assert!(parsed.positions().count() <= token.positions().count());
            }
        }
    }

    #[test]
    fn a_full_token_demands_the_latest_of_what_it_has_forgotten() {
        let at = |group: u32, index| Position { group: GroupId(group), incarnation: Incarnation(0), index };
        let mut token = Token::new();
        (0..64).for_each(|group| token.add(at(group, 1)));
        assert_eq!(token.demand(GroupId(64)), Demand::Nothing);
        token.add(at(64, 7));
        token.add(at(3, 9));
        assert_eq!(token.demand(GroupId(64)), Demand::Position(at(64, 7)));
        assert_eq!(token.demand(GroupId(3)), Demand::Position(at(3, 9)));
        assert_eq!(token.demand(GroupId(1)), Demand::Latest, "it made room");
        assert_eq!(token.demand(GroupId::SYSTEM), Demand::Position(at(0, 1)));
        assert_eq!(token.demand(GroupId(99)), Demand::Latest);
        assert_eq!(token.to_string().parse::<Token>(), Ok(token));
    }
}
