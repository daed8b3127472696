//! How much of something each client has.

use super::{enter, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// A count for each client, none above a bound.
pub(super) struct Tally {
    /// Of those clients whose counts somebody holds.
    counts: Mutex<HashMap<IpAddr, Weak<Count>>>,
    most: usize,
}

struct Count {
    tally: Arc<Tally>,
    client: IpAddr,
    now: AtomicUsize,
}

/// One client's count.
#[derive(Clone)]
pub(super) struct Counter(Option<Arc<Count>>);

/// One that is counted, until it is dropped.
pub(super) struct Share(Counter);

impl Tally {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), most })
    }

    /// The count of a client.
    pub(super) fn of(self: &Arc<Self>, from: IpAddr) -> Counter {
        let client = network(from);
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get(&client).and_then(Weak::upgrade) {
            return Counter(Some(count));
        }
        let count = Arc::new(Count { tally: Arc::clone(self), client, now: AtomicUsize::new(0) });
        counts.insert(client, Arc::downgrade(&count));
        Counter(Some(count))
    }
}

impl Counter {
    /// Of somebody who is not counted.
    pub(super) fn free() -> Self {
        Self(None)
    }

    /// Counts one more, unless the client has enough.
    pub(super) fn enter(&self) -> Option<Share> {
        let entered = self.0.as_ref().is_none_or(|count| enter(&count.now, count.tally.most));
        entered.then(|| Share(self.clone()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(count) = &self.0.0 {
            count.now.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut counts = lock(&self.tally.counts);
        // The client may be back already, with a new one.
        if counts.get(&self.client).is_some_and(|count| count.strong_count() == 0) {
            counts.remove(&self.client);
        }
    }
}

/// What counts as one client: a customer has at least a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::from((u128::from(six) >> 64 << 64).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_bound() {
        let tally = Tally::new(2);
        let enter = |text: &str| tally.of(text.parse().unwrap()).enter();
        let (one, _two) = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(one);
        assert!(enter("2001:db8::3").is_some());
        assert_eq!(lock(&tally.counts).len(), 1, "who has none is forgotten");
        assert!((0..9).all(|_| Counter::free().enter().is_some()));
    }

    #[test]
    fn the_bound_holds_among_threads_and_nobody_is_left() {
        let tally = Tally::new(3);
        let most = AtomicUsize::new(0);
        let now = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let counter = tally.of([192, 0, 2, 1].into());
                        let shares: Vec<Share> = (0..2).filter_map(|_| counter.enter()).collect();
                        most.fetch_max(
                            now.fetch_add(shares.len(), Ordering::SeqCst) + shares.len(),
                            Ordering::SeqCst,
                        );
                        now.fetch_sub(shares.len(), Ordering::SeqCst);
                        drop(shares);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert!(lock(&tally.counts).is_empty());
    }
}
