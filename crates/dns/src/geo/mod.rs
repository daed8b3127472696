//! Where a client is: the region that it is at home in, by the operator's own networks first, then by a database.

mod database;
mod networks;

pub use database::{Database, DatabaseError, Point};
pub use networks::Networks;

use meridian_types::RegionName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The network that a question comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNetwork {
    /// An address in it; bits behind the prefix count for nothing.
    pub address: IpAddr,
    /// How many leading bits of the address are known.
    pub prefix: u8,
}

impl ClientNetwork {
    /// The whole address of a resolver.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// Where a client was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The region that it is at home in; `None` when nothing is known.
    pub region: Option<RegionName>,
    /// How many leading bits of the address all clients share that get the same answer (RFC 7871, scope).
    pub scope: u8,
}

/// Finds clients.
#[derive(Debug, Default)]
pub struct Locator {
    /// The operator's own networks.
    pub networks: Networks,
    /// A database of the world's networks.
    pub database: Option<Arc<Database>>,
    /// Where regions are on the earth, for those that the database finds.
    pub places: BTreeMap<RegionName, Point>,
    /// The region of clients that nobody knows: that of the server, which they have come to.
    pub here: Option<RegionName>,
}

impl Locator {
    /// The region that a client is at home in.
    #[must_use]
    pub fn locate(&self, client: ClientNetwork) -> Located {
        let own = self.networks.locate(client.address);
        if own.region.is_some() {
            return own;
        }
        let found = self.database.as_ref().and_then(|database| database.locate(client.address));
        let scope = found.map_or(own.scope, |(_, prefix)| own.scope.max(prefix));
        let near = found.and_then(|(point, _)| self.nearest(point));
        Located { region: near.or(self.here.as_ref()).cloned(), scope }
    }

    fn nearest(&self, point: Point) -> Option<&RegionName> {
        let away = |place: &Point| point.kilometres_to(*place);
        let nearest = self.places.iter().min_by(|(_, a), (_, b)| away(a).total_cmp(&away(b)));
        nearest.map(|(region, _)| region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    #[test]
    fn the_nearest_place_on_earth() {
        let place = |latitude, longitude| Point { latitude, longitude };
        let locator = Locator {
            places: [
                (region("virginia"), place(38.9, -77.4)),
                (region("dublin"), place(53.4, -6.2)),
                (region("auckland"), place(-36.8, 174.8)),
            ]
            .into(),
            ..Locator::default()
        };
        let near = |latitude, longitude| locator.nearest(place(latitude, longitude)).unwrap().to_string();
        assert_eq!(near(48.9, 2.4), "dublin", "Paris");
        assert_eq!(near(43.7, -79.4), "virginia", "Toronto");
        assert_eq!(near(-17.7, -178.0), "auckland", "Fiji, beyond the date line");
    }

    #[test]
    fn who_is_not_known_is_where_they_have_come_to() {
        let here = Some(region("here"));
        let locator = Locator { here: here.clone(), ..Locator::default() };
        let client = ClientNetwork::of([192, 0, 2, 1].into());
        assert_eq!(locator.locate(client), Located { region: here, scope: 0 });
    }
}
