//! The admin API as the command line calls it.

use super::anycast::AnycastStatus;
use super::conflicts::{ConflictEntry, ConflictId, ConflictList, ResolveConflict, TableChecksum};
use super::failover::{Expel, ExpulsionPlan, Failover, FailoverDone, FailoverPlan};
use super::jwt::{
    CreateSigningKey, SignToken, SignedToken, SigningKeyInfo, SigningKeyList, VerifiedToken, VerifyToken,
};
use super::members::{CreateJoinToken, Join, Joined, NewJoinToken, NodeList};
use super::salvage::{SalvageDone, SalvageEntry, SalvageId, SalvageList, SalvageOrder};
use super::services::{PurgeOrder, ServiceList, ServicesStatus};
use super::types::{
    CreateKey, CreateTable, ErrorBody, Health, KeyList, MoveTable, NewKey, PolicyList, Status, Switched,
    Switchover, TableInfo, TableList,
};
use crate::config::Secret;
use crate::http::{ClientError, Endpoint, Reply, request};
use hyper::{Method, StatusCode};
use meridian_types::{NodeName, Policy, PolicyName, RegionName, Service, ServiceName, TableName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longer than the server's own limit, so that its answer wins.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Why an admin request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// Nobody answers there, or not in time.
    #[error("{0}")]
    Unreachable(#[from] ClientError),
    /// The admin API refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// Something else listens there.
    #[error(
        "{endpoint} is the DynamoDB API; commands talk to the admin API, by default one port up: --endpoint {hint}"
    )]
    DataPort {
        /// What was tried.
        endpoint: Endpoint,
        /// What to try.
        hint: Endpoint,
    },
    /// Something else listens there, and it is not Meridian.
    #[error("{endpoint} does not answer as Meridian's admin API ({status}); check --endpoint")]
    Foreign {
        /// What was tried.
        endpoint: Endpoint,
        /// What it answered.
        status: StatusCode,
    },
}

/// A client of one node's admin API.
#[derive(Clone, Debug)]
pub struct AdminClient {
    endpoint: Endpoint,
    token: Option<Secret>,
    timeout: Duration,
}

type Result<T> = std::result::Result<T, AdminClientError>;

impl AdminClient {
    /// A client; connects when asked.
    #[must_use]
    pub fn new(endpoint: Endpoint, token: Option<Secret>) -> Self {
        Self { endpoint, token, timeout: TIMEOUT }
    }

    /// The same client with another time limit a request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where it connects.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| ClientError::Broken {
            endpoint: self.endpoint.clone(),
            reason: format!("the request cannot be written as JSON: {error}"),
        })?;
        let token = self.token.as_ref().map(Secret::expose);
        let reply = request(&self.endpoint, method, path, token, body, self.timeout).await?;
        if reply.status.is_success() {
            // An empty answer stands for `null`, which reads as `()`.
            let body: &[u8] = if reply.body.is_empty() { b"null" } else { &reply.body };
            return serde_json::from_slice(body).map_err(|_| self.foreign(&reply));
        }
        match ErrorBody::message_of(&reply.body) {
            Some(message) => Err(AdminClientError::Refused { status: reply.status, message }),
            None => Err(self.foreign(&reply)),
        }
    }

    /// Names what answered instead of the admin API.
    fn foreign(&self, reply: &Reply) -> AdminClientError {
        let dynamodb = reply.headers.keys().any(|name| name.as_str().starts_with("x-amz"))
            || reply.headers.contains_key("x-meridian-node")
            || reply
                .headers
                .get("content-type")
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz"));
        let endpoint = self.endpoint.clone();
        if dynamodb {
            let hint = endpoint.with_port(endpoint.port().saturating_add(1));
            return AdminClientError::DataPort { endpoint, hint };
        }
        AdminClientError::Foreign { endpoint, status: reply.status }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, None::<&()>).await
    }

    /// `GET /v1/health`.
    ///
    /// # Errors
    /// As all of them: [`AdminClientError`].
    pub async fn health(&self) -> Result<Health> {
        self.get("/v1/health").await
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn status(&self) -> Result<Status> {
        self.get("/v1/status").await
    }

    /// `GET /v1/tables`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn tables(&self) -> Result<TableList> {
        self.get("/v1/tables").await
    }

    /// `GET /v1/tables/{name}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn table(&self, name: &TableName) -> Result<TableInfo> {
        self.get(&format!("/v1/tables/{name}")).await
    }

    /// `POST /v1/tables`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn create_table(&self, request: &CreateTable) -> Result<TableInfo> {
        self.send(Method::POST, "/v1/tables", Some(request)).await
    }

    /// `DELETE /v1/tables/{name}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn delete_table(&self, name: &TableName) -> Result<()> {
        self.send(Method::DELETE, &format!("/v1/tables/{name}"), None::<&()>).await
    }

    /// `POST /v1/tables/NAME/move`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn move_table(&self, name: &TableName, request: &MoveTable) -> Result<TableInfo> {
        self.send(Method::POST, &format!("/v1/tables/{name}/move"), Some(request)).await
    }

    /// `DELETE /v1/tables/NAME/move`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn cancel_move(&self, name: &TableName) -> Result<()> {
        self.send(Method::DELETE, &format!("/v1/tables/{name}/move"), None::<&()>).await
    }

    /// `GET /v1/policies`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn policies(&self) -> Result<PolicyList> {
        self.get("/v1/policies").await
    }

    /// `POST /v1/policies`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn create_policy(&self, policy: &Policy) -> Result<Policy> {
        self.send(Method::POST, "/v1/policies", Some(policy)).await
    }

    /// `PUT /v1/policies/{name}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn update_policy(&self, policy: &Policy) -> Result<Policy> {
        self.send(Method::PUT, &format!("/v1/policies/{}", policy.name), Some(policy)).await
    }

    /// `GET /v1/nodes`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn nodes(&self) -> Result<NodeList> {
        self.get("/v1/nodes").await
    }

    /// `POST /v1/nodes/tokens`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn create_join_token(&self, request: &CreateJoinToken) -> Result<NewJoinToken> {
        self.send(Method::POST, "/v1/nodes/tokens", Some(request)).await
    }

    /// `POST /v1/nodes/join`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn join(&self, request: &Join) -> Result<Joined> {
        self.send(Method::POST, "/v1/nodes/join", Some(request)).await
    }

    /// `POST /v1/nodes/{name}/leave`, or `remove` for a node that is lost.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn leave(&self, name: &NodeName, lost: bool) -> Result<()> {
        let order = if lost { "remove" } else { "leave" };
        self.send(Method::POST, &format!("/v1/nodes/{name}/{order}"), None::<&()>).await
    }

    /// `POST /v1/switchover`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn switch_over(&self, request: &Switchover) -> Result<Switched> {
        self.send(Method::POST, "/v1/switchover", Some(request)).await
    }

    /// `POST /v1/regions/{name}/drain` or `undrain`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn drain_region(&self, region: &RegionName, drained: bool) -> Result<()> {
        let order = if drained { "drain" } else { "undrain" };
        self.send(Method::POST, &format!("/v1/regions/{region}/{order}"), None::<&()>).await
    }

    /// `GET /v1/regions/{name}/expel`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn expulsion_plan(&self, region: &RegionName) -> Result<ExpulsionPlan> {
        self.get(&format!("/v1/regions/{region}/expel")).await
    }

    /// `POST /v1/regions/{name}/expel`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn expel_region(&self, region: &RegionName, order: Expel) -> Result<FailoverDone> {
        self.send(Method::POST, &format!("/v1/regions/{region}/expel"), Some(&order)).await
    }

    /// `POST /v1/regions/{name}/readmit`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn readmit_region(&self, region: &RegionName) -> Result<()> {
        self.send(Method::POST, &format!("/v1/regions/{region}/readmit"), None::<&()>).await
    }

    /// `GET /v1/failover`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn failover_plan(
        &self,
        from: &RegionName,
        policy: Option<&PolicyName>,
    ) -> Result<FailoverPlan> {
        // Names are made of letters, digits, `-`, `_` and `.`: nothing to escape.
        let policy = policy.map(|policy| format!("&policy={policy}")).unwrap_or_default();
        self.get(&format!("/v1/failover?from={from}{policy}")).await
    }

    /// `POST /v1/failover`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn failover(&self, order: &Failover) -> Result<FailoverDone> {
        self.send(Method::POST, "/v1/failover", Some(order)).await
    }

    /// `GET /v1/tables/{name}/checksum`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn checksum(&self, name: &TableName) -> Result<TableChecksum> {
        self.get(&format!("/v1/tables/{name}/checksum")).await
    }

    /// `GET /v1/conflicts`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn conflicts(&self, table: Option<&TableName>) -> Result<ConflictList> {
        let table = table.map(|table| format!("?table={table}")).unwrap_or_default();
        self.get(&format!("/v1/conflicts{table}")).await
    }

    /// `GET /v1/conflicts/{id}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn conflict(&self, id: ConflictId) -> Result<ConflictEntry> {
        self.get(&format!("/v1/conflicts/{id}")).await
    }

    /// `POST /v1/conflicts/{id}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn resolve_conflict(&self, id: ConflictId, order: &ResolveConflict) -> Result<ConflictEntry> {
        self.send(Method::POST, &format!("/v1/conflicts/{id}"), Some(order)).await
    }

    /// `GET /v1/salvage`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn salvage(&self, after: Option<SalvageId>) -> Result<SalvageList> {
        let after = after.map(|id| format!("?after={id}")).unwrap_or_default();
        self.get(&format!("/v1/salvage{after}")).await
    }

    /// `GET /v1/salvage/{id}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn salvage_entry(&self, id: SalvageId) -> Result<SalvageEntry> {
        self.get(&format!("/v1/salvage/{id}")).await
    }

    /// `POST /v1/salvage`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn decide_salvage(&self, order: &SalvageOrder) -> Result<SalvageDone> {
        self.send(Method::POST, "/v1/salvage", Some(order)).await
    }

    /// `GET /v1/keys`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn keys(&self) -> Result<KeyList> {
        self.get("/v1/keys").await
    }

    /// `POST /v1/keys`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn create_key(&self, request: &CreateKey) -> Result<NewKey> {
        self.send(Method::POST, "/v1/keys", Some(request)).await
    }

    /// `DELETE /v1/keys/{id}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn delete_key(&self, access_key_id: &str) -> Result<()> {
        self.send(Method::DELETE, &format!("/v1/keys/{access_key_id}"), None::<&()>).await
    }

    /// `GET /v1/services`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn services(&self) -> Result<ServiceList> {
        self.get("/v1/services").await
    }

    /// `GET /v1/anycast`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn anycast(&self) -> Result<AnycastStatus> {
        self.get("/v1/anycast").await
    }

    /// `GET /v1/services/status`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn services_status(&self) -> Result<ServicesStatus> {
        self.get("/v1/services/status").await
    }

    /// `POST /v1/services`, or `PUT /v1/services/{name}` to replace one.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn put_service(&self, service: &Service, new: bool) -> Result<Service> {
        let (method, path) = match new {
            true => (Method::POST, "/v1/services".to_owned()),
            false => (Method::PUT, format!("/v1/services/{}", service.name)),
        };
        self.send(method, &path, Some(service)).await
    }

    /// `POST /v1/services/{name}/purge`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn purge_service(&self, name: &ServiceName, order: &PurgeOrder) -> Result<()> {
        self.send(Method::POST, &format!("/v1/services/{name}/purge"), Some(order)).await
    }

    /// `DELETE /v1/services/{name}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn remove_service(&self, name: &ServiceName) -> Result<()> {
        self.send(Method::DELETE, &format!("/v1/services/{name}"), None::<&()>).await
    }

    /// `GET /v1/jwt/keys`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn signing_keys(&self) -> Result<SigningKeyList> {
        self.get("/v1/jwt/keys").await
    }

    /// `POST /v1/jwt/keys`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn create_signing_key(&self, request: &CreateSigningKey) -> Result<SigningKeyInfo> {
        self.send(Method::POST, "/v1/jwt/keys", Some(request)).await
    }

    /// `DELETE /v1/jwt/keys/{kid}`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn delete_signing_key(&self, kid: &str) -> Result<()> {
        self.send(Method::DELETE, &format!("/v1/jwt/keys/{kid}"), None::<&()>).await
    }

    /// `POST /v1/jwt/sign`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn sign_token(&self, request: &SignToken) -> Result<SignedToken> {
        self.send(Method::POST, "/v1/jwt/sign", Some(request)).await
    }

    /// `POST /v1/jwt/verify`.
    ///
    /// # Errors
    /// [`AdminClientError`].
    pub async fn verify_token(&self, request: &VerifyToken) -> Result<VerifiedToken> {
        self.send(Method::POST, "/v1/jwt/verify", Some(request)).await
    }
}
