//! Reading arguments: numbers, options, patterns.

use super::error::RedisError;
use bytes::Bytes;
use meridian_dynamo::Number;

/// An integer as Redis reads one: no sign but `-`, no spaces, no zeros in front.
///
/// # Errors
/// [`RedisError::NotAnInteger`].
pub(crate) fn integer(bytes: &[u8]) -> Result<i64, RedisError> {
    let text = core::str::from_utf8(bytes).map_err(|_| RedisError::NotAnInteger)?;
    let number: i64 = text.parse().map_err(|_| RedisError::NotAnInteger)?;
    if number.to_string() == text { Ok(number) } else { Err(RedisError::NotAnInteger) }
}

/// A score or bound: any number of floating point, and infinity.
///
/// # Errors
/// `ERR` with `message`.
pub(crate) fn float(bytes: &[u8], message: &str) -> Result<f64, RedisError> {
    let refuse = || RedisError::err(message);
    let text = core::str::from_utf8(bytes).map_err(|_| refuse())?;
    let number: f64 = text.parse().map_err(|_| refuse())?;
    if number.is_nan() { Err(refuse()) } else { Ok(number) }
}

/// An exact decimal number.
///
/// # Errors
/// [`RedisError::NotAFloat`].
pub(crate) fn decimal(bytes: &[u8]) -> Result<Number, RedisError> {
    let text = core::str::from_utf8(bytes).map_err(|_| RedisError::NotAFloat)?;
    text.parse().map_err(|_| RedisError::NotAFloat)
}

/// Whether a word is this option, in any case.
pub(crate) fn is(word: &Bytes, option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// Words that are read one after the other.
pub(crate) struct Words<'a>(core::slice::Iter<'a, Bytes>);

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [Bytes]) -> Self {
        Self(words.iter())
    }

    /// The next word, which the option before it needs.
    ///
    /// # Errors
    /// [`RedisError::Syntax`] when there is none.
    pub(crate) fn value(&mut self) -> Result<&'a Bytes, RedisError> {
        self.0.next().ok_or(RedisError::Syntax)
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a Bytes> {
        self.0.next()
    }

    /// How many words are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }
}

/// The part of a sequence between two positions, which count from the end when below zero, as the half-open range.
pub(crate) fn slice(start: i64, end: i64, length: usize) -> core::ops::Range<usize> {
    let length_i = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |position: i64| if position < 0 { position.saturating_add(length_i) } else { position };
    let start = usize::try_from(from_end(start).max(0)).unwrap_or(length);
    let end = usize::try_from(from_end(end).saturating_add(1).max(0)).unwrap_or(length).min(length);
    if start < end { start..end } else { 0..0 }
}

/// Whether a text matches a pattern of Redis: `*`, `?`, `[a-z]`, `[^a]` and `\` before what is meant as it is.
///
/// The libraries for patterns of file names differ: they know braces, slashes and `**`, and want text.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not match: it takes one byte more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(after) = text.get(t).and_then(|byte| one(pattern, p, *byte)) {
            (p, t) = (after, t + 1);
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Where the pattern goes on when the part of it at `p` takes this byte.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern.get(p)? {
        b'?' => Some(p + 1),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        b'[' => {
            let mut at = p + 1;
            let inverted = pattern.get(at) == Some(&b'^');
            at += usize::from(inverted);
            let mut found = false;
            while let Some(&low) = pattern.get(at).filter(|byte| **byte != b']') {
                if low == b'\\' && at + 1 < pattern.len() {
                    found |= pattern[at + 1] == byte;
                    at += 2;
                } else if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() {
                    let high = pattern[at + 2];
                    found |= (low.min(high)..=low.max(high)).contains(&byte);
                    at += 3;
                } else {
                    found |= low == byte;
                    at += 1;
                }
            }
            (found != inverted).then_some((at + 1).min(pattern.len()))
        }
        other => (*other == byte).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases = [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("{a,b}", "a", false),
            ("user:*:session", "user:7:session", true),
            ("**a", "bca", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(integer(b"-12"), Ok(-12));
        for bad in ["", "+1", "01", "1 ", "1.0", "9223372036854775808", "-0"] {
            assert_eq!(integer(bad.as_bytes()), Err(RedisError::NotAnInteger), "{bad}");
        }
    }

    #[test]
    fn positions_count_from_both_ends() {
        assert_eq!(slice(0, -1, 5), 0..5);
        assert_eq!(slice(-3, -2, 5), 2..4);
        assert_eq!(slice(3, 100, 5), 3..5);
        assert_eq!(slice(4, 2, 5), 0..0);
        assert_eq!(slice(-100, 0, 5), 0..1);
        assert_eq!(slice(0, -100, 5), 0..0);
        assert_eq!(slice(i64::MIN, i64::MAX, 5), 0..5);
    }

    proptest! {
        #[test]
        fn no_pattern_hangs_or_panics(pattern in "[ab*?\\\\\\[\\]^-]{0,12}", text in "[ab]{0,12}") {
            let _ = matches(pattern.as_bytes(), text.as_bytes());
        }

        #[test]
        fn a_text_matches_itself_escaped(text in prop::collection::vec(any::<u8>(), 0..10)) {
            let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&escaped, &text));
        }
    }
}
