//! A watch channel that wakes its waiters in the order in which they began to wait.
//!
//! tokio's draws lots among them, so that a simulation with it could not be repeated. Semantics and names are tokio's; only
//! [`Receiver::wait_for`] differs, which hands back a copy of the value.

use openraft::async_runtime::watch as contract;
use openraft::{OptionalSend, OptionalSync};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

#[derive(Debug)]
struct Channel<T> {
    value: RwLock<T>,
    /// Grows with every value. Changed only under the value's lock.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Told of every new version, and of the last sender's end.
    news: Notify,
}

impl<T> Channel<T> {
    fn read(&self) -> RwLockReadGuard<'_, T> {
        // A panic inside `send_if_modified` leaves a value that its owner made; it is as good as any.
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        {
            let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
            if !modify(&mut value) {
                return false;
            }
            self.version.fetch_add(1, Ordering::Release);
        }
        self.news.notify_waiters();
        true
    }
}

/// A channel that holds `init` until something is sent. Its first value counts as seen.
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        value: RwLock::new(init),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        news: Notify::new(),
    });
    (Sender(Arc::clone(&channel)), Receiver { channel, seen: 0 })
}

/// The value, locked for reading: hold it for a moment only.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Every sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing will be sent any more")]
pub struct Ended;

/// Changes the value.
#[derive(Debug)]
pub struct Sender<T>(Arc<Channel<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.news.notify_waiters();
        }
    }
}

impl<T> Sender<T> {
    /// Replaces the value, also when nobody listens; hands back the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.0.modify(|current| {
            std::mem::swap(current, &mut value);
            true
        });
        value
    }

    /// Changes the value in place; `modify` says whether it did, and only then receivers are told.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        self.0.modify(modify)
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// Another receiver, for which the present value counts as seen.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        let seen = self.0.version.load(Ordering::Acquire);
        Receiver { channel: Arc::clone(&self.0), seen }
    }
}

/// Follows the value.
#[derive(Debug)]
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
    seen: u64,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.receivers.fetch_add(1, Ordering::Relaxed);
        Self { channel: Arc::clone(&self.channel), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Receiver<T> {
    /// The value.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.channel.read())
    }

    /// The value, which counts as seen from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.channel.read();
        self.seen = self.channel.version.load(Ordering::Acquire);
        Ref(value)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// [`Ended`] when there will never be another one.
    pub fn has_changed(&self) -> Result<bool, Ended> {
        let ended = self.channel.senders.load(Ordering::Acquire) == 0;
        let changed = self.channel.version.load(Ordering::Acquire) != self.seen;
        if changed || !ended { Ok(changed) } else { Err(Ended) }
    }

    /// Waits for a value that was not seen, which then counts as seen.
    ///
    /// # Errors
    /// [`Ended`] when there will never be one.
    pub async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            // Made before looking: it hears of all that happens from then on, polled or not.
            let news = self.channel.news.notified();
            let ended = self.channel.senders.load(Ordering::Acquire) == 0;
            let version = self.channel.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if ended {
                return Err(Ended);
            }
            news.await;
        }
    }

    /// Waits until the value, present or future, is as wanted.
    ///
    /// # Errors
    /// [`Ended`] when it never will be.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<T, Ended>
    where
        T: Clone,
    {
        loop {
            {
                let value = self.borrow_and_update();
                if wanted(&value) {
                    return Ok(value.clone());
                }
            }
            self.changed().await?;
        }
    }
}

/// The channel as openraft wants it.
#[derive(Debug)]
pub struct Fair;

impl contract::Watch for Fair {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        channel(init)
    }
}

impl<T: OptionalSend + OptionalSync> contract::WatchSender<Fair, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), contract::SendError<T>> {
        if self.0.receivers.load(Ordering::Relaxed) == 0 {
            return Err(contract::SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.modify(modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Sender::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> contract::WatchReceiver<Fair, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), contract::RecvError> {
        Receiver::changed(self).await.map_err(|Ended| contract::RecvError(()))
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        Receiver::borrow_and_update(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn waiters_wake_in_the_order_in_which_they_came() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..20 {
            let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                receiver.changed().await.unwrap();
                order.lock().unwrap().push(n);
            }));
            tokio::task::yield_now().await;
        }
        sender.send_replace(1);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_sent_is_seen_once_and_the_end_after_it() {
        let (sender, mut receiver) = channel(0);
        assert_eq!(receiver.has_changed(), Ok(false));
        sender.send_replace(1);
        sender.send_replace(2);
        assert!(!sender.send_if_modified(|_| false));
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(*receiver.borrow(), 2);
        assert_eq!(receiver.has_changed(), Ok(false));
        sender.send_replace(3);
        drop(sender);
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(receiver.changed().await, Err(Ended));
        assert_eq!(receiver.wait_for(|value| *value == 3).await, Ok(3));
        assert_eq!(receiver.wait_for(|value| *value == 4).await, Err(Ended));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_news_is_lost_between_threads() {
        let (sender, mut receiver) = channel(0_u32);
        let reader = tokio::spawn(async move {
            while *receiver.borrow_and_update() < 50_000 {
                receiver.changed().await.unwrap();
            }
        });
        for n in 1..=50_000 {
            sender.send_replace(n);
        }
        reader.await.unwrap();
    }
}
