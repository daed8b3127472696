//! Timers that are used again. Each request asks for a few, as a rule to end long before them, and to enter a new one into the runtime's
//! wheel and take it out again costs more than to move one that is there.

use super::lock;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The most that one connection keeps.
const MOST: usize = 4;

type Spare = Mutex<Vec<Pin<Box<Sleep>>>>;

/// A connection's timers that nobody waits for.
#[derive(Clone, Default)]
pub(super) struct Timers(Arc<Spare>);

impl Timers {
    /// Ends then.
    pub(super) fn at(&self, deadline: Instant) -> Alarm {
        let mut spare = lock(&self.0);
        // To put one off is cheap, to bring one forward is not.
        let earlier = spare.iter().enumerate().filter(|(_, sleep)| sleep.deadline() <= deadline);
        let number = earlier.max_by_key(|(_, sleep)| sleep.deadline()).map(|(number, _)| number);
        let kept = number.map(|number| spare.swap_remove(number));
        drop(spare);
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(sleep_until(deadline)),
        };
        Alarm { sleep: Some(sleep), timers: self.clone() }
    }
}

impl hyper::rt::Timer for Timers {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.at(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.at(deadline.into()))
    }
}

/// Ends at a moment. When it is dropped, another one is made of it.
pub(super) struct Alarm {
    /// Some until it is dropped.
    sleep: Option<Pin<Box<Sleep>>>,
    timers: Timers,
}

impl Alarm {
    /// Has it end at another moment.
    pub(super) fn set(&mut self, deadline: Instant) {
        let Some(sleep) = &mut self.sleep else { return };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx))
    }
}

impl hyper::rt::Sleep for Alarm {}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut spare = lock(&self.timers.0);
        if spare.len() < MOST {
            spare.extend(self.sleep.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn waits(alarm: &mut Alarm) -> bool {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *alarm).poll(cx).is_pending())).await
    }

    #[test]
    fn each_ends_at_its_own_moment_whatever_it_was_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (timers, begun) = (Timers::default(), Instant::now());
            let at = |ms| timers.at(begun + Duration::from_millis(ms));
            // One that has ended, one that was begun and has not, and one that was never waited for.
            at(1).await;
            let (mut long, never) = (at(60_000), at(90_000));
            assert!(waits(&mut long).await);
            drop((long, never));
            for ms in [10, 20, 30] {
                at(ms).await;
                assert!(begun.elapsed() >= Duration::from_millis(ms), "{ms}");
                assert!(begun.elapsed() < Duration::from_secs(30), "{ms}");
            }
            let mut moved = at(70_000);
            assert!(waits(&mut moved).await);
            moved.set(begun + Duration::from_millis(40));
            moved.await;
            drop([(); 9].map(|()| at(5)));
            assert_eq!(lock(&timers.0).len(), MOST);
        });
    }
}
