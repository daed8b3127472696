//! AUTH and HELLO.

use super::super::args::{Words, is};
use super::super::error::RedisError;
use super::super::reply::{OK, Protocol, Reply};
use super::Session;
use super::about::{VERSION, name_allowed};
use crate::dynamodb::AuthMode;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

impl Session {
    /// `AUTH [user] password`: an access key and its secret.
    pub(super) fn auth(&mut self, args: &[Bytes]) -> Result<Reply, RedisError> {
        let (user, password) = match args {
            [password] => (&b"default"[..], password),
            [user, password] => (&user[..], password),
            _ => return Err(RedisError::Syntax),
        };
        self.log_in(user, password)?;
        Ok(OK)
    }

    fn log_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), RedisError> {
        if self.front.config.auth == AuthMode::None {
            return Ok(());
        }
        let user = core::str::from_utf8(user).map_err(|_| RedisError::WrongPass)?;
        let credential = self.front.tables.credential(user).ok_or(RedisError::WrongPass)?;
        // Of hashes, the time that a comparison takes tells nothing.
        let (right, given) =
            (Sha256::digest(credential.secret_access_key.expose()), Sha256::digest(password));
        if right != given {
            return Err(RedisError::WrongPass);
        }
        self.user = Some(user.to_owned());
        Ok(())
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`.
    pub(super) fn hello(&mut self, args: &[Bytes]) -> Result<Reply, RedisError> {
        let mut words = Words::new(args);
        let mut protocol = self.protocol;
        if let Some(version) = words.next() {
            let version = core::str::from_utf8(version).ok().and_then(|text| text.parse::<i64>().ok());
            protocol = match version {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err(RedisError::Other("NOPROTO unsupported protocol version".to_owned())),
                None => return Err(RedisError::err("Protocol version is not an integer or out of range")),
            };
        }
        let mut name = None;
        while let Some(word) = words.next() {
            if is(word, "auth") && words.left() >= 2 {
                let (user, password) = (words.value()?, words.value()?);
                self.log_in(user, password)?;
            } else if is(word, "setname") && words.left() >= 1 {
                name = Some(name_allowed(words.value()?)?);
            } else {
                return Err(RedisError::err(format_args!(
                    "Syntax error in HELLO option '{}'",
                    String::from_utf8_lossy(word)
                )));
            }
        }
        if !self.is_known() {
            return Err(RedisError::Other(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time"
                    .to_owned(),
            ));
        }
        self.protocol = protocol;
        self.name = name.unwrap_or_else(|| self.name.clone());
        let text = |text: &'static str| Reply::text(text);
        let version = if protocol == Protocol::Resp3 { 3 } else { 2 };
        Ok(Reply::Map(vec![
            (text("server"), text("redis")),
            (text("version"), text(VERSION)),
            (text("proto"), Reply::Int(version)),
            (text("id"), Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))),
            (text("mode"), text("standalone")),
            (text("role"), text("master")),
            (text("modules"), Reply::Array(Vec::new())),
        ]))
    }
}
