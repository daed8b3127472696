//! Whether a region attracts the clients of an anycast address: the third way to act on the verdicts, beside answers of DNS and routes
//! of the edge.

use crate::standing::Standings;
use crate::verdict::Verdict;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use meridian_types::{RegionName, Service, ServiceName, ServicePolicy};

/// Whether an address is announced from a region, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Whether it is.
    pub wanted: bool,
    /// Why not; empty when it is.
    pub because: Vec<String>,
}

/// Decides for region `own` and an address at which the services `named` are reached; none named: whatever the region serves.
///
/// A region is as good as the worst of those services in it, and the best regions announce. So an address of several services that fail in
/// different places is still announced from somewhere, and when all regions look lost, all of them announce. Of equally good ones, a
/// service that is active-passive wants its first only.
#[must_use]
pub fn announce(
    standings: &Standings,
    services: &BTreeMap<ServiceName, Service>,
    own: &RegionName,
    named: &[ServiceName],
) -> Announcement {
    let unwanted = |because: Vec<String>| Announcement { wanted: false, because };
    if standings.regions.is_empty() {
        return unwanted([String::from("nothing is judged yet")].into());
    }
    if let Some(unknown) = named.iter().find(|name| !services.contains_key(*name)) {
        return unwanted([format!("there is no service {unknown}")].into());
    }
    let verdict = |region: &RegionName| {
        let in_region = standings.regions.get(region).map(|standing| standing.verdict);
        let of_service = |name| {
            let standing = standings.services.get(name).and_then(|places| places.get(region));
            standing.map_or(Verdict::Lost, |standing| standing.verdict)
        };
        named.iter().map(of_service).chain(in_region).max().unwrap_or(Verdict::Lost)
    };
    let best = standings.regions.keys().map(verdict).min().unwrap_or(Verdict::Lost);
    if verdict(own) != best {
        return unwanted(reasons(standings, own, named));
    }
    let orders = named.iter().filter_map(|name| match &services.get(name)?.policy {
        ServicePolicy::ActivePassive(order) => Some((name, order)),
        ServicePolicy::Nearest | ServicePolicy::Weighted(_) => None,
    });
    for (name, order) in orders {
        let first = order.iter().find(|region| verdict(region) == best);
        if let Some(first) = first.filter(|first| *first != own) {
            return unwanted([format!("service {name} prefers {first}")].into());
        }
    }
    Announcement { wanted: true, because: Vec::new() }
}

fn reasons(standings: &Standings, own: &RegionName, named: &[ServiceName]) -> Vec<String> {
    let mut because: Vec<String> =
        standings.regions.get(own).map(|standing| standing.because.clone()).unwrap_or_default();
    for name in named {
        match standings.services.get(name).and_then(|places| places.get(own)) {
            Some(standing) => {
                let new = standing.because.iter().map(|why| format!("service {name}: {why}"));
                because.extend(new);
            }
            None => because.push(format!("service {name} has no backend here")),
        }
    }
    if because.is_empty() {
        because.push("another region is better".to_string());
    }
    because
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Standing;
    use alloc::vec;
    use meridian_types::HealthCheck;
    use proptest::prelude::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn names() -> [ServiceName; 2] {
        ["shop", "till"].map(|name| ServiceName::new(name).unwrap())
    }

    fn service(name: ServiceName, policy: ServicePolicy) -> Service {
        let backends = ["a", "b", "c"].map(|place| (region(place), Vec::new()));
        Service {
            name,
            hosts: [].into(),
            health: HealthCheck::Region,
            backends: backends.into(),
            policy,
            ttl_s: 1,
            edge: Default::default(),
        }
    }

    fn standing(verdict: Verdict) -> Standing {
        let because = if verdict == Verdict::Healthy { vec![] } else { vec!["x".to_string()] };
        Standing { verdict, because, since_ms: 0, backends: Vec::new() }
    }

    /// Verdicts on regions a, b and c, then on both services there.
    fn standings(verdicts: [[Verdict; 3]; 3]) -> Standings {
        let places = |row: [Verdict; 3]| {
            ["a", "b", "c"].into_iter().zip(row).map(|(name, verdict)| (region(name), standing(verdict)))
        };
        let [own, shop, till] = verdicts;
        let [first, second] = names();
        Standings {
            regions: places(own).collect(),
            services: [(first, places(shop).collect()), (second, places(till).collect())].into(),
        }
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop::sample::select(vec![Verdict::Healthy, Verdict::Degraded, Verdict::Lost])
    }

    fn all(policy: &ServicePolicy) -> BTreeMap<ServiceName, Service> {
        names().map(|name| (name.clone(), service(name, policy.clone()))).into()
    }

    proptest! {
        #[test]
        fn an_address_is_always_announced_from_somewhere_and_never_from_a_worse_region(
            verdicts in prop::array::uniform3(prop::array::uniform3(any_verdict())),
            named in 0usize..3,
            passive in any::<bool>(),
        ) {
            let order = vec![region("b"), region("a"), region("c")];
            let policy = if passive { ServicePolicy::ActivePassive(order) } else { ServicePolicy::Nearest };
            let (standings, services, names) = (standings(verdicts), all(&policy), names());
            let named = &names[..named];
            let announced = ["a", "b", "c"].map(|own| announce(&standings, &services, &region(own), named));
            prop_assert!(announced.iter().any(|one| one.wanted), "{verdicts:?}");
            prop_assert!(announced.iter().all(|one| one.wanted == one.because.is_empty()));
            let worst = |place: usize| {
                let of_services = verdicts[1..=named.len()].iter().map(|row| row[place]);
                of_services.chain([verdicts[0][place]]).max().unwrap()
            };
            let best = (0..3).map(worst).min().unwrap();
            for (place, one) in announced.iter().enumerate() {
                prop_assert!(!one.wanted || worst(place) == best);
                if !passive || named.is_empty() {
                    prop_assert_eq!(one.wanted, worst(place) == best);
                }
            }
            if passive && !named.is_empty() {
                prop_assert_eq!(announced.iter().filter(|one| one.wanted).count(), 1);
            }
        }
    }

    #[test]
    fn nothing_is_announced_for_what_is_not_known() {
        let unknown = [ServiceName::new("nowhere").unwrap()];
        let healthy = standings([[Verdict::Healthy; 3]; 3]);
        assert!(!announce(&healthy, &BTreeMap::new(), &region("a"), &unknown).wanted);
        assert!(!announce(&Standings::default(), &BTreeMap::new(), &region("a"), &[]).wanted);
    }
}
