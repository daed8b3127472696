//! Streams: messages behind their lengths (RFC 7766), bounded in number and time.

use super::Shared;
use crate::respond::Transport;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Streams that the kernel keeps until they are taken.
pub(super) const BACKLOG: i32 = 256;
/// Streams at once.
const MAX_STREAMS: usize = 512;
/// Streams at once from one address.
const MAX_OF_ONE: usize = 64;
/// How long a client may take for one message, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions on one stream.
const MAX_QUESTIONS: usize = 1_000;
/// After an error that may last, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

type PerClient = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Takes streams for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let at_once = Arc::new(Semaphore::new(MAX_STREAMS));
    let per_client = PerClient::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a stream could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let from = from.ip().to_canonical();
        let place = Arc::clone(&at_once).try_acquire_owned().ok();
        let own = Own::take(&per_client, from);
        let (Some(place), Some(own)) = (place, own) else {
            shared.counters.streams_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, from, &shared).await {
                tracing::debug!(%error, %from, "a stream broke");
            }
            drop((place, own));
        });
    }
}

/// One of a client's streams.
struct Own {
    per_client: PerClient,
    client: IpAddr,
}

impl Own {
    fn take(per_client: &PerClient, client: IpAddr) -> Option<Self> {
        let mut counts = per_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= MAX_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self { per_client: Arc::clone(per_client), client })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut counts = self.per_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

async fn answer(mut stream: TcpStream, from: IpAddr, shared: &Shared) -> io::Result<()> {
    let (mut message, mut out, mut framed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MAX_QUESTIONS {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let Ok(length) = timeout(PATIENCE, stream.read_u16()).await? else { break };
        message.resize(usize::from(length), 0);
        timeout(PATIENCE, stream.read_exact(&mut message)).await??;
        if shared.respond(&message, from, Transport::Tcp, &mut out).is_none() {
            break;
        }
        let length = u16::try_from(out.len()).map_err(io::Error::other)?;
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&out);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}
