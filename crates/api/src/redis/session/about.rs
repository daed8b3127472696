//! What a connection asks about itself and the server.

use super::super::args::{integer, is, matches};
use super::super::commands::{self, Spec};
use super::super::error::RedisError;
use super::super::reply::{OK, Protocol, Reply};
use super::Session;
use bytes::Bytes;

/// The version of Redis whose commands and words these are.
pub(super) const VERSION: &str = "7.0.15";

/// What CONFIG GET shows: what tools ask for, as it is here.
const SETTINGS: &[(&str, &str)] = &[("appendonly", "yes"), ("save", "")];

impl Session {
    pub(super) fn about(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, RedisError> {
        match (name, args) {
            ("ping", []) => Ok(Reply::Simple("PONG")),
            ("ping" | "echo", [text]) => Ok(Reply::Bulk(text.clone())),
            ("select", [index]) if integer(index)? == 0 => Ok(OK),
            ("select", [_]) => Err(RedisError::err("DB index is out of range")),
            // There is nothing that could have been watched.
            ("unwatch", _) => Ok(OK),
            ("client", [sub, rest @ ..]) => self.client(sub, rest),
            ("command", []) => Ok(Reply::Array(commands::all().iter().map(shown).collect())),
            ("command", [sub, names @ ..]) => command(sub, names),
            ("config", [sub, patterns @ ..]) if is(sub, "get") && !patterns.is_empty() => {
                let wanted = |name: &str| patterns.iter().any(|pattern| matches(pattern, name.as_bytes()));
                let settings = SETTINGS.iter().filter(|(name, _)| wanted(name));
                Ok(Reply::Map(
                    settings.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect(),
                ))
            }
            ("config", _) => Err(RedisError::err("CONFIG has GET only: a node is configured by its file")),
            ("info", _) => Ok(Reply::bulk(self.info())),
            _ => Err(RedisError::Arity(name.to_owned())),
        }
    }

    fn client(&mut self, sub: &Bytes, args: &[Bytes]) -> Result<Reply, RedisError> {
        let lower = String::from_utf8_lossy(sub).to_ascii_lowercase();
        match (lower.as_str(), args) {
            ("id", []) => Ok(Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))),
            ("setname", [name]) => {
                self.name = name_allowed(name)?;
                Ok(OK)
            }
            ("getname", []) if self.name.is_empty() => Ok(Reply::Null),
            ("getname", []) => Ok(Reply::Bulk(self.name.clone())),
            // Kept nowhere: there is nothing that would show it.
            ("setinfo", [_, value]) => name_allowed(value).map(|_| OK),
            ("no-evict" | "no-touch", [_]) => Ok(OK),
            ("list" | "info", _) => Ok(Reply::bulk(self.line())),
            ("id" | "setname" | "getname" | "setinfo" | "no-evict" | "no-touch", _) => {
                Err(RedisError::Arity(format!("client|{lower}")))
            }
            _ => Err(RedisError::err(format_args!(
                "unknown subcommand '{}'. Try CLIENT HELP.",
                String::from_utf8_lossy(sub)
            ))),
        }
    }

    /// This connection, the only one that it is shown.
    fn line(&self) -> String {
        let version = if self.protocol == Protocol::Resp3 { 3 } else { 2 };
        let user = self.user.as_deref().unwrap_or("default");
        format!(
            "id={} name={} db=0 user={user} resp={version}\n",
            self.id,
            String::from_utf8_lossy(&self.name)
        )
    }

    fn info(&self) -> String {
        let served_by = &self.front.config.served_by;
        format!(
            "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\nmeridian_version:{}\r\n\
             meridian_region:{}\r\nmeridian_node:{}\r\nmeridian_table:{}\r\n\r\n# Replication\r\nrole:master\r\n",
            env!("CARGO_PKG_VERSION"),
            served_by.region,
            served_by.node,
            self.front.config.table,
        )
    }
}

/// Checks the name of a connection.
pub(super) fn name_allowed(name: &Bytes) -> Result<Bytes, RedisError> {
    const LONGEST: usize = 256;
    if name.len() <= LONGEST && name.iter().all(u8::is_ascii_graphic) {
        return Ok(name.clone());
    }
    Err(RedisError::err("Client names cannot contain spaces, newlines or special characters."))
}

fn command(sub: &Bytes, names: &[Bytes]) -> Result<Reply, RedisError> {
    let find = |name: &Bytes| commands::find(&String::from_utf8_lossy(name).to_ascii_lowercase());
    if is(sub, "count") {
        return Ok(Reply::count(commands::all().len()));
    }
    if is(sub, "info") {
        return Ok(Reply::Array(names.iter().map(|name| find(name).map_or(Reply::Null, shown)).collect()));
    }
    if is(sub, "docs") {
        let docs = |spec: &Spec| {
            let summary = if spec.writes() { "Writes" } else { "Reads" };
            let pairs = vec![(Reply::text("summary"), Reply::text(summary))];
            (Reply::text(spec.name), Reply::Map(pairs))
        };
        let named = names.iter().filter_map(find);
        let all = commands::all().iter().filter(|_| names.is_empty());
        return Ok(Reply::Map(named.chain(all).map(docs).collect()));
    }
    Err(RedisError::err(format_args!(
        "unknown subcommand '{}'. Try COMMAND HELP.",
        String::from_utf8_lossy(sub)
    )))
}

/// A command as COMMAND has it: name, arity, flags, first key, last key, step.
fn shown(spec: &Spec) -> Reply {
    let flag = if spec.writes() { "write" } else { "readonly" };
    let (first, last, step) = spec.keys;
    Reply::Array(vec![
        Reply::text(spec.name),
        Reply::Int(spec.arity),
        Reply::Set(vec![Reply::Simple(flag)]),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
    ])
}
