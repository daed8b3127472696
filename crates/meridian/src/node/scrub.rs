//! Reads everything at rest in turn, slowly, so that damage is found and mended while the other copies are still whole.

use meridian_store::{Scrub, Store, StoreError};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Read in one go: a few of the engine's blocks, and little to wait for when a client's read comes right behind.
const STEP: u64 = 128 << 10;
/// From the start of the node to the first round, and at least between rounds: what is small is not read all the time.
const FIRST: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_secs(3_600);
/// Between looks whether a round that was cut short by a failing store may begin again.
const AGAIN: Duration = Duration::from_secs(60);

/// What the scrubber has done since the node started.
#[derive(Debug, Default)]
pub(super) struct Scrubbed {
    pub(super) bytes: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) damaged: AtomicU64,
}

/// Reads `bytes_per_s` a second at most, for as long as the node runs; nothing at 0.
pub(super) async fn run(store: &Store, bytes_per_s: u64, done: &Scrubbed) -> Infallible {
    if bytes_per_s == 0 {
        std::future::pending::<()>().await;
    }
    sleep(FIRST).await;
    loop {
        let began = Instant::now();
        match round(store, bytes_per_s, done).await {
            Ok(()) => {
                done.rounds.fetch_add(1, Ordering::Relaxed);
                sleep(BETWEEN.saturating_sub(began.elapsed())).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a look through the disk was cut short");
                sleep(AGAIN).await;
            }
        }
    }
}

async fn round(store: &Store, bytes_per_s: u64, done: &Scrubbed) -> Result<(), StoreError> {
    for id in store.groups() {
        let scrub = Arc::new(Mutex::new(Scrub::default()));
        loop {
            let (group, at) = (store.group(id), Arc::clone(&scrub));
            if group.is_damaged() {
                break;
            }
            let step = move || group.scrub(&mut at.lock().unwrap_or_else(PoisonError::into_inner), STEP);
            // A step that panicked has found nothing out.
            let read = tokio::task::spawn_blocking(step).await.unwrap_or(Err(StoreError::Closed));
            match read {
                Ok(bytes) => {
                    done.bytes.fetch_add(bytes, Ordering::Relaxed);
                    sleep(Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_s)).await;
                }
                Err(error @ StoreError::Corrupt { .. }) => {
                    done.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(group = %id, %error, "damage was found at rest");
                    break;
                }
                // It was given up, or emptied to be filled again.
                Err(StoreError::Destroyed { .. }) => break,
                Err(error) => return Err(error),
            }
            if scrub.lock().unwrap_or_else(PoisonError::into_inner).is_done() {
                break;
            }
        }
    }
    Ok(())
}
