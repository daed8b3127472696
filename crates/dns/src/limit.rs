//! Response rate limiting: a spoofed flood must not make this server flood its victim.
//!
//! Source: Vixie and Schryver, "DNS Response Rate Limiting", 2012. Buckets are counted by the client's network and the kind of answer. The
//! table has a fixed size; networks that share a slot share its bucket.

use crate::respond::Kind;
use std::net::IpAddr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Buckets; a power of two. Each takes 8 bytes.
const SLOTS: usize = 1 << 16;
/// Every so many-th limited answer is sent truncated, so that a real client comes back over TCP.
const SLIP: u32 = 2;
/// Tokens are counted in thousandths.
const ONE: u32 = 1_000;

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Send it without records and truncated.
    Truncate,
    /// Say nothing.
    Drop,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Thousandths of answers that were sent and not yet made up for by time.
    debt: u32,
    at_ms: u32,
}

/// Counts answers.
pub struct Limiter {
    per_second: u32,
    seed: u64,
    limited: u32,
    buckets: Box<[Bucket]>,
}

impl Limiter {
    /// Allows so many answers a second to a network, a second's worth at once; 0 allows all. The seed keeps strangers from choosing
    /// whom they share a slot with.
    #[must_use]
    pub fn new(per_second: u32, seed: u64) -> Self {
        let slots = if per_second == 0 { 0 } else { SLOTS };
        Self {
            per_second: per_second.min(u32::MAX / ONE / 2),
            seed,
            limited: 0,
            buckets: vec![Bucket::default(); slots].into(),
        }
    }

    /// Decides about an answer to `client` at `now_ms`, a clock that may wrap.
    pub fn decide(&mut self, client: IpAddr, kind: Kind, now_ms: u32) -> Verdict {
        let client = client.to_canonical();
        if self.per_second == 0 || client.is_loopback() {
            return Verdict::Send;
        }
        // Networks are what one party usually has of addresses.
        let network = match client {
            IpAddr::V4(four) => u64::from(u32::from(four) >> 8),
            IpAddr::V6(six) => u64::try_from(u128::from(six) >> 72).unwrap_or(u64::MAX) | 1 << 63,
        };
        let mut key = [0; 9];
        let (number, last) = key.split_at_mut(8);
        number.copy_from_slice(&network.to_le_bytes());
        last.fill(kind as u8);
        let hash = xxh3_64_with_seed(&key, self.seed);
        let index = usize::try_from(hash).unwrap_or(usize::MAX) & (SLOTS - 1);
        let Some(bucket) = self.buckets.get_mut(index) else { return Verdict::Send };
        let passed = now_ms.wrapping_sub(bucket.at_ms);
        bucket.debt = bucket.debt.saturating_sub(passed.saturating_mul(self.per_second));
        bucket.at_ms = now_ms;
        if bucket.debt < self.per_second * ONE {
            bucket.debt += ONE;
            return Verdict::Send;
        }
        self.limited = self.limited.wrapping_add(1);
        if self.limited.is_multiple_of(SLIP) { Verdict::Truncate } else { Verdict::Drop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(limiter: &mut Limiter, client: [u8; 4], kind: Kind, at_ms: u32, tries: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for _ in 0..tries {
            match limiter.decide(client.into(), kind, at_ms) {
                Verdict::Send => counts[0] += 1,
                Verdict::Truncate => counts[1] += 1,
                Verdict::Drop => counts[2] += 1,
            }
        }
        counts
    }

    #[test]
    fn a_flood_from_one_network_is_cut_and_others_are_not() {
        let mut limiter = Limiter::new(10, 1);
        assert_eq!(count(&mut limiter, [198, 51, 100, 1], Kind::Answer, 5, 110), [10, 50, 50]);
        assert_eq!(count(&mut limiter, [198, 51, 100, 9], Kind::Answer, 5, 2)[0], 0, "the same network");
        assert_eq!(count(&mut limiter, [198, 51, 100, 1], Kind::Negative, 5, 1)[0], 1, "another kind");
        assert_eq!(count(&mut limiter, [203, 0, 113, 1], Kind::Answer, 5, 1)[0], 1, "another network");
        assert_eq!(
            count(&mut limiter, [198, 51, 100, 1], Kind::Answer, 505, 20)[0],
            5,
            "half a second later"
        );
        assert_eq!(count(&mut limiter, [127, 0, 0, 1], Kind::Answer, 5, 1_000)[0], 1_000, "loopback");
    }

    #[test]
    fn the_clock_may_wrap_and_zero_means_no_limit() {
        let mut limiter = Limiter::new(1, 1);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], Kind::Answer, u32::MAX - 10, 2)[0], 1);
        assert_eq!(count(&mut limiter, [192, 0, 2, 1], Kind::Answer, 2_000, 2)[0], 1);
        let mut unlimited = Limiter::new(0, 1);
        assert_eq!(count(&mut unlimited, [192, 0, 2, 1], Kind::Answer, 0, 5_000)[0], 5_000);
    }
}
