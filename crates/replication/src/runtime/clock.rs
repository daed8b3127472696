//! The monotonic clock of a node. In production it is tokio's; a simulated process may have one that runs fast.
//!
//! Every moment that this crate compares with another is read from here, so that in a simulation no node's clock is any other's:
//! a lease may depend on how fast clocks run (invariant 7), on nothing else of them. openraft's own timers, which decide
//! nothing here, are tokio's.

use super::Process;
use std::time::Duration;
use tokio::time::{Instant, Interval, Sleep, Timeout};

/// The present moment by the clock of the process that asks. Comparable only with moments of the same process.
#[must_use]
pub fn now() -> Instant {
    let now = Instant::now();
    Process::current().map_or(now, |process| process.local(now))
}

/// How long ago a moment of the same process was; zero when it is still to come.
#[must_use]
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// A duration of this process's clock as tokio's measures it.
fn true_duration(duration: Duration) -> Duration {
    Process::current().map_or(duration, |process| process.true_duration(duration))
}

/// A moment of this process's clock as tokio's shows it.
fn true_instant(at: Instant) -> Instant {
    Process::current().map_or(at, |process| process.true_instant(at))
}

/// Waits for so long by the clock of the process that asks.
pub fn sleep(duration: Duration) -> Sleep {
    tokio::time::sleep(true_duration(duration))
}

/// Waits until a moment of the process's clock.
pub fn sleep_until(deadline: Instant) -> Sleep {
    tokio::time::sleep_until(true_instant(deadline))
}

/// Ends what takes longer than this by the process's clock.
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    tokio::time::timeout(true_duration(duration), future)
}

/// Ends what is not done by a moment of the process's clock.
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    tokio::time::timeout_at(true_instant(deadline), future)
}

/// Ticks at once, then every so often by the process's clock.
#[must_use]
pub fn interval(period: Duration) -> Interval {
    tokio::time::interval(true_duration(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_shows_more_time_and_waits_less() {
        let process = Process::new(1, 7, Instant::now());
        process.set_clock_rate(1_100);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let (begun, start) = (process.within(now), Instant::now());
        assert_eq!(begun - start, Duration::from_secs(2));
        // tokio's timers are a millisecond late at most.
        let nearly = |took: Duration, ms| (ms..=ms + 3).contains(&took.as_millis());
        process.spawn(async { sleep(Duration::from_millis(1_100)).await }).await.unwrap();
        assert!(nearly(start.elapsed(), 1_000), "{:?}", start.elapsed());
        assert!(nearly(process.within(|| since(begun)), 1_100));
        let deadline = begun + Duration::from_millis(2_200);
        process.spawn(async move { sleep_until(deadline).await }).await.unwrap();
        assert!(nearly(start.elapsed(), 2_000), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn elsewhere_the_clock_is_tokio_s() {
        let start = Instant::now();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((now(), since(start)), (Instant::now(), Duration::from_secs(1)));
    }
}
