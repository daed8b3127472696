//! The arithmetic of leases, stated once: who may count on what for how long, when clocks run at slightly different rates.
//!
//! A lease of length `L` is granted. Its holder counts `0.9 L` from the moment at which it *sent* the request that was granted. Its
//! granter counts the whole `L` from the moment at which it answered, which is later. So as long as one clock runs at most
//! a tenth faster than the other, the granter sees the end after the holder does (invariant 9: nothing else is assumed of clocks).

use core::time::Duration;

/// How long the holder of a lease may use it, from when it asked.
#[must_use]
pub const fn holder_lease(lease: Duration) -> Duration {
    match lease.saturating_mul(9).checked_div(10) {
        Some(held) => held,
        // Ten is not zero.
        None => Duration::ZERO,
    }
}

/// The region lease of a cluster whose groups have leases of `lease`: what the system group grants to the leaders of groups that live
/// and die with one region.
///
/// Three times as long, so that such leaders go on while the system group elects a new leader, which takes a lease and
/// a few round trips.
#[must_use]
pub const fn region_lease(lease: Duration) -> Duration {
    lease.saturating_mul(3)
}

/// How much longer a system leader must wait before it may found a group anew without a region, once it has stopped granting leases
/// to that region. Zero: nobody there can hold one any more.
///
/// `since_grant` is the time since this node last granted one, if it ever did; `leading` the time since its present leadership began.
/// A leader before it granted its last one before that beginning: its own lease had ended by then.
#[must_use]
pub fn wait_before_refounding(
    region_lease: Duration,
    leading: Duration,
    since_grant: Option<Duration>,
) -> Duration {
    let quiet = since_grant.map_or(leading, |since| since.min(leading));
    region_lease.saturating_sub(quiet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A leader in the region and the one that replaces it, each with a clock of its own rate, in real time.
        #[test]
        fn the_old_leader_has_stopped_before_the_new_one_begins(
            lease_ms in 100u32..60_000,
            // Real seconds per second of the clock, within a tenth of one another.
            holder_rate in 1.0f64..1.1,
            granter_rate in 1.0f64..1.1,
            asked_at in 0.0f64..100.0,
            on_the_way in 0.0f64..10.0,
            paused_after_grant in 0.0f64..10.0,
        ) {
            let lease = region_lease(Duration::from_millis(lease_ms.into()));
            let granted_at = asked_at + on_the_way;
            let holder_ends = asked_at + holder_lease(lease).as_secs_f64() * holder_rate;
            // The granter looks at its clock at some later moment, and waits what is left then.
            let looked_at = granted_at + paused_after_grant;
            let since_grant = Duration::from_secs_f64((looked_at - granted_at) / granter_rate);
            let wait = wait_before_refounding(lease, Duration::MAX, Some(since_grant));
            let refounds_at = looked_at + wait.as_secs_f64() * granter_rate;
            prop_assert!(holder_ends <= refounds_at + 1e-6, "{holder_ends} > {refounds_at}");
        }

        #[test]
        fn a_new_leader_waits_a_whole_lease_whatever_it_has_seen(
            leading_ms in 0u64..10_000,
            grant in proptest::option::of(0u64..10_000),
        ) {
            let (lease, ms) = (Duration::from_millis(3_000), Duration::from_millis);
            let wait = wait_before_refounding(lease, ms(leading_ms), grant.map(ms));
            let quiet = grant.map_or(leading_ms, |since| since.min(leading_ms));
            prop_assert_eq!(wait, ms(3_000u64.saturating_sub(quiet)));
        }
    }

    #[test]
    fn the_holder_counts_a_tenth_less() {
        assert_eq!(holder_lease(Duration::from_secs(3)), Duration::from_millis(2_700));
        assert_eq!(region_lease(Duration::from_millis(900)), Duration::from_millis(2_700));
    }
}
