//! What the users of the service saw.

use super::load::{Sample, Way};
use crate::measure::{Marks, recovered};
use crate::sample::{Micros, seconds};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of the service's path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServiceFigures {
    /// Of the requests through the edges that were expected to run.
    pub edge: WayFigures,
    /// Of those to backends that DNS had named.
    pub dns: WayFigures,
}

/// The figures of one way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WayFigures {
    /// Seconds from the fault until requests of the clients of every region succeeded again, for good; `null` when they did not before the
    /// undoing.
    pub rto_s: Option<f64>,
    /// All requests.
    pub requests: u64,
    /// Those without a success.
    pub failed: u64,
    /// The slowest success between the fault and the undoing, in seconds.
    pub slowest_s: f64,
}

pub(super) fn of(samples: &[Sample], marks: &Marks) -> ServiceFigures {
    ServiceFigures { edge: way(samples, Way::Edge, marks), dns: way(samples, Way::Dns, marks) }
}

fn way(samples: &[Sample], way: Way, marks: &Marks) -> WayFigures {
    let mine = || samples.iter().filter(move |one| one.way == way);
    let during = |one: &&Sample| one.invoked >= marks.fault && one.returned <= marks.undone;
    let mut lanes: BTreeMap<(u8, u8), (Vec<Micros>, Micros)> = BTreeMap::new();
    for one in mine().filter(during) {
        let (successes, failure) = lanes.entry((one.region, one.lane)).or_default();
        if one.done {
            successes.push(one.returned);
        } else {
            *failure = (*failure).max(one.returned);
        }
    }
    let recoveries = lanes.into_values().map(|(successes, failure)| {
        // Behind the last failure, not only without a gap: here every request is a user.
        let after: Vec<Micros> = successes.iter().copied().filter(|at| *at > failure).collect();
        recovered(&after, marks.undone)
    });
    let slowest: Option<Option<Micros>> = recoveries.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
    WayFigures {
        rto_s: slowest.flatten().map(|at| seconds(marks.fault, at)),
        requests: mine().count() as u64,
        failed: mine().filter(|one| !one.done).count() as u64,
        slowest_s: mine()
            .filter(during)
            .filter(|one| one.done)
            .map(|one| seconds(one.invoked, one.returned))
            .fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(region: u8, lane: u8, at: Micros, took: Micros, done: bool) -> Sample {
        Sample { way: Way::Dns, region, lane, invoked: at, returned: at + took, done }
    }

    #[test]
    fn the_slowest_of_all_clients_counts_and_a_failure_begins_anew() {
        let marks = Marks { fault: 1_000_000, undone: 5_000_000, end: 6_000_000, detected: None };
        let every = |region: u8, from: Micros, done: bool| {
            (0..).map(move |n| sample(region, 0, from + n * 100_000, 10_000, done))
        };
        let mut samples: Vec<Sample> = every(0, 0, true).take(60).collect();
        samples.extend(every(1, 0, true).take(10));
        samples.extend(every(1, 1_000_000, false).take(15));
        samples.extend(every(1, 2_500_000, true).take(30));
        let found = of(&samples, &marks);
        assert_eq!(found.dns.rto_s, Some(1.51));
        assert_eq!((found.dns.requests, found.dns.failed), (115, 15));
        assert_eq!(found.edge.rto_s, None, "nobody asked");
        samples.push(sample(1, 0, 4_900_000, 10_000, false));
        assert_eq!(of(&samples, &marks).dns.rto_s, None);
    }
}
