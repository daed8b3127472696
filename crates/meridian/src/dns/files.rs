//! Zone files, keys of zones and the database of networks: read at the start, and again when they change.

use crate::config::DnsSection;
use hickory_proto::rr::{Name, RData};
use meridian_dns::dnssec::{KeyError, Signer};
use meridian_dns::geo::{Database, DatabaseError};
use meridian_dns::zone::{ZoneFile, ZoneFileError};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};

/// How often names outside are resolved.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How long one may take.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(2);
/// The most names that are resolved.
const MAX_ALIASES: usize = 64;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no zone file.
    #[error("{}: {source}", path.display())]
    Zone {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ZoneFileError,
    },
    /// It holds no keys.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// It is no database.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// What the files said when they were last whole.
#[derive(Default)]
pub struct Files {
    /// The zone files.
    pub zones: Vec<ZoneFile>,
    /// What signs zones.
    pub signers: Vec<Arc<Signer>>,
    /// The database.
    pub database: Option<Arc<Database>>,
    /// How often they were taken up.
    pub version: u32,
    /// When each file was last changed, as far as it was taken up or found wanting.
    stamps: BTreeMap<PathBuf, Option<SystemTime>>,
}

impl Files {
    /// Reads all that the section names.
    ///
    /// # Errors
    /// [`FilesError`] for the first one that cannot be used.
    pub fn load(section: &DnsSection) -> Result<Self, FilesError> {
        let stamps = stamps(section);
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| FilesError::Read { path: path.to_owned(), source })
        };
        let mut zones = Vec::new();
        for entry in &section.zone_files {
            let path = entry.file.clone();
            let text = read(&path)?;
            zones.push(
                ZoneFile::parse(&name(entry.zone.as_str()), &text)
                    .map_err(|source| FilesError::Zone { path, source })?,
            );
        }
        let mut signers = Vec::new();
        for entry in &section.zone_keys {
            let path = entry.file.clone();
            let signer = Signer::from_pem(&name(entry.zone.as_str()), read(&path)?.as_bytes());
            signers.push(Arc::new(signer.map_err(|source| FilesError::Key { path, source })?));
        }
        let database = section.database.as_deref().map(Database::open).transpose()?.map(Arc::new);
        Ok(Self { zones, signers, database, version: 0, stamps })
    }

    /// Reads everything again if a file has changed. Of files that cannot be used, what they said before stays.
    pub(super) async fn look_again(&mut self, section: &DnsSection) -> bool {
        if self.stamps.is_empty() {
            return false;
        }
        let (known, section) = (self.stamps.clone(), section.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now = stamps(&section);
            (now != known).then(|| (Self::load(&section), now))
        });
        match looked.await {
            Ok(Some((Ok(files), _))) => {
                *self = Self { version: self.version + 1, ..files };
                tracing::info!(zones = self.zones.len(), "the files of DNS were read again");
                true
            }
            Ok(Some((Err(error), now))) => {
                tracing::error!(%error, "a file of DNS cannot be used; what it said before stays");
                self.stamps = now;
                false
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "the files of DNS could not be looked at");
                false
            }
        }
    }
}

fn stamps(section: &DnsSection) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let files = section.zone_files.iter().map(|entry| &entry.file);
    let files = files.chain(section.zone_keys.iter().map(|entry| &entry.file)).chain(&section.database);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    files.map(|path| (path.clone(), changed(path))).collect()
}

/// A host name of ours as hickory's: fully qualified, and known to be valid.
pub(super) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap_or_default();
    name.set_fqdn(true);
    name
}

/// What aliases at the apex of zones are resolved to, where they lead outside.
#[derive(Default)]
pub(super) struct Aliases {
    found: Arc<BTreeMap<Name, Vec<IpAddr>>>,
    at: Option<(Instant, u32)>,
}

impl Aliases {
    /// What was found.
    pub(super) fn found(&self) -> Arc<BTreeMap<Name, Vec<IpAddr>>> {
        Arc::clone(&self.found)
    }

    /// Resolves again when it is time; answers whether anything has changed. A name that cannot be resolved keeps its addresses.
    pub(super) async fn resolve(&mut self, files: &Files) -> bool {
        let due = |(at, version): &(Instant, u32)| at.elapsed() >= RESOLVE_EVERY || *version != files.version;
        if !self.at.as_ref().is_none_or(due) {
            return false;
        }
        self.at = Some((Instant::now(), files.version));
        let mut found = BTreeMap::new();
        for target in targets(files) {
            let known = self.found.get(&target).cloned();
            let text = target.to_ascii();
            let host = text.trim_end_matches('.').to_owned();
            let addresses = match timeout(RESOLVE_PATIENCE, tokio::net::lookup_host((host, 0))).await {
                Ok(Ok(sockets)) => {
                    let addresses: BTreeSet<IpAddr> = sockets.map(|socket| socket.ip()).collect();
                    Some(addresses.into_iter().collect())
                }
                Ok(Err(_)) | Err(_) => known,
            };
            found.extend(addresses.map(|addresses| (target, addresses)));
        }
        let changed = found != *self.found;
        self.found = Arc::new(found);
        changed
    }
}

fn targets(files: &Files) -> Vec<Name> {
    let mut targets: Vec<Name> = Vec::new();
    for file in &files.zones {
        let apex = file.records.iter().filter(|record| record.name == file.origin);
        for record in apex {
            if let RData::CNAME(alias) = &record.data
                && !targets.contains(&alias.0)
            {
                targets.push(alias.0.clone());
            }
        }
    }
    targets.truncate(MAX_ALIASES);
    targets
}
