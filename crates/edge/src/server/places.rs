//! Where one request can go, and where it has been.

use super::live::LiveService;
use super::lock;
use super::upstream::{InFlight, Upstream};
use crate::pick::{Candidate, pick};
use meridian_types::RegionName;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The most attempts of one request.
const MAX_ATTEMPTS: usize = 4;
/// The most of a service's backends that are out at once, in percent: when most fail it is not them who fail.
const MAX_OUT_PERCENT: usize = 70;

struct Place<'a> {
    region: &'a RegionName,
    rank: usize,
    upstream: &'a Arc<Upstream>,
    tried: bool,
}

struct Attempt {
    place: usize,
    begun: Instant,
    over: bool,
}

/// All of them.
pub(super) struct Places<'a> {
    all: Vec<Place<'a>>,
    attempts: Vec<Attempt>,
    max_in_flight: usize,
}

impl<'a> Places<'a> {
    /// The backends of a service in these regions, best first.
    pub(super) fn new(service: &'a LiveService, order: &'a [RegionName], max_in_flight: usize) -> Self {
        let in_region = |(rank, region): (usize, &'a RegionName)| {
            let upstreams = service.usable.get(region).into_iter().flatten();
            upstreams.map(move |upstream| Place { region, rank, upstream, tried: false })
        };
        let all = order.iter().enumerate().flat_map(in_region).collect();
        Self { all, attempts: Vec::new(), max_in_flight }
    }

    fn candidates(&self, now_ms: u64) -> Vec<Candidate> {
        let candidate = |place: &Place<'_>| {
            let in_flight = place.upstream.in_flight();
            Candidate {
                rank: place.rank,
                share_permille: lock(&place.upstream.outlier).share_permille(now_ms),
                in_flight,
                full: in_flight >= self.max_in_flight,
                tried: place.tried,
            }
        };
        self.all.iter().map(candidate).collect()
    }

    /// Whether there is one more to ask.
    pub(super) fn more(&self) -> bool {
        let open = |place: &Place<'_>| !place.tried && place.upstream.in_flight() < self.max_in_flight;
        self.attempts.len() < MAX_ATTEMPTS && self.all.iter().any(open)
    }

    /// The next one, and the number of the attempt.
    pub(super) fn next(&mut self, draw: u64, now: Instant, now_ms: u64) -> Option<(usize, InFlight)> {
        if self.attempts.len() >= MAX_ATTEMPTS {
            return None;
        }
        loop {
            let index = pick(&self.candidates(now_ms), draw)?;
            let place = self.all.get_mut(index)?;
            place.tried = true;
            // Another request may have taken the last place meanwhile.
            if let Some(in_flight) = place.upstream.enter(self.max_in_flight) {
                place.upstream.requests.fetch_add(1, Ordering::Relaxed);
                self.attempts.push(Attempt { place: index, begun: now, over: false });
                return Some((self.attempts.len() - 1, in_flight));
            }
        }
    }

    /// Where an attempt went.
    pub(super) fn of(&self, attempt: usize) -> Option<(&'a RegionName, &'a Arc<Upstream>)> {
        let place = self.all.get(self.attempts.get(attempt)?.place)?;
        Some((place.region, place.upstream))
    }

    /// The attempt has a response.
    pub(super) fn succeeded(&mut self, attempt: usize, now_ms: u64) {
        self.end(attempt);
        if let Some((_, upstream)) = self.of(attempt) {
            lock(&upstream.outlier).success(now_ms);
        }
    }

    /// The attempt has failed.
    pub(super) fn failed(&mut self, attempt: usize, what: &'static str, now_ms: u64) {
        self.end(attempt);
        let Some((region, upstream)) = self.of(attempt) else { return };
        tracing::debug!(%region, backend = %upstream.backend, what, "an attempt has failed");
        upstream.failures.fetch_add(1, Ordering::Relaxed);
        let is_out = |place: &&Place<'_>| lock(&place.upstream.outlier).is_out(now_ms);
        let out = self.all.iter().filter(is_out).count();
        let may_leave = (out + 1) * 100 <= self.all.len() * MAX_OUT_PERCENT;
        if lock(&upstream.outlier).failure(what, now_ms, may_leave) {
            upstream.ejections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%region, backend = %upstream.backend, what, "a backend is left out for a while");
        }
    }

    /// Attempts that have had no response have failed.
    pub(super) fn blame(&mut self, now_ms: u64) {
        self.blame_before(self.attempts.len(), Duration::ZERO, now_ms);
    }

    /// Attempts before this one that have had no response for so long have failed. Those after it were asked because it took its time,
    /// and may take as long.
    pub(super) fn blame_before(&mut self, attempt: usize, silent_for: Duration, now_ms: u64) {
        let late = |attempt: &Attempt| !attempt.over && attempt.begun.elapsed() >= silent_for;
        let earlier = self.attempts.iter().enumerate().take(attempt);
        let late: Vec<usize> =
            earlier.filter(|(_, attempt)| late(attempt)).map(|(number, _)| number).collect();
        for number in late {
            self.failed(number, "no response in time", now_ms);
        }
    }

    fn end(&mut self, attempt: usize) {
        if let Some(attempt) = self.attempts.get_mut(attempt) {
            attempt.over = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::{Backend, HostName};

    #[test]
    fn only_who_was_asked_before_the_one_that_answers_is_to_blame() {
        let upstream = |port: u16| {
            let backend: Backend = format!("http://a.b:{port}").parse().unwrap();
            Arc::new(Upstream::new(backend, HostName::new("a.b").unwrap(), 1))
        };
        let region = RegionName::new("a").unwrap();
        let upstreams: Vec<_> = (1..=3).map(upstream).collect();
        let place = |upstream| Place { region: &region, rank: 0, upstream, tried: false };
        let all = upstreams.iter().map(place).collect();
        let mut places = Places { all, attempts: Vec::new(), max_in_flight: 1 };
        let asked: Vec<_> = (0..3).map(|draw| places.next(draw, Instant::now(), 0).unwrap()).collect();
        let failures = |places: &Places<'_>| -> Vec<u64> {
            asked.iter().map(|(n, _)| places.of(*n).unwrap().1.failures.load(Ordering::Relaxed)).collect()
        };
        places.succeeded(1, 0);
        places.blame_before(1, Duration::from_secs(60), 0);
        assert_eq!(failures(&places), [0, 0, 0], "not for long enough");
        places.blame_before(1, Duration::ZERO, 0);
        assert_eq!(failures(&places), [1, 0, 0]);
        places.blame(0);
        assert_eq!(failures(&places), [1, 0, 1]);
    }
}
