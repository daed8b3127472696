//! One direction between two nodes: when a parcel that departs now arrives, and whether it may depart at all.

use super::model::LinkSpec;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Payload of a full packet on an Ethernet path.
const PACKET: usize = 1448;
/// With fewer packets in flight a loss is found by timeout, with more by what arrives after it.
const FAST_RETRANSMIT_PACKETS: usize = 4;
/// The least retransmission timeout of Linux.
const MIN_RTO: Duration = Duration::from_millis(200);
/// What a connection may have in flight when the bandwidth is unlimited.
const MAX_FLIGHT: u64 = 64 << 20;
const MIN_FLIGHT: u64 = 1 << 20;

/// Whether traffic from one region to another passes, and how much longer than usual it takes. Shared by all links of the
/// ordered pair of regions, and so by every connection, those that are up included.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<bool>,
    delay: Mutex<Duration>,
}

impl Gate {
    pub(super) fn open() -> Self {
        Self(Arc::new(State { open: watch::Sender::new(true), delay: Mutex::default() }))
    }

    pub(super) fn set_open(&self, open: bool) {
        self.0.open.send_replace(open);
    }

    pub(super) fn is_open(&self) -> bool {
        *self.0.open.borrow()
    }

    /// Adds `delay` to what departs from now on, in place of what was added before.
    pub(super) fn set_delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    pub(super) fn delay(&self) -> Duration {
        *self.0.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn passable(&self) {
        // The sender lives in `self`, so the wait ends only by the gate opening.
        _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}

/// One direction between two nodes; its bandwidth is shared by all their connections.
#[derive(Debug)]
pub(super) struct Link {
    spec: LinkSpec,
    gate: Gate,
    /// When the last byte handed over so far has left.
    busy_until: Mutex<Option<Instant>>,
}

impl Link {
    pub(super) fn new(spec: LinkSpec, gate: Gate) -> Self {
        Self { spec, gate, busy_until: Mutex::new(None) }
    }

    pub(super) fn one_way(&self) -> Duration {
        self.spec.rtt / 2 + self.gate.delay()
    }

    /// Waits while the direction is blocked. Bytes are then held, as by a sender that keeps retransmitting.
    pub(super) async fn passable(&self) {
        self.gate.passable().await;
    }

    /// How many bytes one connection may have in flight: twice the bandwidth-delay product, within bounds.
    pub(super) fn flight(&self) -> usize {
        let product = self.spec.bandwidth.map(|rate| {
            // Seconds as a float: at most 10 s times a rate, far from the ends of f64.
            (rate as f64 * self.spec.rtt.as_secs_f64()).min(MAX_FLIGHT as f64)
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by MAX_FLIGHT just above"
        )]
        let bytes = product.map_or(MAX_FLIGHT, |product| product as u64);
        usize::try_from(bytes.clamp(MIN_FLIGHT, MAX_FLIGHT)).unwrap_or(usize::MAX)
    }

    /// Sends `bytes` off at `now`: books the bandwidth and answers when they arrive.
    pub(super) fn depart(&self, now: Instant, bytes: usize) -> Instant {
        let left = match self.spec.bandwidth {
            None => now,
            Some(rate) => {
                let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
                let start = busy_until.map_or(now, |busy| busy.max(now));
                let left = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
                *busy_until = Some(left);
                left
            }
        };
        left + self.one_way() + self.jitter() + self.repair(bytes)
    }

    fn jitter(&self) -> Duration {
        if self.spec.jitter.is_zero() {
            return Duration::ZERO;
        }
        self.spec.jitter.mul_f64(rand::random::<f64>())
    }

    /// The delay by which repairing a loss shows: a round trip, or the retransmission timeout when too few packets follow.
    fn repair(&self, bytes: usize) -> Duration {
        if self.spec.loss <= 0.0 {
            return Duration::ZERO;
        }
        let packets = bytes.div_ceil(PACKET);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "a chunk has fewer packets than i32::MAX"
        )]
        let intact = (1.0 - self.spec.loss).powi(packets as i32);
        if rand::random::<f64>() < intact {
            return Duration::ZERO;
        }
        if packets >= FAST_RETRANSMIT_PACKETS { self.spec.rtt } else { self.spec.rtt + MIN_RTO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(spec: LinkSpec) -> Link {
        Link::new(spec, Gate::open())
    }

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn a_plain_link_adds_half_the_round_trip() {
        let now = Instant::now();
        let link = link(LinkSpec { rtt: RTT, ..LinkSpec::default() });
        assert_eq!(link.depart(now, 1 << 20) - now, RTT / 2);
        assert_eq!(link.flight(), 64 << 20);
    }

    #[test]
    fn bandwidth_is_shared_and_paces() {
        let now = Instant::now();
        let link = link(LinkSpec { rtt: RTT, bandwidth: Some(1_000_000), ..LinkSpec::default() });
        assert_eq!(link.depart(now, 100_000) - now, Duration::from_millis(150));
        assert_eq!(link.depart(now, 100_000) - now, Duration::from_millis(250));
        let later = now + Duration::from_secs(5);
        assert_eq!(link.depart(later, 100_000) - later, Duration::from_millis(150));
        assert_eq!(link.flight(), 1 << 20);
    }

    #[test]
    fn jitter_and_loss_stay_within_their_bounds() {
        let now = Instant::now();
        let jitter = Duration::from_millis(10);
        let shaky = link(LinkSpec { rtt: RTT, jitter, ..LinkSpec::default() });
        let delays: Vec<_> = (0..1000).map(|_| shaky.depart(now, 100) - now - RTT / 2).collect();
        assert!(delays.iter().all(|delay| *delay <= jitter));
        assert!(delays.iter().max().unwrap().saturating_sub(*delays.iter().min().unwrap()) > jitter / 2);
        let lossy = link(LinkSpec { rtt: RTT, loss: 0.1, ..LinkSpec::default() });
        let late = (0..1000).filter(|_| lossy.depart(now, 100) - now == RTT / 2 + RTT + MIN_RTO).count();
        assert!((20..300).contains(&late), "{late}");
        assert!((0..1000).any(|_| lossy.depart(now, 64 * 1024) - now == RTT / 2 + RTT));
    }

    #[test]
    fn a_delay_lasts_until_it_is_taken_back() {
        let now = Instant::now();
        let gate = Gate::open();
        let link = Link::new(LinkSpec { rtt: RTT, ..LinkSpec::default() }, gate.clone());
        gate.set_delay(RTT);
        assert_eq!(link.depart(now, 100) - now, RTT / 2 + RTT);
        gate.set_delay(Duration::ZERO);
        assert_eq!(link.depart(now, 100) - now, RTT / 2);
    }

    #[tokio::test]
    async fn a_gate_holds_until_it_opens() {
        let gate = Gate::open();
        gate.passable().await;
        gate.set_open(false);
        let held = tokio::time::timeout(Duration::from_millis(20), gate.passable()).await;
        assert!(held.is_err());
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.passable().await }
        });
        gate.set_open(true);
        waiter.await.unwrap();
    }
}
