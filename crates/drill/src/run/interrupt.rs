//! Ctrl-C and the order to end, as something that a drill can wait for beside its own work.

use crate::error::DrillError;
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Stays raised once it was.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    raised: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on. A second one has no further effect: what is still to be done then is
    /// the undoing, and it is bounded in time.
    pub(crate) fn listen() -> Result<Self, DrillError> {
        let broken =
            |error: std::io::Error| DrillError::Broken(format!("signals cannot be watched: {error}"));
        let mut int = signal(SignalKind::interrupt()).map_err(broken)?;
        let mut term = signal(SignalKind::terminate()).map_err(broken)?;
        let (raise, raised) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                () = raise.closed() => return,
            }
            // Nobody is left to tell when the drill has ended meanwhile.
            let _ = raise.send(true);
            raise.closed().await;
        });
        Ok(Self { raised })
    }

    /// Runs `work` unless, or until, the interrupt is raised.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, DrillError> {
        let mut raised = self.raised.clone();
        tokio::select! {
            biased;
            Ok(_) = raised.wait_for(|raised| *raised) => Err(DrillError::Interrupted),
            done = work => Ok(done),
        }
    }
}
