//! The folder of a development cluster: what lies where, who holds it, and what an earlier run left behind.
//!
//! ```text
//! DIR/cluster.json          while the cluster runs
//! DIR/dev.lock              held by the supervisor; its process id inside
//! DIR/dev.toml              the nodes that the data belongs to
//! DIR/credentials.toml      the first access key
//! DIR/certs/                made anew by every run
//! DIR/nodes/NODE/           config.toml and data/
//! DIR/logs/NODE.log
//! DIR/supervisor.log        what a detached supervisor says
//! ```

use super::cluster_file::{ClusterFile, FILE_NAME};
use super::plan::{Added, Plan};
use crate::cert::{Authority, CertError};
use crate::config::{ConfigError, Credentials, Secret};
use crate::files::{self, PRIVATE, PUBLIC};
use meridian_types::{NodeName, RegionName};
use rand::Rng;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where `meridian dev` keeps a cluster unless told otherwise.
pub const DEFAULT_DIR: &str = "meridian-dev";
const LOCK: &str = "dev.lock";
/// How long a held lock is tried again before the folder counts as taken.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Everything in the folder that is made here; only this is ever removed.
const OWN: [&str; 6] = [FILE_NAME, "dev.toml", "credentials.toml", "certs", "nodes", "logs"];
/// Certificates are made anew by every run, so they need not last.
const CERTIFICATE_DAYS: u32 = 365;
/// A log that is larger when a node starts is set aside as `.old`.
const MAX_LOG: u64 = 16 << 20;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be made or entered.
    #[error("cannot use {} as the cluster's folder: {source}; name another with --dir", dir.display())]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another supervisor runs there.
    #[error("a cluster is already running in {} (process {pid}); stop it with: meridian dev stop --dir {}", dir.display(), dir.display())]
    Running {
        /// The folder.
        dir: PathBuf,
        /// The supervisor.
        pid: String,
    },
    /// The data belongs to other nodes.
    #[error("{} holds a cluster of {found}; start that one, or use --fresh to discard it, or another --dir", dir.display())]
    OtherCluster {
        /// The folder.
        dir: PathBuf,
        /// The nodes that it holds.
        found: String,
    },
    /// A file there cannot be understood.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// A file cannot be written as text.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl FolderError {
    /// The folder itself cannot be made or entered.
    pub(super) fn unusable(dir: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Unusable { dir: dir.to_owned(), source }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError + '_ {
    |source| FolderError::Io { path: path.to_owned(), source }
}

/// The nodes that the folder's data belongs to.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    /// Those of the start.
    nodes: Vec<NodeName>,
    /// Those that joined.
    #[serde(default)]
    added: Vec<Added>,
    /// Those that left.
    #[serde(default)]
    left: Vec<NodeName>,
}

/// The folder, held by this process until dropped.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder when needed and takes hold of it.
    ///
    /// # Errors
    /// [`FolderError::Running`] when another process holds it, [`FolderError::Unusable`] when it cannot be written to.
    pub fn take(dir: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(dir).map_err(FolderError::unusable(dir))?;
        let dir = fs::canonicalize(dir).map_err(FolderError::unusable(dir))?;
        let path = dir.join(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = open.map_err(FolderError::unusable(&dir))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A supervisor that was killed a moment ago may still be ending.
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(&dir).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                    return Err(FolderError::Running { dir, pid });
                }
                Err(TryLockError::Error(source)) => return Err(FolderError::Io { path, source }),
            }
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "{}", std::process::id())?;
            lock.sync_all()
        };
        write(&mut lock).map_err(at(&path))?;
        Ok(Self { dir, lock })
    }

    /// The folder's absolute path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes what an earlier cluster left, and nothing else.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn discard(&self) -> Result<(), FolderError> {
        for name in OWN {
            let path = self.dir.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the data belongs to the planned nodes, and adds those to the plan that joined in earlier runs.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn restore(&self, plan: &mut Plan) -> Result<(), FolderError> {
        let nodes: Vec<NodeName> = plan.nodes.iter().map(|node| node.id.clone()).collect();
        let path = self.layout();
        match fs::read_to_string(&path) {
            Ok(text) => {
                let found: Layout =
                    toml::from_str(&text).map_err(|error| ConfigError::parse(&path, &text, &error))?;
                if found.nodes != nodes {
                    let names: Vec<&str> = found.nodes.iter().map(NodeName::as_str).collect();
                    return Err(FolderError::OtherCluster { dir: self.dir.clone(), found: names.join(", ") });
                }
                plan.restore(&found.added, &found.left);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Remembers which nodes the cluster has by now.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn remember(&self, plan: &Plan) -> Result<(), FolderError> {
        let nodes = Plan::new(plan.options.clone()).map_or_else(|_| Vec::new(), |start| start.nodes);
        let nodes = nodes.into_iter().map(|node| node.id).collect();
        self.write_toml(
            &self.layout(),
            &Layout { nodes, added: plan.added(), left: plan.left.clone() },
            PUBLIC,
        )
    }

    fn layout(&self) -> PathBuf {
        self.dir.join("dev.toml")
    }

    /// Writes everything that the planned nodes need but their configurations. Answers the credentials, which stay the same for the
    /// life of the data, and the authority of this run.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn prepare(&self, plan: &Plan) -> Result<(Credentials, Authority), FolderError> {
        self.remember(plan)?;
        for dir in ["certs", "nodes", "logs"].map(|name| self.dir.join(name)) {
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        let authority = Authority::create()?;
        self.write(&self.ca(), authority.certificate(), PUBLIC)?;
        for node in &plan.nodes {
            self.certify(&authority, &node.id)?;
        }
        Ok((self.make_credentials()?, authority))
    }

    /// Makes a node's certificate.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn certify(&self, authority: &Authority, node: &NodeName) -> Result<(), FolderError> {
        let issued = authority.issue(node, &[], CERTIFICATE_DAYS)?;
        self.write(&self.certificate(node), &issued.certificate, PUBLIC)?;
        self.write(&self.key(node), &issued.key, PRIVATE)
    }

    fn make_credentials(&self) -> Result<Credentials, FolderError> {
        let path = self.credentials();
        if path.exists() {
            return Ok(Credentials::load(&path)?);
        }
        let credentials = random_credentials();
        self.write_toml(&path, &credentials, PRIVATE)?;
        Ok(credentials)
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), FolderError> {
        files::replace(path, text.as_bytes(), mode).map_err(at(path))
    }

    /// Writes `value` as TOML.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn write_toml<T: Serialize>(&self, path: &Path, value: &T, mode: u32) -> Result<(), FolderError> {
        let text = toml::to_string(value)
            .map_err(|error| FolderError::Write { path: path.to_owned(), reason: error.to_string() })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        self.write(path, &text, mode)
    }

    /// Writes `cluster.json`.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn publish(&self, cluster: &ClusterFile) -> Result<(), FolderError> {
        let path = self.dir.join(FILE_NAME);
        let text = serde_json::to_string_pretty(cluster)
            .map_err(|error| FolderError::Write { path: path.clone(), reason: error.to_string() })?;
        self.write(&path, &(text + "\n"), PRIVATE)
    }

    /// Whether `cluster.json` is there; before a run this means that an earlier one was cut off.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.dir.join(FILE_NAME).exists()
    }

    /// Removes `cluster.json`: the cluster does not run.
    pub fn unpublish(&self) {
        // It may not be there; and a stale one is only a nuisance.
        _ = fs::remove_file(self.dir.join(FILE_NAME));
    }

    /// Opens a node's log for appending, setting a large one aside first.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn open_log(&self, node: &NodeName) -> Result<File, FolderError> {
        let path = self.log(node);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG) {
            fs::rename(&path, path.with_extension("log.old")).map_err(at(&path))?;
        }
        OpenOptions::new().append(true).create(true).open(&path).map_err(at(&path))
    }

    /// Ends nodes of an earlier run that outlived their supervisor, as those do that were frozen just then. Answers how
    /// many.
    #[must_use]
    pub fn end_leftovers(&self) -> usize {
        let Some(cluster) = ClusterFile::find(&self.dir) else { return 0 };
        let mut ended = Vec::new();
        for node in cluster.nodes() {
            let config = self.config(&node.id);
            let pid = node
                .pid
                .filter(|&pid| is_node(pid, &config))
                .and_then(|pid| Pid::from_raw(pid.cast_signed()));
            // The process may end by itself in between.
            ended.extend(pid.filter(|&pid| kill_process(pid, Signal::KILL).is_ok()));
        }
        for _ in 0..100 {
            if ended.iter().all(|&pid| test_kill_process(pid).is_err()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        ended.len()
    }

    /// The cluster's certificate authority.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("certs/ca.pem")
    }

    /// A node's certificate.
    #[must_use]
    pub fn certificate(&self, node: &NodeName) -> PathBuf {
        self.dir.join(format!("certs/{node}.pem"))
    }

    /// A node's private key.
    #[must_use]
    pub fn key(&self, node: &NodeName) -> PathBuf {
        self.dir.join(format!("certs/{node}-key.pem"))
    }

    /// The access key's file.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.dir.join("credentials.toml")
    }

    /// A node's configuration.
    #[must_use]
    pub fn config(&self, node: &NodeName) -> PathBuf {
        self.dir.join(format!("nodes/{node}/config.toml"))
    }

    /// A node's data.
    #[must_use]
    pub fn data(&self, node: &NodeName) -> PathBuf {
        self.dir.join(format!("nodes/{node}/data"))
    }

    /// A node's log.
    #[must_use]
    pub fn log(&self, node: &NodeName) -> PathBuf {
        self.dir.join(format!("logs/{node}.log"))
    }

    /// The log of the sample application in a region.
    pub(super) fn app_log(&self, region: &RegionName) -> PathBuf {
        self.dir.join(format!("logs/demo-{region}.log"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The kernel gives the lock up in any case when the file is closed.
        _ = self.lock.unlock();
    }
}

/// The process that holds `dir`, if one does.
pub(super) fn holder(dir: &Path) -> Option<u32> {
    let mut lock = File::open(dir.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            lock.read_to_string(&mut text).ok()?;
            text.trim().parse().ok()
        }
        _ => None,
    }
}

/// Whether process `pid` is a node with this configuration. Process ids are used again, so the command line is asked;
/// where the system does not show it, the answer is no.
fn is_node(pid: u32, config: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let wanted = config.as_os_str().as_encoded_bytes();
    line.split(|&b| b == 0).any(|argument| argument == wanted)
}

/// Keys of the form that AWS gives out, so that tools which check the form are content.
fn random_credentials() -> Credentials {
    const ID: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut draw = |alphabet: &[u8], count: usize| -> String {
        (0..count)
            .filter_map(|_| alphabet.get(random.random_range(0..alphabet.len())).copied().map(char::from))
            .collect()
    };
    Credentials {
        access_key_id: format!("AKIA{}", draw(ID, 16)),
        secret_access_key: Secret::new(draw(SECRET, 40)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let folder = Folder::take(dir.path()).unwrap();
        let error = Folder::take(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("already running") && error.contains(&std::process::id().to_string()),
            "{error}"
        );
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        drop(folder);
        assert_eq!(holder(dir.path()), None);
        Folder::take(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::take(file.path()).unwrap_err();
        assert!(matches!(error, FolderError::Unusable { .. }), "{error:?}");
        assert!(error.to_string().ends_with("name another with --dir"), "{error}");
    }

    #[test]
    fn discarding_touches_nothing_foreign() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("nodes/x")).unwrap();
        fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
        Folder::take(dir.path()).unwrap().discard().unwrap();
        assert!(!dir.path().join("nodes").exists());
        assert!(dir.path().join("thesis.tex").exists());
    }

    #[test]
    fn credentials_look_like_those_of_aws() {
        let made = random_credentials();
        assert_eq!((made.access_key_id.len(), made.secret_access_key.expose().len()), (20, 40));
        assert!(made.access_key_id.starts_with("AKIA"));
        assert_ne!(made, random_credentials());
    }

    #[test]
    fn a_node_that_was_left_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        let node = NodeName::new("a-a-0").unwrap();
        // Stands for a node: its command line names the node's configuration.
        let mut left = std::process::Command::new("sh")
            .args(["-c", "sleep 60; :", "node"])
            .arg(folder.config(&node))
            .spawn()
            .unwrap();
        let text = serde_json::json!({
            "regions": [{ "name": "a", "nodes": [{
                "id": "a-a-0", "pid": left.id(), "zone": "a", "dynamodb": "", "admin": "", "redis": "",
                "edge": "", "dns": "", "peer": "",
            }] }],
            "credentials": { "access_key_id": "", "secret_access_key": "" },
            "supervisor": { "pid": 1, "control": "" },
        });
        fs::write(dir.path().join(FILE_NAME), text.to_string()).unwrap();
        // The command line can be read only a moment after the process has begun.
        let asked = std::time::Instant::now();
        while !is_node(left.id(), &folder.config(&node)) && asked.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        let waiter = std::thread::spawn(move || left.wait().unwrap());
        assert_eq!(folder.end_leftovers(), 1);
        assert!(!waiter.join().unwrap().success());
        assert_eq!(folder.end_leftovers(), 0);
    }

    #[test]
    fn a_foreign_process_is_not_a_leftover() {
        assert!(!is_node(std::process::id(), Path::new("/no/such/config.toml")));
        assert!(!is_node(u32::MAX, Path::new("")));
    }
}
