//! The cluster as its `cluster.json` describes it, the status that its nodes report, and the supervisor's control API.

use crate::client::{Connection, Credentials, Endpoint, SendError, Target};
use crate::error::DrillError;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use meridian_types::{NodeName, PolicyName, RegionName, Replication, ZoneName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// `cluster.json`, as far as drills and benchmarks use it.
#[derive(Clone, Debug, Deserialize)]
pub struct ClusterFile {
    /// The regions, in port order.
    pub regions: Vec<Region>,
    /// The data API's credentials.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Where the supervisor of a development cluster listens.
    #[serde(default)]
    pub supervisor: Option<SupervisorAddress>,
}

/// One region of the file.
#[derive(Clone, Debug, Deserialize)]
pub struct Region {
    /// Its name.
    pub name: RegionName,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// One node of the file.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub id: NodeName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its DynamoDB endpoint.
    pub dynamodb: Endpoint,
    /// Its admin endpoint.
    pub admin: Endpoint,
    /// Its HTTP edge.
    #[serde(default)]
    pub edge: Option<Endpoint>,
    /// Its name server.
    #[serde(default)]
    pub dns: Option<SocketAddr>,
}

/// Where the supervisor listens.
#[derive(Clone, Debug, Deserialize)]
pub struct SupervisorAddress {
    /// The control API.
    pub control: Endpoint,
}

impl ClusterFile {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`DrillError::ClusterFile`] with the path and the reason.
    pub fn read(path: &Path) -> Result<Self, DrillError> {
        let error = |reason: String| DrillError::ClusterFile { path: path.to_owned(), reason };
        let text = std::fs::read(path).map_err(|cause| error(cause.to_string()))?;
        let file: Self = serde_json::from_slice(&text).map_err(|cause| error(cause.to_string()))?;
        match file.regions.iter().find(|region| region.nodes.is_empty()) {
            Some(region) => Err(error(format!("region {} has no node", region.name))),
            None if file.regions.is_empty() => Err(error("it names no region".to_owned())),
            None => Ok(file),
        }
    }

    /// The index of a region.
    ///
    /// # Errors
    /// [`DrillError::UnknownRegion`] with the names that there are.
    pub fn region_index(&self, name: &RegionName) -> Result<usize, DrillError> {
        self.regions.iter().position(|region| region.name == *name).ok_or_else(|| DrillError::UnknownRegion {
            region: name.clone(),
            known: self.regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// How a client reaches node `node` (wrapping around) of region `region`. Without credentials in the file any will do.
    #[must_use]
    pub fn target(&self, region: usize, node: usize) -> Option<Target> {
        let region = self.regions.get(region)?;
        let endpoint = region.nodes.get(node % region.nodes.len().max(1))?.dynamodb.clone();
        let credentials = self.credentials.clone().unwrap_or_else(|| Credentials {
            access_key_id: "anyone".to_owned(),
            secret_access_key: "anything".to_owned(),
        });
        Some(Target { endpoint, region: region.name.to_string(), credentials })
    }
}

/// `GET /v1/status`, as far as drills use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Each region's health as the answering node sees it.
    #[serde(default)]
    pub regions: Vec<RegionStatus>,
    /// Each group's leader.
    #[serde(default)]
    pub groups: Vec<GroupStatus>,
    /// Each policy's replication.
    #[serde(default)]
    pub policies: Vec<PolicyStatus>,
}

/// A policy in the status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PolicyStatus {
    /// Its name.
    pub name: PolicyName,
    /// When its writes are acknowledged.
    pub replication: Replication,
}

/// A region in the status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RegionStatus {
    /// Its name.
    pub name: RegionName,
    /// `healthy` or another word.
    pub health: String,
}

/// A group in the status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GroupStatus {
    /// Its number.
    pub id: u32,
    /// The region that leads it, if one does.
    pub leader_region: Option<RegionName>,
    /// The node that leads it, if one does.
    pub leader: Option<NodeName>,
    /// The policy that it belongs to.
    pub policy: Option<PolicyName>,
}

impl Status {
    /// Whether every region is called healthy.
    #[must_use]
    pub fn all_healthy(&self) -> bool {
        !self.regions.is_empty() && self.regions.iter().all(|region| region.health == "healthy")
    }

    /// When writes of a policy's tables are acknowledged; `None` when the status does not know the policy.
    #[must_use]
    pub fn replication_of(&self, policy: &PolicyName) -> Option<Replication> {
        self.policies.iter().find(|one| one.name == *policy).map(|one| one.replication)
    }

    /// The region that leads the first group of a policy that is led at all.
    #[must_use]
    pub fn home_of(&self, policy: &PolicyName) -> Option<RegionName> {
        self.groups_of(policy).find_map(|group| group.leader_region.clone())
    }

    /// Whether every group of a policy is led from `region`.
    #[must_use]
    pub fn is_led_from(&self, policy: &PolicyName, region: &RegionName) -> bool {
        self.groups_of(policy).next().is_some()
            && self.groups_of(policy).all(|group| group.leader_region.as_ref() == Some(region))
    }

    fn groups_of<'a>(&'a self, policy: &'a PolicyName) -> impl Iterator<Item = &'a GroupStatus> {
        self.groups.iter().filter(move |group| group.policy.as_ref() == Some(policy))
    }

    /// Whether this status shows that the cluster has noticed that `lost` is in trouble, when `before` was normal:
    /// the region is no longer called healthy, or a group that it led is without a leader or is led from elsewhere.
    #[must_use]
    pub fn has_noticed(&self, lost: &RegionName, before: &Status) -> bool {
        let ill = self.regions.iter().any(|region| region.name == *lost && region.health != "healthy");
        let led = |group: &GroupStatus| group.leader_region.as_ref() == Some(lost);
        let moved = |group: &GroupStatus| {
            led(group)
                && self
                    .groups
                    .iter()
                    .any(|now| now.id == group.id && now.leader_region != group.leader_region)
        };
        ill || before.groups.iter().any(moved)
    }
}

/// How long one look at a node or the supervisor may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// The status as the first node says that can be asked.
///
/// # Errors
/// [`DrillError::Unreachable`] when there is none.
pub async fn reach(cluster: &ClusterFile) -> Result<Status, DrillError> {
    let mut reasons = Vec::new();
    for node in cluster.regions.iter().flat_map(|region| &region.nodes) {
        let mut connection = Connection::new(node.admin.clone());
        match status(&mut connection, LOOK_LIMIT).await {
            Ok(status) => return Ok(status),
            Err(reason) => reasons.push(format!("{}: {reason}", node.id)),
        }
    }
    Err(DrillError::Unreachable(reasons.join("; ")))
}

/// Asks one node for its status.
///
/// # Errors
/// Why there is none.
pub async fn status(connection: &mut Connection, limit: Duration) -> Result<Status, String> {
    json_call(connection, Method::GET, "/v1/status", None, limit).await
}

/// The control API of `meridian dev`.
#[derive(Clone, Debug)]
pub struct Supervisor {
    control: Endpoint,
}

impl Supervisor {
    /// The supervisor of a cluster.
    ///
    /// # Errors
    /// [`DrillError::NoSupervisor`] when the file names none: faults are injected through it alone.
    pub fn of(cluster: &ClusterFile) -> Result<Self, DrillError> {
        let address = cluster.supervisor.as_ref().ok_or(DrillError::NoSupervisor)?;
        Ok(Self { control: address.control.clone() })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.control
    }

    /// Whether there are links between regions that could be cut or slowed.
    ///
    /// # Errors
    /// [`DrillError::Supervisor`] with what it said.
    pub async fn has_links(&self) -> Result<bool, DrillError> {
        #[derive(Deserialize)]
        struct Links {
            emulated: bool,
        }
        let mut connection = Connection::new(self.control.clone());
        let answer = json_call(&mut connection, Method::GET, "/v1/links", None, LOOK_LIMIT).await;
        let failed = |reason| DrillError::Supervisor { order: "/v1/links".to_owned(), reason };
        answer.map(|links: Links| links.emulated).map_err(failed)
    }
}

/// One JSON request of the admin or control API; any JSON (or nothing) in the answer.
pub(crate) async fn json_call<T: DeserializeOwned>(
    connection: &mut Connection,
    method: Method,
    path: &str,
    body: Option<&Value>,
    limit: Duration,
) -> Result<T, String> {
    let mut request = Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let response = connection.send(request, limit).await.map_err(|error: SendError| error.to_string())?;
    if !response.status.is_success() {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or("no further word");
        return Err(format!("HTTP {}: {message}", response.status.as_u16()));
    }
    let body: &[u8] = if response.body.is_empty() { b"null" } else { &response.body };
    serde_json::from_slice(body).map_err(|error| format!("the answer is not as expected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"regions":[{"name":"us-east-1","nodes":[{"id":"us-east-1-a-0","pid":123,"zone":"a",
        "dynamodb":"http://127.0.0.1:8000","admin":"http://127.0.0.1:8001","redis":"redis://127.0.0.1:8002",
        "edge":"http://127.0.0.1:8003","dns":"127.0.0.1:8004","peer":"127.0.0.1:8005"}]}],
        "credentials":{"access_key_id":"AK","secret_access_key":"hush"},
        "supervisor":{"pid":1,"control":"http://127.0.0.1:7999"}}"#;

    fn read(text: &str) -> Result<ClusterFile, DrillError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.json");
        std::fs::write(&path, text).unwrap();
        ClusterFile::read(&path)
    }

    #[test]
    fn the_file_of_the_reference_is_read_and_the_secret_stays_out_of_logs() {
        let file = read(FILE).unwrap();
        let target = file.target(0, 5).unwrap();
        assert_eq!(target.endpoint.authority(), "127.0.0.1:8000");
        assert_eq!(target.credentials.access_key_id, "AK");
        assert!(!format!("{file:?}").contains("hush"));
        assert!(Supervisor::of(&file).is_ok());
        let error = file.region_index(&RegionName::new("mars-1").unwrap()).unwrap_err();
        assert!(error.to_string().contains("us-east-1"), "{error}");
    }

    #[test]
    fn a_broken_file_says_which_and_why() {
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"regions":[]}"#, "names no region"),
            (r#"{"regions":[{"name":"a","nodes":[]}]}"#, "has no node"),
            (&FILE.replace("http://127.0.0.1:8000", "ftp://x"), "is not an endpoint"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("cluster.json") && error.contains(expected), "{error}");
        }
    }

    fn seen(text: &str) -> Status {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn trouble_is_noticed_by_health_or_by_a_moved_leader_and_by_nothing_else() {
        let lost = RegionName::new("a").unwrap();
        let before = seen(
            r#"{"regions":[{"name":"a","health":"healthy"},{"name":"b","health":"healthy"}],
                "groups":[{"id":1,"leader_region":"a"},{"id":2,"leader_region":"b"}]}"#,
        );
        assert!(before.all_healthy() && !before.has_noticed(&lost, &before));
        let others = seen(
            r#"{"regions":[{"name":"a","health":"healthy"},{"name":"b","health":"lost"}],
                "groups":[{"id":1,"leader_region":"a"},{"id":2,"leader_region":null}]}"#,
        );
        assert!(!others.has_noticed(&lost, &before));
        for noticed in [
            r#"{"regions":[{"name":"a","health":"lost"}],"groups":[]}"#,
            r#"{"regions":[{"name":"a","health":"healthy"}],"groups":[{"id":1,"leader_region":null}]}"#,
            r#"{"regions":[],"groups":[{"id":1,"leader_region":"c"}]}"#,
        ] {
            assert!(seen(noticed).has_noticed(&lost, &before), "{noticed}");
        }
    }
}
