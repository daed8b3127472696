//! Waits for what the store reports by a callback, without a thread.

use meridian_store::{OnDurable, StoreError};
use std::io;
use tokio::sync::oneshot;

/// Has `begin` write something, and waits until the store says that it is on disk.
pub(super) async fn durable(begin: impl FnOnce(OnDurable) -> Result<(), StoreError>) -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    begin(Box::new(move |result| drop(tell.send(result)))).map_err(io::Error::other)?;
    told.await.map_err(io::Error::other)?.map_err(io::Error::other)
}
