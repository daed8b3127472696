//! What belongs to one connection: who it is, which version it speaks, what it has seen, and its transaction.

mod about;
mod login;

use super::commands::{self, Job, Spec};
use super::error::RedisError;
use super::front::{Front, MAX_REPLY, too_much};
use super::reply::{OK, Protocol, Reply};
use crate::dynamodb::AuthMode;
use bytes::{Bytes, BytesMut};
use meridian_types::Token;
use std::sync::Arc;

/// Most commands of one transaction, and most bytes of their words.
const MAX_QUEUED: usize = 4_096;
const MAX_QUEUED_BYTES: usize = 8 << 20;
/// Most commands of a pipeline that are worked on together.
const MAX_TOGETHER: usize = 64;

/// A command with its words behind the name.
type Command = (&'static Spec, Vec<Bytes>);

/// The commands of a transaction so far.
#[derive(Default)]
struct Queue {
    commands: Vec<Command>,
    bytes: usize,
    /// One of them was refused, so none is done.
    broken: bool,
}

/// One connection.
pub(crate) struct Session {
    front: Arc<Front>,
    id: u64,
    protocol: Protocol,
    name: Bytes,
    /// The access key that it has shown.
    user: Option<String>,
    token: Token,
    queue: Option<Queue>,
    closing: bool,
}

impl Session {
    pub(crate) fn new(front: Arc<Front>, id: u64) -> Self {
        let (protocol, name, token) = Default::default();
        Self { front, id, protocol, name, user: None, token, queue: None, closing: false }
    }

    /// Whether the connection is to be closed once its replies are written.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether it may use the tables.
    pub(crate) fn is_known(&self) -> bool {
        self.front.config.auth == AuthMode::None || self.user.is_some()
    }

    /// Does requests in their order and appends their replies to `out`; takes them from the front of `requests`, and stops early when
    /// there is enough to write.
    pub(crate) async fn serve(&mut self, requests: &mut Vec<Vec<Bytes>>, out: &mut BytesMut, enough: usize) {
        let mut together: Vec<Job> = Vec::new();
        let mut rest = core::mem::take(requests).into_iter();
        while !self.closing && out.len() < enough {
            let Some(request) = rest.next() else { break };
            let next = self.command(&request);
            let next = match next {
                // An empty request asks for nothing.
                Ok(None) => continue,
                Ok(Some(command)) if self.queue.is_none() => {
                    command.0.job(&command.1).map(|job| (command, job))
                }
                Ok(Some(command)) => {
                    self.finish(&mut together, out).await;
                    let reply = self.queued(command).await;
                    reply.encode(self.protocol, out);
                    continue;
                }
                Err(error) => Err(error),
            };
            match next {
                Ok((_, job)) if job.key().is_some() => {
                    together.push(job);
                    if together.len() >= MAX_TOGETHER {
                        self.finish(&mut together, out).await;
                    }
                }
                Ok((command, job)) => {
                    self.finish(&mut together, out).await;
                    let reply = self.one(command, job).await;
                    reply.encode(self.protocol, out);
                }
                Err(error) => {
                    self.finish(&mut together, out).await;
                    if let Some(queue) = &mut self.queue {
                        queue.broken = true;
                    }
                    Reply::Error(error).encode(self.protocol, out);
                }
            }
        }
        self.finish(&mut together, out).await;
        *requests = rest.collect();
    }

    /// Does the commands that have been put aside.
    async fn finish(&mut self, together: &mut Vec<Job>, out: &mut BytesMut) {
        if together.is_empty() {
            return;
        }
        let jobs = core::mem::take(together);
        for reply in self.front.run_all(jobs, &mut self.token).await {
            reply.encode(self.protocol, out);
        }
    }

    /// The command that a request is, if this connection may use it.
    fn command(&self, request: &[Bytes]) -> Result<Option<Command>, RedisError> {
        let Some((name, args)) = request.split_first() else { return Ok(None) };
        let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
        let Some(spec) = commands::find(&lower) else { return Err(unknown(name, &lower, args)) };
        // The number of words is looked at before anything else is; what they are, only once the command may be used.
        spec.check(args)?;
        if !self.is_known() && !matches!(spec.name, "auth" | "hello" | "quit" | "reset") {
            return Err(RedisError::NoAuth);
        }
        self.authorize(spec)?;
        Ok(Some((spec, args.to_vec())))
    }

    fn authorize(&self, spec: &Spec) -> Result<(), RedisError> {
        let front = &self.front;
        if front.config.auth == AuthMode::None || spec.actions.is_empty() {
            return Ok(());
        }
        // A key that has been deleted meanwhile allows nothing any more.
        let credential = self.user.as_deref().and_then(|user| front.tables.credential(user));
        let credential = credential.ok_or(RedisError::NoAuth)?;
        let table = Some(front.config.table.as_str());
        if spec.actions.iter().all(|action| credential.allows(action, table)) {
            return Ok(());
        }
        Err(RedisError::NoPermission(spec.name.to_owned()))
    }

    async fn one(&mut self, (spec, args): Command, job: Job) -> Reply {
        match job {
            Job::Session => self.own(spec.name, &args).await.into(),
            job => self.front.run(job, &mut self.token).await,
        }
    }

    /// A command within a transaction.
    async fn queued(&mut self, (spec, args): Command) -> Reply {
        if matches!(spec.name, "exec" | "discard" | "multi" | "quit" | "reset") {
            return self.one((spec, args), Job::Session).await;
        }
        let Some(queue) = &mut self.queue else { return Reply::Null };
        queue.bytes += args.iter().map(Bytes::len).sum::<usize>();
        if queue.commands.len() >= MAX_QUEUED || queue.bytes > MAX_QUEUED_BYTES {
            queue.broken = true;
            return Reply::Error(RedisError::err(format_args!(
                "a transaction holds at most {MAX_QUEUED} commands and {} MB",
                MAX_QUEUED_BYTES >> 20
            )));
        }
        queue.commands.push((spec, args));
        Reply::Simple("QUEUED")
    }

    /// Answers what is asked of the connection itself.
    async fn own(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, RedisError> {
        match (name, args) {
            ("multi", _) if self.queue.is_some() => Err(RedisError::err("MULTI calls can not be nested")),
            ("multi", _) => {
                self.queue = Some(Queue::default());
                Ok(OK)
            }
            ("discard", _) => {
                self.queue.take().map(|_| OK).ok_or_else(|| RedisError::err("DISCARD without MULTI"))
            }
            ("exec", _) => self.exec().await,
            ("quit", _) => {
                self.closing = true;
                Ok(OK)
            }
            ("reset", _) => {
                let fresh = Self::new(Arc::clone(&self.front), self.id);
                *self = fresh;
                Ok(Reply::Simple("RESET"))
            }
            ("auth", _) => self.auth(args),
            ("hello", _) => self.hello(args),
            _ => self.about(name, args),
        }
    }

    /// Does the commands of a transaction, one after the other. Each is a write of its own.
    async fn exec(&mut self) -> Result<Reply, RedisError> {
        let queue = self.queue.take().ok_or_else(|| RedisError::err("EXEC without MULTI"))?;
        if queue.broken {
            return Err(RedisError::Other(
                "EXECABORT Transaction discarded because of previous errors.".to_owned(),
            ));
        }
        let mut replies = Vec::with_capacity(queue.commands.len());
        let mut room = MAX_REPLY;
        for (spec, args) in queue.commands {
            let reply: Reply = match spec.job(&args) {
                Ok(Job::Session) => Box::pin(self.own(spec.name, &args)).await.into(),
                Ok(job) => self.front.run(job, &mut self.token).await,
                Err(error) => Reply::Error(error),
            };
            let left = room.checked_sub(reply.weight());
            room = left.unwrap_or(room);
            replies.push(left.map_or_else(|| Reply::Error(too_much()), |_| reply));
        }
        Ok(Reply::Array(replies))
    }
}

/// The refusal of a command that is not there.
fn unknown(name: &Bytes, lower: &str, args: &[Bytes]) -> RedisError {
    const SHOWN: usize = 128;
    if let Some(why) = commands::refused(lower) {
        return RedisError::unsupported(lower, why);
    }
    let cut = |word: &Bytes, most: usize| {
        String::from_utf8_lossy(word.get(..most.min(word.len())).unwrap_or_default()).into_owned()
    };
    let mut shown = String::new();
    for word in args {
        if shown.len() >= SHOWN {
            break;
        }
        shown.push_str(&format!("'{}' ", cut(word, SHOWN - shown.len())));
    }
    RedisError::err(format_args!("unknown command '{}', with args beginning with: {shown}", cut(name, SHOWN)))
}
