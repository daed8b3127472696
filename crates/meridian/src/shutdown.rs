//! The one way to tell every task of a process to end: a flag that is set once and waited for.
//!
//! Signals and the end of the parent process set it; see [`Shutdown::on_signals`] and
//! [`crate::parent`].

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Sets the flag. Dropping it does not.
#[derive(Clone, Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Asks every holder of the flag to end. Idempotent.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

/// The flag; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    flag: watch::Receiver<bool>,
    // Keeps the channel open, so that a dropped trigger is not taken for a request.
    _open: watch::Sender<bool>,
}

impl Shutdown {
    /// A flag that nobody has set, and the means to set it.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, flag) = watch::channel(false);
        (Trigger(sender.clone()), Self { flag, _open: sender })
    }

    /// A flag that SIGINT (Ctrl-C) and SIGTERM set.
    ///
    /// # Errors
    /// When the handlers cannot be installed. Must be called inside a tokio runtime.
    pub fn on_signals() -> std::io::Result<(Trigger, Self)> {
        let (trigger, shutdown) = Self::new();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let on_signal = trigger.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                on_signal.fire();
            }
        });
        Ok((trigger, shutdown))
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.flag.borrow()
    }

    /// Waits until the end is asked for.
    pub async fn requested(&self) {
        let mut flag = self.flag.clone();
        // The channel cannot close while `_open` lives.
        _ = flag.wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_firing_ends_the_wait() {
        let (trigger, shutdown) = Shutdown::new();
        drop(trigger.clone());
        let early = tokio::time::timeout(Duration::from_millis(20), shutdown.requested()).await;
        assert!(early.is_err());
        trigger.fire();
        drop(trigger);
        shutdown.clone().requested().await;
        assert!(shutdown.is_requested());
    }
}
