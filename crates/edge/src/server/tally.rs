//! How much of something each client has.

use super::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// A count for each client, none above a bound.
pub(super) struct Tally {
    counts: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
}

/// One that is counted, until it is dropped.
pub(super) struct Share(Option<(Arc<Tally>, IpAddr)>);

impl Tally {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), most })
    }

    /// Counts one more of a client, unless it has enough.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Share> {
        let client = network(from);
        let mut counts = lock(&self.counts);
        let count = counts.entry(client).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share(Some((Arc::clone(self), client))))
    }
}

impl Share {
    /// Of somebody who is not counted.
    pub(super) fn free() -> Self {
        Self(None)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((tally, client)) = &self.0 else { return };
        let mut counts = lock(&tally.counts);
        if let Some(count) = counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(client);
            }
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
        let enter = |text: &str| tally.enter(text.parse().unwrap());
        let (one, _two) = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(one);
        assert!(enter("2001:db8::3").is_some());
        assert_eq!(lock(&tally.counts).len(), 1, "who has none is forgotten");
    }
}
