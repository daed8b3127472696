//! What several observers make of one service in one region.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use meridian_types::RegionName;
use serde::{Deserialize, Serialize};

/// The state of a service in a region, of a region or of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It serves.
    Healthy,
    /// Some of it is lost, or too little is known: used when nothing healthy is left.
    Degraded,
    /// It is down, as far as can be told: not used while anything else is left.
    Lost,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Lost => "lost",
        })
    }
}

/// What one observer last said, on the judge's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// Whether it finds the service up.
    pub up: bool,
    /// Failed requests of real traffic, in thousandths; `None` when there was too little of it.
    pub error_permille: Option<u16>,
    /// When it was said, in milliseconds.
    pub at_ms: u64,
}

/// How opinions are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRules {
    /// An opinion older than this counts for nothing, in milliseconds.
    pub stale_after_ms: u64,
    /// How many observers must find a service down before it is lost. With fewer observers configured, all of them.
    pub confirmations: usize,
    /// Errors of real traffic from which on a service is degraded, in thousandths.
    pub degraded_permille: u16,
}

impl Default for VerdictRules {
    /// Ten seconds, two observers, a twentieth of all requests.
    fn default() -> Self {
        Self { stale_after_ms: 10_000, confirmations: 2, degraded_permille: 50 }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Observers that find it up.
    pub up: Vec<RegionName>,
    /// Observers that find it down.
    pub down: Vec<RegionName>,
    /// Observers that have said nothing for too long.
    pub silent: Vec<RegionName>,
    /// Observers whose real traffic fails too often.
    pub failing: Vec<RegionName>,
}

/// A verdict with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Evidence,
}

/// Judges one service in one region at `now_ms` by the opinions of its observers, by the region that they look from; `None`
/// for one that has said nothing yet.
///
/// Lost takes more than half of those that speak, and the confirmations that the rules ask for: an observer that is itself cut off
/// finds everything down, and alone it loses nothing. It is degraded when the traffic of more observers fails than of those whose is served. As long as most of those that speak find it up it is healthy: a broken way between two
/// regions must not send the clients of both to a third.
#[must_use]
pub fn judge(observers: &BTreeMap<RegionName, Option<Opinion>>, now_ms: u64, rules: &VerdictRules) -> Judged {
    let mut evidence = Evidence::default();
    let mut served = 0;
    for (observer, opinion) in observers {
        let fresh = opinion.filter(|opinion| now_ms.saturating_sub(opinion.at_ms) <= rules.stale_after_ms);
        let Some(opinion) = fresh else {
            evidence.silent.push(observer.clone());
            continue;
        };
        let side = if opinion.up { &mut evidence.up } else { &mut evidence.down };
        side.push(observer.clone());
        match opinion.error_permille {
            Some(errors) if errors >= rules.degraded_permille => evidence.failing.push(observer.clone()),
            Some(_) => served += 1,
            None => {}
        }
    }
    let (up, down) = (evidence.up.len(), evidence.down.len());
    let confirmed = down >= rules.confirmations.min(observers.len()).max(1);
    let verdict = if down > up && confirmed {
        Verdict::Lost
    } else if down >= up || evidence.failing.len() > served {
        Verdict::Degraded
    } else {
        Verdict::Healthy
    };
    Judged { verdict, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(opinions: &[Option<(bool, u64)>]) -> Verdict {
        let observers = opinions.iter().enumerate().map(|(number, opinion)| {
            let opinion = opinion.map(|(up, at_ms)| Opinion { up, error_permille: None, at_ms });
            (RegionName::new(&alloc::format!("region-{number}")).unwrap(), opinion)
        });
        judge(&observers.collect(), 20_000, &VerdictRules::default()).verdict
    }

    const UP: Option<(bool, u64)> = Some((true, 19_000));
    const DOWN: Option<(bool, u64)> = Some((false, 19_000));
    const OLD: Option<(bool, u64)> = Some((false, 9_999));

    #[test]
    fn lost_takes_a_majority_and_two_observers() {
        assert_eq!(verdict(&[UP, UP, UP]), Verdict::Healthy);
        assert_eq!(verdict(&[UP, UP, DOWN]), Verdict::Healthy);
        assert_eq!(verdict(&[UP, DOWN, DOWN]), Verdict::Lost);
        assert_eq!(verdict(&[UP, DOWN]), Verdict::Degraded);
        assert_eq!(verdict(&[DOWN]), Verdict::Lost, "the only observer there is");
    }

    #[test]
    fn silence_loses_nothing() {
        assert_eq!(verdict(&[]), Verdict::Degraded);
        assert_eq!(verdict(&[None, None, None]), Verdict::Degraded);
        assert_eq!(verdict(&[OLD, OLD, OLD]), Verdict::Degraded);
        assert_eq!(verdict(&[DOWN, None, OLD]), Verdict::Degraded, "an observer that is cut off");
        assert_eq!(verdict(&[UP, None, OLD]), Verdict::Healthy);
    }

    #[test]
    fn real_traffic_that_fails_degrades_and_the_evidence_names_who_saw_it() {
        let region = |name| RegionName::new(name).unwrap();
        let opinion = |up, errors| Some(Opinion { up, error_permille: Some(errors), at_ms: 20_000 });
        let mut observers = BTreeMap::from([
            (region("a"), opinion(true, 49)),
            (region("b"), opinion(true, 50)),
            (region("c"), None),
        ]);
        let judged = judge(&observers, 20_000, &VerdictRules::default());
        assert_eq!(judged.verdict, Verdict::Healthy, "as many are served");
        observers.insert(region("d"), opinion(true, 1_000));
        let judged = judge(&observers, 20_000, &VerdictRules::default());
        assert_eq!(judged.verdict, Verdict::Degraded);
        assert_eq!(judged.evidence.failing, [region("b"), region("d")]);
        assert_eq!(judged.evidence.up, [region("a"), region("b"), region("d")]);
        assert_eq!(judged.evidence.silent, [region("c")]);
    }
}
