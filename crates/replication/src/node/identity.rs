//! Which disk this is: drawn when the disk is first used, and bound to one node of one cluster for good.
//!
//! A voter whose disk is gone has forgotten its votes and what it had acknowledged; coming back under its number it could elect a
//! leader that lacks acknowledged writes. So the system group knows each number by its disk, and nobody talks to another one.

use crate::raft::{decode, encode};
use crate::runtime;
use meridian_store::Store;
use meridian_types::{GroupId, NodeId};
use serde::{Deserialize, Serialize};
use std::io;

const KEY: &[u8] = b"identity";

/// What is written on a disk when it is first used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    disk: u64,
    node: NodeId,
    cluster: String,
}

/// Reads which disk this is, or makes it a new one.
///
/// # Errors
/// `InvalidInput` when the disk is another node's, or when it cannot be read or written.
pub(super) async fn take_up(store: &Store, node: NodeId, cluster: &str) -> io::Result<u64> {
    let group = store.group(GroupId::SYSTEM);
    if let Some(known) = group.meta(KEY).map_err(io::Error::other)? {
        let known: Identity = decode(&known)?;
        if known.node != node || known.cluster != cluster {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the data folder belongs to node {} of cluster {}, and this is node {node} of cluster {cluster}; \
                     correct node.data_dir, node.number or cluster.name",
                    known.node, known.cluster
                ),
            ));
        }
        return Ok(known.disk);
    }
    let new = Identity { disk: runtime::random(), node, cluster: cluster.to_owned() };
    let text = encode(&new)?;
    runtime::aside(move || group.put_meta_durable(KEY, &text)).await?.map_err(io::Error::other)?;
    Ok(new.disk)
}
