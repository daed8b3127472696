//! Sessions' tokens, verified by the keys of the system group.

use crate::jwt::{self, Refused};
use meridian_edge::server::{Boxed, Sessions};
use meridian_replication::Replication;
use meridian_replication::runtime::wall_ms;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a key that is not known is asked after at the system leader.
const LOOK_UP: Duration = Duration::from_millis(500);
/// It is asked no more often, whatever tokens come, in milliseconds.
const LOOK_UP_EVERY_MS: u64 = 1_000;

/// The keys of a node.
pub struct SystemSessions {
    replication: Arc<Replication>,
    looked_ms: AtomicU64,
}

impl SystemSessions {
    /// The keys that this node knows.
    #[must_use]
    pub fn new(replication: Arc<Replication>) -> Self {
        Self { replication, looked_ms: AtomicU64::new(0) }
    }

    /// Whether it is this request's turn to ask the system leader.
    fn may_look(&self, now_ms: u64) -> bool {
        let last = self.looked_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last) >= LOOK_UP_EVERY_MS
            && self.looked_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Sessions for SystemSessions {
    fn verify<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<String, String>> {
        Box::pin(async move {
            let look = || jwt::verify(self.replication.system().signing_keys(), token, wall_ms());
            let mut outcome = look();
            if outcome == Err(Refused::UnknownKey) && self.may_look(wall_ms()) {
                // It may be newer than what this node has heard.
                self.replication.system_barrier(Instant::now() + LOOK_UP).await;
                outcome = look();
            }
            let claims = outcome.map_err(|reason| reason.to_string())?;
            serde_json::to_string(&claims).map_err(|error| error.to_string())
        })
    }
}
