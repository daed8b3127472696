//! Finds requests in what a client sends.
//!
//! The parsing is the library's. It has no bounds of its own, and would begin again at the start of a request for each piece of it,
//! so how far a request goes is found first, looking at each byte once.

use bytes::{Buf as _, Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;

/// Most bytes of one request.
pub(crate) const MAX_REQUEST: usize = 8 << 20;
/// Most words of one request, the command's name among them.
pub(crate) const MAX_WORDS: usize = 65_536;
/// Most bytes of a request that is one line of words.
const MAX_LINE: usize = 64 << 10;
/// Most bytes of a length with its type: a sign and the digits of 64 bits are 20.
const MAX_HEADER: usize = 24;

/// What cannot be a request. The connection is closed after it is said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("ERR Protocol error: invalid multibulk length")]
    Words,
    #[error("ERR Protocol error: too big mbulk count string")]
    WordsHeader,
    #[error("ERR Protocol error: invalid bulk length")]
    Word,
    #[error("ERR Protocol error: too big bulk count string")]
    WordHeader,
    #[error("ERR Protocol error: expected '$', got '{0}'")]
    NotAWord(char),
    #[error("ERR Protocol error: too big inline request")]
    Line,
    #[error("ERR Protocol error: a request is at most {} MB and {MAX_WORDS} words", MAX_REQUEST >> 20)]
    TooLarge,
    #[error("ERR Protocol error: {0}")]
    Broken(String),
}

/// How far a client's bytes have been looked at.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The next byte to look at.
    at: usize,
    /// Words of the request that are still to come; nothing at its beginning.
    left: Option<usize>,
}

impl Reader {
    /// The next whole request at the front of `buffer`, taken out of it; `None` when more bytes are needed. An empty request is one
    /// that asks for nothing.
    ///
    /// # Errors
    /// [`ProtocolError`]; nothing that follows can be understood then.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        match buffer.first() {
            None => return Ok(None),
            Some(b'*') => {}
            Some(_) => return self.line(buffer),
        }
        let mut left = match self.left {
            Some(left) => left,
            None => {
                let (errors, most) = ((ProtocolError::Words, ProtocolError::WordsHeader), MAX_WORDS);
                let Some((count, at)) = header(buffer, 0, errors, most)? else { return Ok(None) };
                if count == 0 {
                    buffer.advance(at);
                    return Ok(Some(Vec::new()));
                }
                self.at = at;
                count
            }
        };
        while left > 0 {
            match buffer.get(self.at) {
                None | Some(b'$') => {}
                Some(other) => return Err(ProtocolError::NotAWord(char::from(*other))),
            }
            self.left = Some(left);
            let (errors, most) = ((ProtocolError::Word, ProtocolError::WordHeader), MAX_REQUEST);
            let Some((length, at)) = header(buffer, self.at, errors, most)? else { return Ok(None) };
            let end = at + length + 2;
            if end > MAX_REQUEST {
                return Err(ProtocolError::TooLarge);
            }
            if buffer.len() < end {
                // Looked at again from this word's length on.
                return Ok(None);
            }
            self.at = end;
            left -= 1;
        }
        let mut request = buffer.split_to(self.at);
        *self = Self::default();
        let broken = |what: &str| ProtocolError::Broken(what.to_owned());
        match decode_bytes_mut(&mut request) {
            Ok(Some((BytesFrame::Array(words), _, _))) => words
                .into_iter()
                .map(|word| match word {
                    BytesFrame::BulkString(bytes) => Ok(bytes),
                    _ => Err(broken("expected a bulk string")),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Ok(_) => Err(broken("expected an array of bulk strings")),
            Err(error) => Err(broken(error.details())),
        }
    }

    /// A request of words on a line, as a person types it.
    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let rest = buffer.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            self.at = buffer.len();
            return if buffer.len() > MAX_LINE { Err(ProtocolError::Line) } else { Ok(None) };
        };
        let line = buffer.split_to(self.at + length).freeze();
        buffer.advance(1);
        *self = Self::default();
        if line.len() > MAX_LINE {
            return Err(ProtocolError::Line);
        }
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        Ok(Some(words.map(|word| line.slice_ref(word)).collect()))
    }
}

/// The length behind the type at `at`, and where it ends; `None` when more bytes are needed. A length below zero counts as none.
fn header(
    buffer: &BytesMut,
    at: usize,
    (bad, long): (ProtocolError, ProtocolError),
    most: usize,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let Some(rest) = buffer.get(at + 1..) else { return Ok(None) };
    let Some(length) = rest.iter().take(MAX_HEADER).position(|byte| *byte == b'\n') else {
        return if rest.len() >= MAX_HEADER { Err(long) } else { Ok(None) };
    };
    let digits = rest.get(..length).and_then(|line| line.strip_suffix(b"\r"));
    let count = digits.and_then(|digits| core::str::from_utf8(digits).ok()?.parse::<i64>().ok());
    let count = match count {
        // An array below zero is empty; a word cannot be.
        Some(count) if count < 0 && at == 0 => 0,
        Some(count) => usize::try_from(count).map_err(|_| bad.clone())?,
        None => return Err(bad),
    };
    if count > most {
        return Err(if at == 0 { bad } else { ProtocolError::TooLarge });
    }
    Ok(Some((count, at + 1 + length + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<Bytes>>, ProtocolError> {
        let mut buffer = BytesMut::from(bytes);
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        while let Some(request) = reader.next(&mut buffer)? {
            found.push(request);
        }
        Ok(found)
    }

    fn wire(words: &[Vec<u8>]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend(b"\r\n");
        }
        out
    }

    #[test]
    fn requests_are_arrays_or_lines() {
        let found = all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING  a\r\n\r\n*0\r\n*-1\r\n").unwrap();
        let words: Vec<Vec<&[u8]>> =
            found.iter().map(|words| words.iter().map(|w| &w[..]).collect()).collect();
        assert_eq!(words, [vec![&b"GET"[..], b"k"], vec![&b"PING"[..], b"a"], vec![], vec![], vec![]]);
    }

    #[test]
    fn what_is_no_request_is_named() {
        let long = [b'1'; 40];
        let cases: [(&[u8], &str); 8] = [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*99999999\r\n", "invalid multibulk length"),
            (b"*1\r\n+OK\r\n", "expected '$', got '+'"),
            (b"*1\r\n*1\r\n", "expected '$', got '*'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$99999999999\r\n", "a request is at most 8 MB and 65536 words"),
            (&[&b"*"[..], &long].concat(), "too big mbulk count string"),
            (&[&b"*1\r\n$"[..], &long].concat(), "too big bulk count string"),
        ];
        for (bytes, message) in cases {
            assert_eq!(all(bytes).unwrap_err().to_string(), format!("ERR Protocol error: {message}"));
        }
        let nested = b"*1\r\n".repeat(100_000);
        assert!(all(&nested).is_err(), "nesting is refused before it is followed");
        assert_eq!(all(&[b'a'; MAX_LINE + 1]).unwrap_err(), ProtocolError::Line);
    }

    proptest! {
        #[test]
        fn requests_arrive_whole_however_they_are_cut(
            requests in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 0..6),
            cut in 1usize..9,
        ) {
            let bytes: Vec<u8> = requests.iter().flat_map(|words| wire(words)).collect();
            let (mut reader, mut buffer, mut found) = (Reader::default(), BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(request) = reader.next(&mut buffer).unwrap() {
                    found.push(request.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(found, requests);
        }

        #[test]
        fn garbage_ends_in_requests_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&bytes);
        }

        #[test]
        fn almost_requests_do_too(text in "[*$+:-]?[0-9]{0,3}(\r\n)?([$*][0-9-]{0,2}\r\n[a-z]{0,3}(\r\n)?){0,4}") {
            let _ = all(text.as_bytes());
        }
    }
}
