//! The operator's own list of networks.

use super::Located;
use ipnet::IpNet;
use meridian_types::RegionName;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Networks and the regions that they are at home in; a network within another one is an exception to it.
///
/// Kept as ranges that do not overlap, gaps included: so the scope of an answer is exact, and never covers clients that get another one.
#[derive(Debug, Default)]
pub struct Networks {
    four: Ranges,
    six: Ranges,
}

/// From each first address on, up to the next one, the same region.
type Ranges = BTreeMap<u128, Option<RegionName>>;

impl Networks {
    /// Takes up a list. Of a network that is named twice the last entry counts.
    #[must_use]
    pub fn new(list: impl IntoIterator<Item = (IpNet, RegionName)>) -> Self {
        let mut list: Vec<(IpNet, RegionName)> =
            list.into_iter().map(|(net, region)| (net.trunc(), region)).collect();
        // The wide ones first, so that exceptions are drawn over them.
        list.sort_by_key(|(net, _)| net.prefix_len());
        let mut networks = Self::default();
        for (net, region) in list {
            let (first, width) = number(net.network());
            let ranges = if width == 32 { &mut networks.four } else { &mut networks.six };
            draw(ranges, first, number(net.broadcast()).0, &region);
        }
        networks
    }

    /// The region of an address, with the widest network around it in which everybody has the same one.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        let (at, width) = number(address.to_canonical());
        let ranges = if width == 32 { &self.four } else { &self.six };
        let found = ranges.range(..=at).next_back();
        let region = found.and_then(|(_, region)| region.clone());
        let first = found.map_or(0, |(first, _)| *first);
        let last = ranges.range(at..).find(|(next, _)| **next > at).map(|(next, _)| next - 1);
        let fits = |prefix: &u8| {
            let host = host_bits(width - prefix);
            let (low, high) = (at & !host, at | host);
            low >= first && last.is_none_or(|last| high <= last)
        };
        Located { region, scope: (0..=width).find(fits).unwrap_or(width) }
    }
}

fn draw(ranges: &mut Ranges, first: u128, last: u128, region: &RegionName) {
    // What was behind the new range goes on there.
    if let Some(behind) = last.checked_add(1) {
        let before = ranges.range(..=behind).next_back().and_then(|(_, region)| region.clone());
        ranges.entry(behind).or_insert(before);
    }
    let inside: Vec<u128> = ranges.range(first..=last).map(|(at, _)| *at).collect();
    for at in inside {
        ranges.remove(&at);
    }
    ranges.insert(first, Some(region.clone()));
}

fn host_bits(count: u8) -> u128 {
    1_u128.checked_shl(count.into()).map_or(u128::MAX, |bits| bits - 1)
}

/// An address as a number, and the bits of its family.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(four) => (u32::from(four).into(), 32),
        IpAddr::V6(six) => (six.into(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(list: &[(&str, &str)]) -> Networks {
        Networks::new(
            list.iter().map(|(net, region)| (net.parse().unwrap(), RegionName::new(region).unwrap())),
        )
    }

    fn located(networks: &Networks, address: &str) -> (String, u8) {
        let found = networks.locate(address.parse().unwrap());
        (found.region.map_or("-".to_owned(), |region| region.to_string()), found.scope)
    }

    #[test]
    fn the_longest_match_counts_and_the_scope_is_exact() {
        let networks = networks(&[
            ("10.1.0.0/16", "b"),
            ("10.0.0.0/8", "a"),
            ("192.0.2.0/24", "c"),
            ("2001:db8::/32", "d"),
        ]);
        assert_eq!(located(&networks, "10.1.2.3"), ("b".to_owned(), 16));
        assert_eq!(located(&networks, "10.2.2.3"), ("a".to_owned(), 15), "next to the exception");
        assert_eq!(located(&networks, "10.200.0.1"), ("a".to_owned(), 9));
        assert_eq!(located(&networks, "192.0.2.77"), ("c".to_owned(), 24));
        assert_eq!(located(&networks, "192.0.3.1"), ("-".to_owned(), 24), "a gap is as narrow as it must be");
        assert_eq!(located(&networks, "200.0.0.1"), ("-".to_owned(), 5));
        assert_eq!(located(&networks, "2001:db8::1"), ("d".to_owned(), 32));
        assert_eq!(located(&networks, "::ffff:192.0.2.77"), ("c".to_owned(), 24), "a mapped address is IPv4");
        assert_eq!(located(&Networks::default(), "::1"), ("-".to_owned(), 0));
        let all = self::networks(&[("0.0.0.0/0", "a"), ("255.255.255.255/32", "b")]);
        assert_eq!(located(&all, "255.255.255.255"), ("b".to_owned(), 32));
        assert_eq!(located(&all, "1.1.1.1"), ("a".to_owned(), 1));
    }

    proptest! {
        #[test]
        fn as_a_plain_search_finds_it_and_nobody_in_scope_gets_another_answer(
            list in proptest::collection::vec((any::<u32>(), 0..=32_u8, 0..4_u8), 0..12),
            address: u32,
            other: u32,
        ) {
            let list: Vec<(IpNet, RegionName)> = list.into_iter().map(|(address, prefix, region)| {
                let net = ipnet::Ipv4Net::new(address.into(), prefix).unwrap().trunc();
                (IpNet::V4(net), RegionName::new(&format!("r{region}")).unwrap())
            }).collect();
            let networks = Networks::new(list.clone());
            let plain = |address: u32| {
                let within = list.iter().filter(|(net, _)| net.contains(&IpAddr::V4(address.into())));
                within.max_by_key(|(net, _)| net.prefix_len()).map(|(_, region)| region.clone())
            };
            let found = networks.locate(IpAddr::V4(address.into()));
            prop_assert_eq!(&found.region, &plain(address));
            let host = u32::try_from(host_bits(32 - found.scope)).unwrap();
            prop_assert_eq!(plain((address & !host) | (other & host)), found.region);
        }
    }
}
