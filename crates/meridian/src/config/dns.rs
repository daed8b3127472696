//! `[dns]`: the name server of a node, and what it knows besides services.

use super::sections::ListenSection;
use ipnet::IpNet;
use meridian_types::{HostName, RegionName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// The most threads for datagrams.
const MAX_THREADS: usize = 64;
/// The most networks that are listed.
const MAX_NETWORKS: usize = 100_000;

/// `[dns]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsSection {
    /// Zones that are answered for, whether or not a service has a host in them.
    pub zones: Vec<HostName>,
    /// Answers to one network a second, over which they are dropped; 0 for no limit. Loopback is not limited.
    pub rate_limit: u32,
    /// Threads for datagrams.
    pub threads: usize,
    /// Whom to write to about the zones, as a mail address; one without `@` is in each zone.
    pub contact: String,
    /// A MaxMind City database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
    /// The name servers of the zones, the first one first.
    #[serde(rename = "name_server", skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<NameServerSection>,
    /// Networks whose region is known.
    #[serde(rename = "network", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkSection>,
    /// What is known of regions.
    #[serde(rename = "region", skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionSection>,
    /// Zone files.
    #[serde(rename = "zone_file", skip_serializing_if = "Vec::is_empty")]
    pub zone_files: Vec<ZoneFileSection>,
    /// Keys of zones that are signed.
    #[serde(rename = "zone_key", skip_serializing_if = "Vec::is_empty")]
    pub zone_keys: Vec<ZoneKeySection>,
}

impl Default for DnsSection {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            rate_limit: 1_000,
            threads: 1,
            contact: "hostmaster".to_owned(),
            database: None,
            name_servers: Vec::new(),
            networks: Vec::new(),
            regions: Vec::new(),
            zone_files: Vec::new(),
            zone_keys: Vec::new(),
        }
    }
}

/// `[[dns.name_server]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServerSection {
    /// Its host name; a single label is in each zone.
    pub name: String,
    /// Its addresses, which answers carry along for names inside the zones.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// `[[dns.network]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// The region whose clients they are.
    pub region: RegionName,
    /// The networks, such as `192.0.2.0/24`.
    pub networks: Vec<IpNet>,
}

/// `[[dns.region]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSection {
    /// The region.
    pub name: RegionName,
    /// Where its clients are sent, instead of to the backends themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Where it is, as degrees north and east, for clients that the database finds: `"38.9, -77.4"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// `[[dns.zone_file]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneFileSection {
    /// The zone.
    pub zone: HostName,
    /// Its file, in the master format.
    pub file: PathBuf,
}

/// `[[dns.zone_key]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneKeySection {
    /// The zone.
    pub zone: HostName,
    /// Its keys, PEM; the first one signs.
    pub file: PathBuf,
}

/// Degrees north and east.
#[must_use]
pub fn location(text: &str) -> Option<(f64, f64)> {
    let (north, east) = text.split_once(',')?;
    let (north, east): (f64, f64) = (north.trim().parse().ok()?, east.trim().parse().ok()?);
    ((-90.0..=90.0).contains(&north) && (-180.0..=180.0).contains(&east)).then_some((north, east))
}

/// Whether a text is a host name, or a single label of one.
fn is_name(text: &str) -> bool {
    HostName::new(text).is_ok() || HostName::new(&format!("{text}.example.com")).is_ok()
}

impl DnsSection {
    pub(super) fn check(&self, listen: &ListenSection, regions: &[RegionName], problems: &mut Vec<String>) {
        let address = listen.dns;
        if !address.ip().is_loopback() && self.name_servers.is_empty() {
            problems.push(format!(
                "listen.dns {address} is not loopback, so name servers are required; list them as [[dns.name_server]] with name and addresses"
            ));
        }
        if !(1..=MAX_THREADS).contains(&self.threads) {
            problems.push(format!("dns.threads is {}; it must be 1 to {MAX_THREADS}", self.threads));
        }
        let contact = self
            .contact
            .split_once('@')
            .map_or(self.contact.clone(), |(user, host)| format!("{}.{host}", user.replace('.', "-")));
        if !is_name(&contact) {
            problems.push(format!("dns.contact {:?} is not a mail address", self.contact));
        }
        for server in self.name_servers.iter().filter(|server| !is_name(&server.name)) {
            problems.push(format!("dns.name_server {:?} is not a host name", server.name));
        }
        let count: usize = self.networks.iter().map(|entry| entry.networks.len()).sum();
        if count > MAX_NETWORKS {
            problems.push(format!("dns.network lists {count} networks; at most {MAX_NETWORKS} are possible"));
        }
        let mut seen = BTreeSet::new();
        for entry in &self.regions {
            if !seen.insert(&entry.name) {
                problems.push(format!("dns.region {} is there twice; keep one", entry.name));
            }
            if let Some(text) = entry.location.as_ref().filter(|text| location(text).is_none()) {
                let name = &entry.name;
                problems.push(format!(
                    "dns.region {name}: location {text:?} must be degrees north and east, such as \"38.9, -77.4\""
                ));
            }
        }
        let mut signed = BTreeSet::new();
        for entry in self.zone_keys.iter().filter(|entry| !signed.insert(&entry.zone)) {
            let zone = &entry.zone;
            problems
                .push(format!("dns.zone_key {zone} is there twice; put all keys of a zone into one file"));
        }
        // A node that joined knows only some regions by its file, so a region that is not there is no mistake of such a file.
        let named = self.regions.iter().map(|entry| &entry.name);
        let named = named.chain(self.networks.iter().map(|entry| &entry.region));
        let unknown: BTreeSet<&RegionName> = named.filter(|name| !regions.contains(name)).collect();
        for name in unknown.into_iter().filter(|_| !regions.is_empty()) {
            problems
                .push(format!("dns names region {name}, where cluster.nodes has no node; correct the name"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_two_numbers_on_the_earth() {
        assert_eq!(location("38.9, -77.4"), Some((38.9, -77.4)));
        for text in ["", "38.9", "91, 0", "0, 181", "north, east", "NaN, 0", "1,2,3"] {
            assert_eq!(location(text), None, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_the_fix() {
        let mut section = DnsSection { threads: 0, contact: "a b".to_owned(), ..DnsSection::default() };
        let region = |name: &str| RegionName::new(name).unwrap();
        section.regions = ["a", "a"]
            .map(|name| RegionSection {
                name: region(name),
                addresses: Vec::new(),
                location: Some("x".to_owned()),
            })
            .into();
        section.networks = vec![NetworkSection { region: region("b"), networks: vec![] }];
        section.zone_keys = ["one", "two"]
            .map(|file| ZoneKeySection { zone: HostName::new("example.com").unwrap(), file: file.into() })
            .into();
        section.name_servers = vec![NameServerSection { name: "-".to_owned(), addresses: vec![] }];
        let mut problems = Vec::new();
        section.check(&ListenSection::default(), &[region("a")], &mut problems);
        for part in [
            "threads",
            "contact",
            "name_server",
            "region a is there twice",
            "zone_key example.com",
            "location",
            "region b",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
        }
        let listen = ListenSection { dns: "0.0.0.0:53".parse().unwrap(), ..ListenSection::default() };
        let mut problems = Vec::new();
        DnsSection::default().check(&listen, &[], &mut problems);
        assert!(problems[0].contains("[[dns.name_server]]"), "{problems:?}");
    }
}
