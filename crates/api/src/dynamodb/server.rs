//! The listening side: accepts connections, keeps them alive, and stops gracefully.

use super::config::{FrontConfig, MAX_HEAD};
use super::service::Front;
use crate::tables::Tables;
use core::future::Future;
use core::time::Duration;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The most that a connection buffers while it reads a head; [`MAX_HEAD`] is checked exactly once it is read.
const MAX_BUFFER: usize = 2 * MAX_HEAD;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// How long a client may take over a request's line and headers; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A pause after a failed accept, such as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the DynamoDB API on `listener` until `stop` resolves, then lets requests under way finish for at most
/// `config.drain` and closes.
pub async fn serve(
    listener: TcpListener,
    tables: Arc<dyn Tables>,
    config: FrontConfig,
    stop: impl Future<Output = ()> + Send,
) {
    let drain = config.drain;
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let front = Arc::new(Front::new(tables, config));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let slot = tokio::select! {
            biased;
            () = &mut stop => break,
            // Ended connections are forgotten before another is taken in.
            Some(_) = connections.join_next() => continue,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        // The semaphore is never closed.
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&front), stopped.clone());
                connections.spawn(async move {
                    if let Err(error) = connection.await {
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
        tracing::warn!(left = connections.len(), "closing connections with requests under way");
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    front: Arc<Front>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let service = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, core::convert::Infallible>(front.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return done.map_err(io::Error::other),
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await.map_err(io::Error::other)
}
