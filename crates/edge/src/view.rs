//! What the edge answers by: made anew by the node whenever a service, a verdict or a distance changes, and swapped under the running server.

use crate::route::Routes;
use meridian_steering::{Choice, Client, Steering, Verdict, choose, client_key};
use meridian_types::{Backend, RegionName, Service, ServiceName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Finds the region that an address is at home in.
pub type Locate = Arc<dyn Fn(IpAddr) -> Option<RegionName> + Send + Sync>;

/// A service as the edge serves it.
#[derive(Clone, Debug)]
pub struct Served {
    /// What was registered.
    pub service: Service,
    /// How it stands in each region.
    pub verdicts: BTreeMap<RegionName, Verdict>,
    /// The backends that may be asked, by region.
    pub usable: BTreeMap<RegionName, Vec<Backend>>,
    /// Milliseconds between regions.
    pub distances: Arc<BTreeMap<RegionName, BTreeMap<RegionName, u32>>>,
}

impl Served {
    /// The regions that may serve a client, best first: GeoDNS's own choice, but that a client which has just written stays where it
    /// wrote, if that region is not lost.
    #[must_use]
    pub fn order(&self, home: Option<&RegionName>, client: IpAddr, wrote: Option<&RegionName>) -> Choice {
        let nowhere = BTreeMap::new();
        let distances = home.and_then(|region| self.distances.get(region)).unwrap_or(&nowhere);
        let (key, _) = client_key(client, u8::MAX);
        let steering = Steering::of(&self.service.policy);
        let mut choice = choose(&steering, &self.verdicts, Client { distances, key });
        if let Some(place) = wrote.and_then(|region| choice.regions.iter().position(|other| other == region))
        {
            choice.regions[..=place].rotate_right(1);
        }
        choice
    }

    /// Whether a client that has written in a region is to stay there: not in one that others are better than, or it would never be left.
    #[must_use]
    pub fn holds(&self, region: &RegionName) -> bool {
        self.verdicts.get(region) == self.verdicts.values().min()
    }
}

/// All of it.
pub struct View {
    /// The services.
    pub services: BTreeMap<ServiceName, Served>,
    /// Which request is for which.
    pub routes: Routes,
    /// Where clients are.
    pub locate: Locate,
}

impl Default for View {
    fn default() -> Self {
        Self { services: BTreeMap::new(), routes: Routes::default(), locate: Arc::new(|_| None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::service::EdgeOptions;
    use meridian_types::{HealthCheck, HostName, ServicePolicy};
    use proptest::prelude::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn served(verdicts: &[(&str, Verdict)]) -> Served {
        let distances = [(region("a"), [(region("a"), 0), (region("b"), 50), (region("c"), 90)].into())];
        Served {
            service: Service {
                name: ServiceName::new("shop").unwrap(),
                hosts: vec![HostName::new("shop.x.y").unwrap()],
                health: HealthCheck::Tcp,
                backends: BTreeMap::new(),
                policy: ServicePolicy::Nearest,
                ttl_s: 1,
                edge: EdgeOptions::default(),
            },
            verdicts: verdicts.iter().map(|(name, verdict)| (region(name), *verdict)).collect(),
            usable: BTreeMap::new(),
            distances: Arc::new(distances.into()),
        }
    }

    fn order(served: &Served, wrote: Option<&str>) -> Vec<String> {
        let wrote = wrote.map(region);
        let choice = served.order(Some(&region("a")), [192, 0, 2, 1].into(), wrote.as_ref());
        choice.regions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_wrote_stays_while_the_region_can_serve() {
        use Verdict::{Degraded, Healthy, Lost};
        let all = served(&[("a", Healthy), ("b", Healthy), ("c", Degraded)]);
        assert_eq!(order(&all, None), ["a", "b", "c"]);
        assert_eq!(order(&all, Some("b")), ["b", "a", "c"]);
        assert_eq!(order(&all, Some("c")), ["c", "a", "b"]);
        assert_eq!(order(&all, Some("elsewhere")), ["a", "b", "c"]);
        let lost = served(&[("a", Healthy), ("b", Lost), ("c", Healthy)]);
        assert_eq!(order(&lost, Some("b")), ["a", "c"]);
    }

    #[test]
    fn only_the_best_regions_hold_who_wrote() {
        use Verdict::{Degraded, Healthy, Lost};
        let held = |verdicts: &[(&str, Verdict)]| {
            let served = served(verdicts);
            ["a", "b", "c"].map(|name| served.holds(&region(name)))
        };
        assert_eq!(held(&[("a", Healthy), ("b", Degraded), ("c", Healthy)]), [true, false, true]);
        assert_eq!(held(&[("a", Lost), ("b", Degraded)]), [false, true, false]);
        assert_eq!(held(&[("a", Lost), ("b", Lost)]), [true, true, false]);
    }

    proptest! {
        #[test]
        fn a_cookie_never_leads_to_a_lost_region(verdicts in proptest::collection::vec(0_u8..3, 3), wrote in 0_usize..4) {
            let verdict = |n: &u8| [Verdict::Healthy, Verdict::Degraded, Verdict::Lost][usize::from(*n)];
            let names = ["a", "b", "c", "d"];
            let pairs: Vec<_> = names.into_iter().zip(verdicts.iter().map(verdict)).collect();
            let served = served(&pairs);
            let plain = order(&served, None);
            let mut with = order(&served, Some(names[wrote]));
            prop_assert!(!with.contains(&names[wrote].to_owned()) || with[0] == names[wrote]);
            let mut sorted = plain;
            sorted.sort();
            with.sort();
            prop_assert_eq!(sorted, with);
        }
    }
}
