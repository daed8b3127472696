//! The connection to one BGP speaker.

use super::communities;
use crate::admin::anycast::PeerStatus;
use crate::config::AnycastSection;
use crate::lock::lock;
use ipnet::IpNet;
use meridian_anycast::{NextHops, Session, Speaker, State};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the speaker may take to accept what is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts; a speaker that keeps refusing is asked less often.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(5);

type Wanted = watch::Receiver<Option<BTreeSet<IpNet>>>;

/// Keeps a session with the speaker, for ever.
pub(super) async fn speak(
    peer: SocketAddr,
    section: &AnycastSection,
    mut wanted: Wanted,
    status: &Mutex<PeerStatus>,
) -> Infallible {
    let mut pause = RETRY;
    loop {
        let ended = match converse(peer, section, &mut wanted, status).await {
            Ok(never) => match never {},
            Err(ended) => ended.to_string(),
        };
        let (was, new) = {
            let mut status = lock(status);
            let new = status.error.as_deref() != Some(&*ended);
            let was = std::mem::take(&mut status.established);
            status.announced.clear();
            status.error = Some(ended.clone());
            (was, new)
        };
        if was || new {
            tracing::warn!(%peer, ended, "no session with the BGP speaker");
        }
        pause = if was { RETRY } else { (pause * 2).min(RETRY_MOST) };
        if wanted.borrow().is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn converse(
    peer: SocketAddr,
    section: &AnycastSection,
    wanted: &mut Wanted,
    status: &Mutex<PeerStatus>,
) -> io::Result<Infallible> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(peer));
    let mut stream = connecting.await.map_err(|_| io::Error::other("it does not answer"))??;
    stream.set_nodelay(true)?;
    let speaker = speaker(section, stream.local_addr()?.ip())?;
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut session = Session::new(speaker, 0);
    let mut buffer = vec![0; 4_096];
    loop {
        let now = wanted.borrow_and_update().clone();
        match &now {
            Some(networks) => session.announce(networks, now_ms()),
            None => session.close(now_ms()),
        }
        write(&mut stream, &session.output()).await?;
        if now.is_none() {
            return Err(io::Error::other("the node ends"));
        }
        show(&session, status);
        let tick = began + Duration::from_millis(session.next_tick_ms());
        let ended = tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Err(io::Error::other("the BGP speaker closed the connection")),
                length => session.receive(&buffer[..length], now_ms()),
            },
            changed = wanted.changed() => match changed {
                Ok(()) => Ok(()),
                // The node is gone.
                Err(_) => std::future::pending().await,
            },
            () = tokio::time::sleep_until(tick) => session.tick(now_ms()),
        };
        if let Err(ended) = ended {
            // The reason of the end counts, not whether the goodbye arrives.
            _ = write(&mut stream, &session.output()).await;
            return Err(io::Error::other(ended));
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let written = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(bytes)).await;
    written.map_err(|_| io::Error::other("the BGP speaker accepts nothing"))?
}

fn show(session: &Session, status: &Mutex<PeerStatus>) {
    let mut status = lock(status);
    status.established = session.state() == State::Established;
    status.announced.clone_from(session.announced());
    if status.established {
        status.error = None;
    }
}

fn speaker(section: &AnycastSection, local: IpAddr) -> io::Result<Speaker> {
    let (v4, v6) = match local {
        IpAddr::V4(local) => (Some(local), None),
        IpAddr::V6(local) => (None, Some(local)),
    };
    let router_id: Ipv4Addr =
        section.router_id.or(v4).ok_or_else(|| io::Error::other("anycast.router_id is missing"))?;
    Ok(Speaker {
        asn: section.asn,
        peer_asn: section.peer_as,
        router_id,
        hold_time_s: u16::try_from(section.hold_time.as_secs()).unwrap_or(u16::MAX),
        next_hops: NextHops { v4: section.next_hop.or(v4), v6: section.next_hop_v6.or(v6) },
        local_pref: 100,
        communities: communities(section),
    })
}
