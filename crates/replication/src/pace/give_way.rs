//! How much of the catch-up rate may be used while clients write: as much as does not slow them.
//!
//! Every few seconds nothing is sent to members that are far behind for a moment, and what clients' writes take in that calm is compared
//! with what they take while such are sent to. The share of the rate is halved when they are slower by more than is bearable, and grows
//! otherwise (additive increase would be too slow for rates that differ by machines, so it grows by a part of itself). This is a scavenger
//! transport in the sense of RFC 6817 (LEDBAT), with the delay of writes in the place of the delay of packets: what is short, a disk or a
//! processor or a link, need not be known.

use std::time::Duration;

/// From one calm to the next.
const CYCLE: Duration = Duration::from_secs(4);
/// How long the calm is.
const CALM: Duration = Duration::from_secs(1);
/// What a change takes to be felt.
const SETTLE: Duration = Duration::from_millis(250);
/// Fewer writes than this, in either part, say nothing.
const FEW: u64 = 20;
/// The whole rate.
const FULL: u64 = 1_024;
/// What it begins with: what the machine bears is not known yet.
const FIRST: u64 = FULL / 4;
/// What it never falls below.
const LEAST: u64 = FULL / 16;
/// Writes slower by this percentage are too slow...
const TOO_SLOW: u64 = 20;
/// ...and by no more than this are hardly disturbed.
const HARDLY: u64 = 10;

/// What clients' writes took.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    writes: u64,
    us: u64,
}

impl Served {
    fn add(&mut self, took: Duration) {
        self.writes += 1;
        self.us = self.us.saturating_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Microseconds on average; `None` of too few.
    fn mean(self) -> Option<u64> {
        (self.writes >= FEW).then(|| (self.us / self.writes).max(1))
    }
}

/// The share of the rate that clients leave.
#[derive(Debug)]
pub(super) struct GiveWay {
    /// When the cycle began; `None` before the first.
    began: Option<Duration>,
    used: Duration,
    /// Whether this cycle ends with a calm: nobody needs one where nobody writes.
    calms: bool,
    share: u64,
    calm: Served,
    busy: Served,
}

impl GiveWay {
    pub(super) fn new() -> Self {
        let nothing = Served::default();
        Self { began: None, used: Duration::ZERO, calms: true, share: FIRST, calm: nothing, busy: nothing }
    }

    /// Something is to be sent to a member that is far behind: how long it has to wait for the end of the calm.
    pub(super) fn send(&mut self, now: Duration) -> Duration {
        let began = match self.began {
            Some(began) if now < began + CYCLE => began,
            Some(_) if now < self.used + CYCLE => {
                self.judge();
                now
            }
            _ => {
                *self = Self::new();
                now
            }
        };
        if self.began != Some(began) {
            (self.began, self.calm, self.busy) = (Some(began), Served::default(), Served::default());
        }
        self.used = self.used.max(now);
        if now < began + self.busy_length() { Duration::ZERO } else { (began + CYCLE).saturating_sub(now) }
    }

    /// Something is sent at this moment, however late.
    pub(super) fn used(&mut self, at: Duration) {
        self.used = self.used.max(at);
    }

    /// A client's write was answered after so long.
    pub(super) fn served(&mut self, took: Duration, now: Duration) {
        let Some(began) = self.began else { return };
        // It counts where it began, whatever it met later.
        let Some(at) = now.checked_sub(took).and_then(|asked| asked.checked_sub(began)) else { return };
        let busy = self.busy_length();
        if (SETTLE..busy).contains(&at) {
            self.busy.add(took);
        } else if (busy + SETTLE..CYCLE).contains(&at) {
            self.calm.add(took);
        }
    }

    /// The part of `bytes_per_s` that may be used.
    pub(super) fn of(&self, bytes_per_s: u64) -> u64 {
        (bytes_per_s / FULL).saturating_mul(self.share).max(1)
    }

    fn busy_length(&self) -> Duration {
        if self.calms { CYCLE - CALM } else { CYCLE }
    }

    fn judge(&mut self) {
        self.calms = self.calm.writes.max(self.busy.writes) >= FEW;
        self.share = match (self.calm.mean(), self.busy.mean()) {
            (Some(calm), Some(busy)) if busy > calm.saturating_mul(100 + TOO_SLOW) / 100 => self.share / 2,
            (Some(calm), Some(busy)) if busy > calm.saturating_mul(100 + HARDLY) / 100 => self.share,
            (Some(_), Some(_)) => self.share + self.share / 4,
            // Clients are there, but not how they were: nothing can be said.
            _ if self.calms => self.share,
            _ => self.share * 2,
        }
        .clamp(LEAST, FULL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Clients that write one after the other, `threads` at once, each write taking `alone` and `more` for each sixteenth of the rate that is
    /// in use: the shares of the cycles.
    fn cycles(count: u32, threads: u64, alone: Duration, more: Duration) -> Vec<u64> {
        let (mut way, mut shares) = (GiveWay::new(), Vec::new());
        let mut next_send = Duration::ZERO;
        let step = Duration::from_millis(10);
        for tick in 0..count * 400 {
            let now = step * tick;
            let calm = now < next_send;
            if !calm {
                let wait = way.send(now);
                next_send = now + wait;
                shares.push(way.share);
            }
            let sixteenths = u32::try_from(if calm { 0 } else { way.share / LEAST }).unwrap_or(0);
            let took = alone + more * sixteenths;
            let writes = threads * 10_000 / u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
            (0..writes).for_each(|_| way.served(took, now));
        }
        shares
    }

    #[test]
    fn without_clients_the_whole_rate_is_used_soon_and_without_a_calm() {
        let mut way = GiveWay::new();
        assert_eq!(
            way.send(Duration::ZERO),
            Duration::ZERO,
            "who was behind for a moment never meets a calm"
        );
        assert_eq!(way.of(16 << 20), 4 << 20);
        assert_eq!(way.send(CYCLE - CALM), CALM);
        assert_eq!(way.send(CYCLE), Duration::ZERO);
        assert_eq!(way.send(CYCLE * 2 - CALM), Duration::ZERO);
        assert_eq!(way.send(CYCLE * 2), Duration::ZERO);
        assert_eq!(way.of(16 << 20), 16 << 20);
    }

    #[test]
    fn clients_that_are_not_disturbed_get_the_whole_rate_with_a_calm_in_each_cycle() {
        let shares = cycles(10, 64, Duration::from_millis(10), Duration::ZERO);
        assert_eq!(shares.last(), Some(&FULL));
    }

    #[test]
    fn what_was_learnt_is_forgotten_when_nobody_was_far_behind_for_a_while() {
        let mut way = GiveWay { share: LEAST, began: Some(Duration::ZERO), ..GiveWay::new() };
        way.send(CYCLE * 3);
        assert_eq!(way.share, FIRST);
    }

    proptest! {
        /// However much each byte disturbs, in the long run clients are slowed by less than three tenths, or what is sent is the least.
        #[test]
        fn clients_keep_seven_tenths(alone_us in 1_000_u64..20_000, more_us in 1_u64..5_000, threads in 16_u64..256) {
            let (alone, more) = (Duration::from_micros(alone_us), Duration::from_micros(more_us));
            let shares = cycles(40, threads, alone, more);
            let late = &shares[shares.len() / 2..];
            let took = |share: u64| alone_us + more_us * (share / LEAST);
            // A cycle is a quarter calm.
            let rates = late.iter().map(|share| 25.0 + 75.0 * alone_us as f64 / took(*share) as f64);
            let kept = rates.sum::<f64>() / late.len() as f64;
            prop_assert!(kept > 70.0 || late.iter().all(|share| *share == LEAST), "{kept} % of {late:?}");
        }
    }
}
