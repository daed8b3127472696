//! How every service stands in every region: rulings on its backends and on the region, put together.

use crate::board::{Board, Ruling, Target};
use crate::choose::Steering;
use crate::verdict::{Verdict, VerdictRules};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use meridian_types::{Backend, HealthCheck, RegionName, Service, ServiceName, ServicePolicy};

/// What the judge knows besides reports.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Every region of the cluster: all of them observe.
    pub regions: &'a BTreeSet<RegionName>,
    /// Regions that an operator keeps leaders out of.
    pub drained: &'a BTreeSet<RegionName>,
    /// Regions that the system group has recorded as lost, and that have not caught up.
    pub lost: &'a BTreeSet<RegionName>,
    /// The services.
    pub services: &'a BTreeMap<ServiceName, Service>,
}

/// How a region, or a service in it, stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not healthy; empty when it is.
    pub because: Vec<String>,
    /// Since when it is so, in milliseconds of the judge's clock.
    pub since_ms: u64,
    /// The rulings on its backends; empty for a region.
    pub backends: Vec<(Backend, Ruling)>,
}

/// How everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// Each region by its own nodes.
    pub regions: BTreeMap<RegionName, Standing>,
    /// Each service in each of its regions.
    pub services: BTreeMap<ServiceName, BTreeMap<RegionName, Standing>>,
}

impl Standings {
    /// Judges everything. `before` is what was found last, and says since when what has not changed is so.
    #[must_use]
    pub fn judge(board: &Board, world: World<'_>, now_ms: u64, rules: &VerdictRules, before: &Self) -> Self {
        let mut found = Self::default();
        for region in world.regions {
            let standing = of_region(board, world, region, now_ms, rules);
            found.regions.insert(region.clone(), since(standing, before.regions.get(region)));
        }
        for (name, service) in world.services {
            let old = before.services.get(name);
            let places = service.backends.keys().map(|region| {
                let in_region = found.regions.get(region);
                let standing = of_service(board, world, (service, region), in_region, (now_ms, rules));
                (region.clone(), since(standing, old.and_then(|old| old.get(region))))
            });
            let places = places.collect();
            found.services.insert(name.clone(), places);
        }
        found
    }

    /// The verdicts on a service by region.
    #[must_use]
    pub fn verdicts(&self, service: &ServiceName) -> BTreeMap<RegionName, Verdict> {
        let places = self.services.get(service).into_iter().flatten();
        places.map(|(region, standing)| (region.clone(), standing.verdict)).collect()
    }
}

fn since(mut standing: Standing, before: Option<&Standing>) -> Standing {
    if let Some(before) = before.filter(|before| before.verdict == standing.verdict) {
        standing.since_ms = before.since_ms;
    }
    standing
}

fn of_region(
    board: &Board,
    world: World<'_>,
    region: &RegionName,
    now_ms: u64,
    rules: &VerdictRules,
) -> Standing {
    let ruling = board.judge(&Target::Region(region.clone()), world.regions, now_ms, rules);
    let mut standing = Standing {
        verdict: ruling.judged.verdict,
        because: Vec::new(),
        since_ms: now_ms,
        backends: Vec::new(),
    };
    if standing.verdict != Verdict::Healthy {
        standing.because.push(format!("its Meridian nodes: {}", words(&ruling)));
    }
    let mut at_least_degraded = |applies: bool, why: &str| {
        if applies {
            standing.verdict = standing.verdict.max(Verdict::Degraded);
            standing.because.push(why.to_owned());
        }
    };
    at_least_degraded(world.drained.contains(region), "drained by an operator");
    at_least_degraded(world.lost.contains(region), "recorded as lost, and not caught up yet");
    standing
}

fn of_service(
    board: &Board,
    world: World<'_>,
    (service, region): (&Service, &RegionName),
    in_region: Option<&Standing>,
    (now_ms, rules): (u64, &VerdictRules),
) -> Standing {
    let backends: Vec<(Backend, Ruling)> = match service.health {
        HealthCheck::Region => Vec::new(),
        HealthCheck::Http(_) | HealthCheck::Tcp => {
            let backends = service.backends.get(region).into_iter().flatten();
            let rule = |backend: &Backend| {
                let target = Target::Backend {
                    service: service.name.clone(),
                    region: region.clone(),
                    backend: backend.clone(),
                };
                (backend.clone(), board.judge(&target, world.regions, now_ms, rules))
            };
            backends.map(rule).collect()
        }
    };
    // One backend that serves is enough: the others are left out of answers.
    let best = backends.iter().map(|(_, ruling)| ruling.judged.verdict).min();
    let own = best.unwrap_or(Verdict::Healthy);
    let (region_verdict, region_because) = match in_region {
        Some(standing) => (standing.verdict, standing.because.as_slice()),
        None => (Verdict::Lost, &[][..]),
    };
    let mut because: Vec<String> = region_because.to_vec();
    if in_region.is_none() {
        because.push("the region is not part of the cluster".to_owned());
    }
    let sick = backends.iter().filter(|(_, ruling)| ruling.judged.verdict != Verdict::Healthy);
    because.extend(sick.map(|(backend, ruling)| format!("{backend}: {}", words(ruling))));
    Standing { verdict: own.max(region_verdict), because, since_ms: now_ms, backends }
}

/// The evidence in words.
fn words(ruling: &Ruling) -> String {
    let evidence = &ruling.judged.evidence;
    let name = |region: &RegionName| match ruling.details.get(region) {
        Some(detail) => format!("{region} ({detail})"),
        None => region.to_string(),
    };
    let parts = [
        ("down from", &evidence.down),
        ("failing from", &evidence.failing),
        ("up from", &evidence.up),
        ("no word from", &evidence.silent),
    ];
    let said = parts.into_iter().filter(|(_, regions)| !regions.is_empty()).map(|(what, regions)| {
        let named: Vec<String> = regions.iter().map(name).collect();
        format!("{what} {}", named.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

impl Steering {
    /// The policy of a service as choices are made by.
    #[must_use]
    pub fn of(policy: &ServicePolicy) -> Self {
        match policy {
            ServicePolicy::Nearest => Self::Nearest,
            ServicePolicy::ActivePassive(order) => Self::ActivePassive(order.clone()),
            ServicePolicy::Weighted(weights) => Self::Weighted(weights.clone()),
        }
    }
}

/// The backends of a place that answers may name: those that stand best. When all are lost that is all of them.
#[must_use]
pub fn usable<'a>(
    service: &'a Service,
    region: &RegionName,
    standing: Option<&Standing>,
) -> Vec<&'a Backend> {
    let all = service.backends.get(region).into_iter().flatten();
    let verdict = |backend: &Backend| {
        let ruled = standing?.backends.iter().find(|(other, _)| other == backend)?;
        Some(ruled.1.judged.verdict)
    };
    let best = all.clone().filter_map(verdict).min();
    all.filter(|backend| verdict(backend) == best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Observation;
    use meridian_types::{HostName, NodeId};

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn services() -> BTreeMap<ServiceName, Service> {
        let service = |name: &str| Service {
            name: ServiceName::new(name).unwrap(),
            hosts: [HostName::new(&format!("{name}.x.y")).unwrap()].into(),
            health: HealthCheck::Tcp,
            backends: ["a", "b", "c"]
                .map(|place| {
                    let urls = [1, 2].map(|n| format!("tcp://{name}{n}.{place}.z:1").parse().unwrap());
                    (region(place), urls.to_vec())
                })
                .into(),
            policy: ServicePolicy::Nearest,
            ttl_s: 1,
            edge: meridian_types::service::EdgeOptions::default(),
        };
        ["shop", "till"].map(|name| (ServiceName::new(name).unwrap(), service(name))).into()
    }

    /// Three nodes that find everything up but what `down` says.
    fn standings(down: impl Fn(&Target) -> bool, drained: &[&str]) -> Standings {
        let services = services();
        let regions: BTreeSet<RegionName> = ["a", "b", "c"].map(region).into();
        let mut targets: Vec<Target> = regions.iter().cloned().map(Target::Region).collect();
        for service in services.values() {
            for (region, backends) in &service.backends {
                targets.extend(backends.iter().map(|backend| Target::Backend {
                    service: service.name.clone(),
                    region: region.clone(),
                    backend: backend.clone(),
                }));
            }
        }
        let mut board = Board::default();
        for (number, place) in (1..).zip(&regions) {
            let report = targets.iter().map(|target| {
                let up = !down(target);
                let detail = if up { String::new() } else { "refused".to_owned() };
                (target.clone(), Observation { up, error_permille: None, detail })
            });
            board.hear(NodeId(number), place.clone(), report.collect(), 5);
        }
        let drained = drained.iter().map(|name| region(name)).collect();
        let world =
            World { regions: &regions, drained: &drained, lost: &BTreeSet::new(), services: &services };
        Standings::judge(&board, world, 5, &VerdictRules::default(), &Standings::default())
    }

    fn verdicts(standings: &Standings, service: &str) -> Vec<Verdict> {
        standings.verdicts(&ServiceName::new(service).unwrap()).into_values().collect()
    }

    #[test]
    fn one_failing_service_moves_alone() {
        let shop_in_b = |target: &Target| matches!(target, Target::Backend { service, region, .. } if service.as_str() == "shop" && region.as_str() == "b");
        let found = standings(shop_in_b, &[]);
        use Verdict::{Degraded, Healthy, Lost};
        assert_eq!(verdicts(&found, "shop"), [Healthy, Lost, Healthy]);
        assert_eq!(verdicts(&found, "till"), [Healthy; 3]);
        let because = &found.services[&ServiceName::new("shop").unwrap()][&region("b")].because;
        assert!(because[0].contains("down from a (refused), b (refused), c (refused)"), "{because:?}");
        let found = standings(shop_in_b, &["a"]);
        assert_eq!(
            verdicts(&found, "till"),
            [Degraded, Healthy, Healthy],
            "a drained region is a last resort"
        );
    }

    #[test]
    fn a_lost_region_takes_all_of_its_services_along() {
        let found = standings(|target| *target == Target::Region(region("c")), &[]);
        use Verdict::{Healthy, Lost};
        assert_eq!(verdicts(&found, "shop"), [Healthy, Healthy, Lost]);
        assert_eq!(verdicts(&found, "till"), [Healthy, Healthy, Lost]);
    }

    #[test]
    fn one_backend_of_two_is_enough_and_the_other_is_left_out() {
        let first = |target: &Target| matches!(target, Target::Backend { backend, .. } if backend.to_string().contains("shop1"));
        let found = standings(first, &[]);
        assert_eq!(verdicts(&found, "shop"), [Verdict::Healthy; 3]);
        let (services, shop) = (services(), ServiceName::new("shop").unwrap());
        let standing = &found.services[&shop][&region("a")];
        let named = usable(&services[&shop], &region("a"), Some(standing));
        assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tcp://shop2.a.z:1"]);
        assert_eq!(usable(&services[&shop], &region("a"), None).len(), 2, "nothing is known yet");
    }
}
