//! Notices: what the layer above tells its like on the other nodes. Opaque here, sent once, and lost when there is no link.

use super::Replication;
use crate::transport::Kind;
use bytes::Bytes;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The largest notice.
pub const MAX_NOTICE: usize = 256 << 10;

/// Takes notices of other nodes. Called by the reader of a link, so it must return at once.
pub type OnNotice = Arc<dyn Fn(NodeId, Bytes) + Send + Sync>;

/// Who takes the notices that come in; until there is somebody they are dropped.
#[derive(Default)]
pub(crate) struct Notices(OnceLock<OnNotice>);

impl Notices {
    pub(super) fn heard(&self, from: NodeId, payload: Bytes) {
        if let Some(listener) = self.0.get().filter(|_| payload.len() <= MAX_NOTICE) {
            listener(from, payload);
        }
    }
}

impl Replication {
    /// Has `listener` take the notices of other nodes; the first one stays.
    pub fn on_notice(&self, listener: OnNotice) {
        _ = self.notices.0.set(listener);
    }

    /// Sends a notice to every node that there is a link to. One above [`MAX_NOTICE`] is not sent.
    pub fn notify(&self, notice: &Bytes) {
        if notice.len() > MAX_NOTICE {
            tracing::error!(bytes = notice.len(), "a notice is too large to be sent");
            return;
        }
        for peer in self.shared.peers.linked() {
            if let Some(link) = self.shared.peers.link(peer) {
                // Nobody waits for the answer.
                drop(link.send(Kind::Notice, GroupId::SYSTEM, notice.clone()));
            }
        }
    }

    /// The last measured round trip to each node that there is a link to.
    #[must_use]
    pub fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        let linked = self.shared.peers.linked().into_iter();
        linked.filter_map(|node| Some((node, self.shared.peers.link(node)?.round_trip()?))).collect()
    }
}
