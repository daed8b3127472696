//! The listening side: connections, their bounds, and how they end.

use super::config::RedisConfig;
use super::error::RedisError;
use super::front::Front;
use super::reply::{Protocol, Reply};
use super::request::Reader;
use super::session::Session;
use crate::tables::Tables;
use bytes::{Bytes, BytesMut};
use core::future::Future;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a connection reads at once.
const READ: usize = 64 << 10;
/// Replies that are gathered before they are written.
const WRITE: usize = 256 << 10;
/// Most requests that are taken from what has been read before they are worked on.
const MAX_BATCH: usize = 1_024;
/// A pause after a failed accept, such as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the Redis protocol on `listener` until `stop` resolves, then lets commands under way finish for at most `config.drain`.
pub async fn serve(
    listener: TcpListener,
    tables: Arc<dyn Tables>,
    config: RedisConfig,
    stop: impl Future<Output = ()> + Send,
) {
    let drain = config.drain;
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let room = Arc::new(Semaphore::new(config.max_request_bytes));
    let front = Arc::new(Front::new(tables, config));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut next_id = 1u64;
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    connections.spawn(refuse(stream));
                    continue;
                };
                let session = Session::new(Arc::clone(&front), next_id);
                next_id += 1;
                let connection = Connection {
                    stream,
                    patience: front.config.patience,
                    room: Arc::clone(&room),
                    stopped: stopped.clone(),
                    held: None,
                };
                connections.spawn(async move {
                    if let Err(error) = connection.run(session).await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    let drained = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(left = connections.len(), "closing connections with commands under way");
        connections.shutdown().await;
    }
}

/// Tells a client that there are too many. It is given a moment to take that.
async fn refuse(mut stream: TcpStream) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let _ = timeout(PATIENCE, stream.write_all(b"-ERR max number of clients reached\r\n")).await;
}

struct Connection {
    stream: TcpStream,
    patience: Duration,
    room: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    /// The room that a large request has been given.
    held: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn run(mut self, mut session: Session) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let (mut buffer, mut out) = (BytesMut::new(), BytesMut::new());
        let mut reader = Reader::default();
        loop {
            let mut requests: Vec<Vec<Bytes>> = Vec::new();
            let mut broken = None;
            while requests.len() < MAX_BATCH {
                match reader.next(&mut buffer) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => {
                        broken = Some(RedisError::Other(error.to_string()));
                        break;
                    }
                }
            }
            let idle = requests.is_empty();
            // A browser that was made to send a request here by some page goes no further.
            let from_browser = |request: &Vec<Bytes>| {
                request.first().is_some_and(|word| {
                    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
                })
            };
            if requests.iter().any(from_browser) {
                return Ok(());
            }
            while !requests.is_empty() && !session.is_closing() {
                session.serve(&mut requests, &mut out, WRITE).await;
                self.write(&mut out).await?;
            }
            if let Some(error) = broken {
                Reply::Error(error).encode(Protocol::Resp2, &mut out);
                self.write(&mut out).await?;
                return self.close().await;
            }
            if session.is_closing() || *self.stopped.borrow() {
                return self.close().await;
            }
            if idle && !self.read(&mut buffer, session.is_known()).await? {
                return self.close().await;
            }
        }
    }

    /// Reads some more; false when the client is done, has kept us waiting for too long, or the server stops.
    async fn read(&mut self, buffer: &mut BytesMut, known: bool) -> io::Result<bool> {
        if buffer.is_empty() {
            self.held = None;
            *buffer = BytesMut::new();
        } else if buffer.len() > READ && self.held.is_none() {
            // A large request takes its whole room at once, so that those under way can all be finished.
            let most = u32::try_from(super::request::MAX_REQUEST).unwrap_or(u32::MAX);
            self.held = Arc::clone(&self.room).try_acquire_many_owned(most).ok();
            if self.held.is_none() {
                let error = RedisError::TryAgain(
                    "the node has as many large requests as it takes on at once".to_owned(),
                );
                let mut out = BytesMut::new();
                Reply::Error(error).encode(Protocol::Resp2, &mut out);
                self.write(&mut out).await?;
                return Ok(false);
            }
        }
        buffer.reserve(READ);
        let waits_forever = known && buffer.is_empty();
        let patience = if waits_forever { Duration::MAX } else { self.patience };
        tokio::select! {
            read = timeout(patience, self.stream.read_buf(buffer)) => match read {
                Ok(read) => Ok(read? > 0),
                Err(_) => Ok(false),
            },
            _ = self.stopped.wait_for(|stop| *stop) => Ok(false),
        }
    }

    async fn write(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let written = timeout(self.patience, self.stream.write_all(out)).await;
        // What a large reply has taken is given back.
        *out = BytesMut::new();
        written
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client does not take its replies"))?
    }

    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}
