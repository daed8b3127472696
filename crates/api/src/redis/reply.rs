//! Replies, and how each version of the protocol writes them. The writing itself is the library's.

use super::error::RedisError;
use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode as encode_2;
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::encode::complete::extend_encode as encode_3;
use redis_protocol::resp3::types::BytesFrame as Frame3;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Simple(&'static str),
    Error(RedisError),
    Int(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Reply>),
    /// Keys and values; RESP2 has them as one flat array.
    Map(Vec<(Reply, Reply)>),
    /// Members and scores: a pair each, and flat in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// Members; an array in RESP2.
    Set(Vec<Reply>),
    /// A score; text in RESP2.
    Double(f64),
}

pub(crate) const OK: Reply = Reply::Simple("OK");

impl Reply {
    pub(crate) fn bulk(text: impl Into<Bytes>) -> Self {
        Self::Bulk(text.into())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The bulk, or nothing.
    pub(crate) fn or_null(bytes: Option<Bytes>) -> Self {
        bytes.map_or(Self::Null, Self::Bulk)
    }

    /// A count.
    pub(crate) fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        const HEAD: usize = 16;
        HEAD + match self {
            Self::Bulk(bytes) => bytes.len(),
            Self::Array(parts) | Self::Set(parts) => parts.iter().map(Self::weight).sum(),
            Self::Map(pairs) | Self::Pairs(pairs) => {
                pairs.iter().map(|(key, value)| key.weight() + value.weight()).sum()
            }
            Self::Simple(_) | Self::Error(_) | Self::Int(_) | Self::Null | Self::Double(_) => 0,
        }
    }

    /// Appends it to `out` as the protocol has it.
    pub(crate) fn encode(self, protocol: Protocol, out: &mut BytesMut) {
        let written = match protocol {
            Protocol::Resp2 => encode_2(out, &self.into_2(), false),
            Protocol::Resp3 => encode_3(out, &self.into_3(), false),
        };
        if let Err(error) = written {
            // The library refuses no frame that is made here; a client that meets it sees a broken stream.
            tracing::error!(%error, "a reply could not be written");
        }
    }

    fn into_2(self) -> Frame2 {
        let all = |parts: Vec<Reply>| Frame2::Array(parts.into_iter().map(Reply::into_2).collect());
        match self {
            Self::Simple(text) => Frame2::SimpleString(Bytes::from_static(text.as_bytes())),
            Self::Error(error) => Frame2::Error(one_line(&error).into()),
            Self::Int(number) => Frame2::Integer(number),
            Self::Bulk(bytes) => Frame2::BulkString(bytes),
            Self::Null => Frame2::Null,
            Self::Array(parts) | Self::Set(parts) => all(parts),
            Self::Map(pairs) | Self::Pairs(pairs) => {
                all(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())
            }
            Self::Double(number) => Frame2::BulkString(double(number).into()),
        }
    }

    fn into_3(self) -> Frame3 {
        let all = |parts: Vec<Reply>| parts.into_iter().map(Reply::into_3);
        let attributes = None;
        match self {
            Self::Simple(text) => {
                Frame3::SimpleString { data: Bytes::from_static(text.as_bytes()), attributes }
            }
            Self::Error(error) => Frame3::SimpleError { data: one_line(&error).into(), attributes },
            Self::Int(data) => Frame3::Number { data, attributes },
            Self::Bulk(data) => Frame3::BlobString { data, attributes },
            Self::Null => Frame3::Null,
            Self::Array(parts) => Frame3::Array { data: all(parts).collect(), attributes },
            Self::Set(parts) => Frame3::Set { data: all(parts).collect(), attributes },
            Self::Map(pairs) => {
                let pairs = pairs.into_iter().map(|(key, value)| (key.into_3(), value.into_3()));
                Frame3::Map { data: pairs.collect(), attributes }
            }
            Self::Pairs(pairs) => {
                let pairs =
                    pairs.into_iter().map(|(member, score)| Self::Array(vec![member, score]).into_3());
                Frame3::Array { data: pairs.collect(), attributes }
            }
            Self::Double(data) => Frame3::Double { data, attributes },
        }
    }
}

impl From<Result<Reply, RedisError>> for Reply {
    fn from(outcome: Result<Reply, RedisError>) -> Self {
        outcome.unwrap_or_else(Reply::Error)
    }
}

/// An error ends at the end of its line, so it has only one.
fn one_line(error: &RedisError) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

/// The shortest decimal that is the number.
pub(crate) fn double(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply.encode(protocol, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_version_has_its_own_forms() {
        let cases = [
            (OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Int(-3), ":-3\r\n", ":-3\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::text("a"), "$1\r\na\r\n", "$1\r\na\r\n"),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Reply::Set(vec![Reply::Int(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
            (Reply::Map(vec![(Reply::Int(1), Reply::Int(2))]), "*2\r\n:1\r\n:2\r\n", "%1\r\n:1\r\n:2\r\n"),
            (Reply::Error(RedisError::Syntax), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        ];
        for (reply, two, three) in cases {
            assert_eq!(written(reply.clone(), Protocol::Resp2), two);
            assert_eq!(written(reply, Protocol::Resp3), three);
        }
    }

    #[test]
    fn an_error_stays_on_its_line() {
        let sly = Reply::Error(RedisError::err("a\r\n+OK"));
        assert_eq!(written(sly, Protocol::Resp2), "-ERR a  +OK\r\n");
    }
}
