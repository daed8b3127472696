//! The admin API's side of nodes that join and leave.

use super::admin::{DEADLINE, refused, unserved};
use super::keys::draw;
use crate::admin::members::{
    CreateJoinToken, Join, Joined, MAX_TTL_S, NewJoinToken, NodeInfo, NodeList, Peer,
};
use crate::admin::{ApiError, ErrorCode};
use crate::config::{Secret, is_host_port};
use meridian_replication::system::{JoinToken, Joining, NodeEntry};
use meridian_replication::{MembersError, Replication, runtime};
use meridian_steering::Verdict;
use meridian_types::{GroupId, NodeId, NodeName};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long other nodes are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a join token begins with, so that people and scanners of secrets know it.
const TOKEN_PREFIX: &str = "meridian-join-";
const TOKEN_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const TOKEN_LETTERS: usize = 40;

fn failed(error: MembersError) -> ApiError {
    match error {
        MembersError::Refused(error) => refused(error),
        MembersError::Unserved(error) => unserved(error),
    }
}

/// A token: 238 random bits.
fn new_token() -> Secret {
    Secret::new(format!("{TOKEN_PREFIX}{}", draw(TOKEN_ALPHABET, TOKEN_LETTERS)))
}

/// What is kept of a token. It has too many random bits to be guessed from its hash.
fn hash(token: &Secret) -> String {
    Sha256::digest(token.expose().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn list(replication: &Arc<Replication>) -> NodeList {
    let said = replication.status_everywhere(PATIENCE).await;
    let state = replication.system();
    let info = |entry: &NodeEntry| {
        let own = said.get(&entry.number);
        let heard = own.is_some() || replication.hears(entry.number);
        let replicas = own.map(|own| own.replicas.iter().filter(|replica| replica.group != GroupId::SYSTEM));
        NodeInfo {
            id: entry.name.clone(),
            number: entry.number,
            region: entry.region.clone(),
            zone: entry.zone.clone(),
            witness: entry.witness,
            peer: entry.peer.clone(),
            health: if heard { Verdict::Healthy } else { Verdict::Lost },
            leaving: entry.leaving,
            leads: replicas.clone().map_or(0, |all| all.filter(|replica| replica.lease_ms.is_some()).count()),
            replicas: replicas.map(Iterator::count),
            protocol: entry.protocol,
        }
    };
    NodeList { nodes: state.nodes.values().map(info).collect() }
}

pub(super) async fn create_token(
    replication: &Replication,
    request: CreateJoinToken,
) -> Result<NewJoinToken, ApiError> {
    let CreateJoinToken { region, zone, witness, ttl_s, replaces } = request;
    if !(1..=MAX_TTL_S).contains(&ttl_s) {
        return Err(ApiError::invalid(format!("`ttl_s` must be 1 to {MAX_TTL_S}")));
    }
    replication.system_barrier(Instant::now() + PATIENCE).await;
    let state = replication.system();
    if state.nodes.values().any(|node| node.peer.is_empty() && node.number == replication.own()) {
        return Err(ApiError::conflict(
            "this node runs alone, without [tls]: give it certificates (`meridian cert`) and restart it before others join",
        ));
    }
    let (region, zone, witness, replaces) = match &replaces {
        Some(name) => {
            let old = state.node_named(name).ok_or_else(|| no_node(name))?;
            (old.region.clone(), old.zone.clone(), old.witness, Some(old.number))
        }
        None => (
            region.ok_or_else(|| ApiError::invalid("say the `region` of the node"))?,
            zone.ok_or_else(|| ApiError::invalid("say the `zone` of the node"))?,
            witness,
            None,
        ),
    };
    // The cluster gives the number and counts the time.
    let number = NodeId(0);
    let token = JoinToken { number, region, zone, witness, replaces, expires_ms: 0, used_by: None };
    let (secret, ttl) = (new_token(), Duration::from_secs(ttl_s));
    let made =
        replication.create_join_token(hash(&secret), (token.clone(), ttl), Instant::now() + DEADLINE).await;
    let number = made.map_err(failed)?;
    let JoinToken { region, zone, witness, .. } = token;
    Ok(NewJoinToken { token: secret, number, region, zone, witness, ttl_s })
}

fn no_node(name: &NodeName) -> ApiError {
    ApiError::not_found(format!(
        "node {name} is not in the cluster; `meridian node list` shows those that are"
    ))
}

pub(super) async fn join(replication: &Replication, request: Join) -> Result<Joined, ApiError> {
    let Join { token, name, peer } = request;
    if !is_host_port(&peer) {
        return Err(ApiError::invalid(format!("peer is {peer:?}; write it as \"host:port\"")));
    }
    if !crate::cert::is_certificate_name(name.as_str()) {
        return Err(ApiError::invalid(format!(
            "node name {name} cannot be a name in a certificate; use at most 63 characters and no - at either end"
        )));
    }
    let joining = Joining { hash: hash(&token), name, peer, now_ms: runtime::wall_ms() };
    let number = replication.join(joining, Instant::now() + DEADLINE).await.map_err(failed)?;
    let state = replication.system();
    let peer = |entry: &NodeEntry| Peer {
        id: entry.name.clone(),
        number: entry.number,
        region: entry.region.clone(),
        zone: entry.zone.clone(),
        witness: entry.witness,
        peer: entry.peer.clone(),
    };
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let timing = replication.timing();
    Ok(Joined {
        cluster: state.cluster.clone(),
        number,
        nodes: state.nodes.values().map(peer).collect(),
        heartbeat_ms: ms(timing.heartbeat),
        lease_ms: ms(timing.lease),
    })
}

pub(super) async fn leave(replication: &Replication, name: &NodeName, lost: bool) -> Result<(), ApiError> {
    let left = replication.leave(name, lost, Instant::now() + DEADLINE).await;
    left.map_err(|error| match failed(error) {
        // What cannot be placed without the node is no mistake in the request.
        error if error.code == ErrorCode::InvalidRequest => {
            ApiError::conflict(format!("node {name} is needed: {}", error.message))
        }
        error => error,
    })
}
