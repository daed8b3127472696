//! A node's configuration: one TOML file, environment overrides, and the checks that make it meaningful.
//!
//! What is not here: the flags of `meridian dev`, which writes one such file for every node it starts.

mod anycast;
mod dns;
mod edge;
mod env;
mod error;
pub mod secret;
mod sections;
pub mod units;
mod validate;

pub use anycast::{AddressSection, AnycastSection, community as anycast_community};
pub use dns::{
    DnsSection, NameServerSection, NetworkSection, RegionSection, ZoneFileSection, ZoneKeySection,
    location as dns_location,
};
pub use edge::{CertificateSection, EdgeSection, PlainHttp};
pub use error::ConfigError;
pub use secret::{Credentials, Secret};
pub use sections::{
    AdminSection, AuthMode, AuthSection, ClusterSection, ListenSection, LogFormat, LogSection, NodeSection,
    PeerNode, RedisSection, ReplicationSection, StoreSection, TlsSection,
};
pub use validate::{MAX_NODES, MIN_ADMIN_TOKEN, is_host_port};

use meridian_types::Policy;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest configuration file that is read.
pub const MAX_FILE: u64 = 1 << 20;

/// Everything that a node is told at start. Unknown fields are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who this node is.
    pub node: NodeSection,
    /// The addresses it opens.
    #[serde(default)]
    pub listen: ListenSection,
    /// Certificates; required when the cluster has more than one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSection>,
    /// All nodes of the cluster.
    pub cluster: ClusterSection,
    /// Authentication of the data API.
    #[serde(default)]
    pub auth: AuthSection,
    /// The Redis protocol.
    #[serde(default)]
    pub redis: RedisSection,
    /// The admin API.
    #[serde(default)]
    pub admin: AdminSection,
    /// Timing between nodes.
    #[serde(default)]
    pub replication: ReplicationSection,
    /// The disk.
    #[serde(default)]
    pub store: StoreSection,
    /// The name server.
    #[serde(default)]
    pub dns: DnsSection,
    /// Addresses that are announced by BGP.
    #[serde(default)]
    pub anycast: AnycastSection,
    /// The HTTP edge.
    #[serde(default)]
    pub edge: EdgeSection,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
    /// Policies beyond the built-in ones.
    #[serde(default, rename = "policy", skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
}

impl NodeConfig {
    /// Reads the file, applies the overrides of the process environment, and validates. Relative paths are
    /// resolved against the file's folder.
    ///
    /// # Errors
    /// [`ConfigError`], with the place and the fix.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(file)?;
        // Names and values that are not UTF-8 cannot be fields of ours.
        let vars =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let config = Self::parse(file, &text, vars)?;
        config.check_files(file)?;
        Ok(config)
    }

    /// Like [`NodeConfig::load`], from text and variables at hand; does not look at the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with the place and the fix.
    pub fn parse(
        file: &Path,
        text: &str,
        vars: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let overrides = env::overrides(vars);
        let mut config: Self = if overrides.is_empty() {
            toml::from_str(text).map_err(|error| ConfigError::parse(file, text, &error))?
        } else {
            let mut table = toml::from_str(text).map_err(|error| ConfigError::parse(file, text, &error))?;
            for (variable, value) in &overrides {
                env::apply(&mut table, variable, value)?;
            }
            table.try_into().map_err(|error: toml::de::Error| {
                let names: Vec<&str> = overrides.iter().map(|(name, _)| name.as_str()).collect();
                let place = format!("{} with {}", file.display(), names.join(", "));
                ConfigError::Parse { place, message: error.to_string().trim_end().replace('\n', " ") }
            })?
        };
        config.resolve(file.parent().unwrap_or(Path::new("")));
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Invalid { file: file.to_owned(), problems })
    }

    /// The built-in policies of this cluster, then the declared ones.
    #[must_use]
    pub fn all_policies(&self) -> Vec<Policy> {
        let mut all = Policy::built_in(&self.cluster.data_regions(), self.cluster.witness.as_ref());
        all.extend(self.policies.iter().cloned());
        all
    }

    /// Every path that the configuration names.
    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.ca, &mut tls.cert, &mut tls.key]);
        let zones = self.dns.zone_files.iter_mut().map(|entry| &mut entry.file);
        let zones = zones.chain(self.dns.zone_keys.iter_mut().map(|entry| &mut entry.file));
        let files =
            tls.chain(&mut self.auth.bootstrap_credentials).chain(zones).chain(&mut self.dns.database);
        let edge = self.edge.certificates.iter_mut().flat_map(|entry| [&mut entry.cert, &mut entry.key]);
        let edge = edge.chain(&mut self.edge.backend_ca);
        std::iter::once(&mut self.node.data_dir).chain(files).chain(edge)
    }

    fn resolve(&mut self, base: &Path) {
        for path in self.paths_mut().filter(|path| !path.as_os_str().is_empty()) {
            *path = base.join(&*path);
        }
    }
}

fn read_bounded(file: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let read = || {
        let mut text = String::new();
        std::fs::File::open(file)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| ConfigError::read(file, source))?;
    if text.len() as u64 <= MAX_FILE {
        return Ok(text);
    }
    let problem = format!("the file is larger than {} KiB; is it the right one?", MAX_FILE >> 10);
    Err(ConfigError::Invalid { file: file.to_owned(), problems: vec![problem] })
}

#[cfg(test)]
mod tests;
