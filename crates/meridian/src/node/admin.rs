//! [`ClusterAdmin`] of a running node.

use super::keys::new_key;
use super::scrub::Scrubbed;
use super::{expel, failover, jwt, members, metrics, services, status};
use crate::admin::anycast::AnycastStatus;
use crate::admin::conflicts::{ConflictEntry, ConflictId, ConflictList, ResolveConflict, TableChecksum};
use crate::admin::failover::{Expel, ExpulsionPlan, Failover, FailoverDone, FailoverPlan};
use crate::admin::jwt::{
    CreateSigningKey, SignToken, SignedToken, SigningKeyInfo, SigningKeyList, VerifiedToken,
};
use crate::admin::members::{CreateJoinToken, Join, Joined, NewJoinToken, NodeList};
use crate::admin::salvage::{SalvageDone, SalvageEntry, SalvageId, SalvageList, SalvageOrder};
use crate::admin::services::{ServiceList, ServicesStatus};
use crate::admin::types::{
    CreateKey, CreateTable, Health, KeyAttribute, KeyInfo, KeySpec, KeyType, MoveTable, NewKey, Status,
    Switched, Switchover, TableInfo, TableMoving,
};
use crate::admin::{ApiError, ClusterAdmin, ErrorCode};
use crate::anycast::Anycast;
use crate::health::Health as HealthWatch;
use crate::tables::{CatalogTable, Catalogs, ReplicatedTables};
use meridian_api::{RequestContext, ServedBy, Tables};
use meridian_dns::server::Server as NameServer;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::{self, KeyKind, TableSchema};
use meridian_dynamo::table::{Billing, POLICY_TAG, TableDefinition};
use meridian_edge::server::Server as EdgeServer;
use meridian_replication::system::{AllowList, Credential, SystemCommand, SystemError};
use meridian_replication::{Replication, Unserved};
use meridian_types::{NodeName, Policy, PolicyName, RegionName, Service, ServiceName, TableName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an admin request may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The admin API over this node.
pub struct NodeAdmin {
    replication: Arc<Replication>,
    catalogs: Arc<Catalogs>,
    tables: Arc<ReplicatedTables>,
    here: ServedBy,
    scrubbed: Arc<Scrubbed>,
    serving: Serving,
}

/// What the node does for services.
pub struct Serving {
    /// How they stand.
    pub health: Arc<HealthWatch>,
    /// Its DNS.
    pub name_server: Arc<NameServer>,
    /// Its HTTP edge.
    pub edge: Arc<EdgeServer>,
    /// What it announces by BGP.
    pub anycast: Arc<Anycast>,
}

impl NodeAdmin {
    /// Answers in the name of `here`.
    #[must_use]
    pub fn new(
        replication: Arc<Replication>,
        catalogs: Arc<Catalogs>,
        tables: Arc<ReplicatedTables>,
        here: ServedBy,
        serving: Serving,
    ) -> Self {
        Self { replication, catalogs, tables, here, scrubbed: Arc::default(), serving }
    }

    /// Where the scrubber counts.
    pub(super) fn scrubbed(&self) -> Arc<Scrubbed> {
        Arc::clone(&self.scrubbed)
    }

    /// Catches up with the system leader, so that what another node has changed is seen.
    async fn catch_up(&self) {
        self.replication.system_barrier(Instant::now() + Duration::from_secs(1)).await;
    }

    async fn command(&self, command: SystemCommand) -> Result<(), ApiError> {
        let done = self.replication.system_write(command, Instant::now() + DEADLINE).await;
        done.map_err(unserved)?.map(drop).map_err(refused)
    }

    fn info(&self, name: &TableName, table: &CatalogTable) -> TableInfo {
        let catalog = self.catalogs.newest();
        let entry = catalog.system.tables.get(name);
        TableInfo {
            name: name.clone(),
            id: table.description.id,
            key: key_spec(&table.description.definition.schema),
            policy: table.policy.clone(),
            groups: entry.map(|entry| catalog.system.groups_of(entry)).unwrap_or_default(),
            moving: catalog.system.tables.get(name).and_then(|entry| entry.moving.as_ref()).map(|moving| {
                TableMoving { to: moving.to.clone(), phase: moving.phase, copied_items: moving.copied() }
            }),
        }
    }
}

fn context() -> RequestContext {
    RequestContext { token: None, max_staleness: None, deadline: Instant::now() + DEADLINE }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn unserved(error: Unserved) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn refused(error: SystemError) -> ApiError {
    let code = match &error {
        SystemError::TableExists(_)
        | SystemError::TableBusy(_)
        | SystemError::NotMoving(_)
        | SystemError::PolicyExists(_)
        | SystemError::PolicyChanged(_)
        | SystemError::StalePlan
        | SystemError::NodeExists(_)
        | SystemError::NodeAnswers(_)
        | SystemError::NodeSilent(_)
        | SystemError::LastRegion { .. }
        | SystemError::NotExpelled(_)
        | SystemError::RegionAnswers(_)
        | SystemError::RegionSilent(_)
        | SystemError::HasSalvage(_)
        | SystemError::BeingFounded(_)
        | SystemError::OtherDisk(_)
        | SystemError::LevelTooLow { .. }
        | SystemError::ServiceExists(_)
        | SystemError::HostTaken { .. }
        | SystemError::TimeToLiveEnabled
        | SystemError::TimeToLiveDisabled
        | SystemError::TimeToLiveElsewhere(_)
        | SystemError::SigningKeyExists
        | SystemError::StaleRefounding { .. } => ErrorCode::Conflict,
        SystemError::BadToken(_) => ErrorCode::Unauthorized,
        SystemError::NoSuchTable(_)
        | SystemError::NoSuchPolicy(_)
        | SystemError::NoSuchRegion(_)
        | SystemError::NoSuchNode(_)
        | SystemError::NoSuchGroup(_)
        | SystemError::NoSuchService(_)
        | SystemError::NoSigningKey
        | SystemError::NoSuchSigningKey(_)
        | SystemError::NoSuchCredential(_) => ErrorCode::NotFound,
        SystemError::BadPolicy(_) | SystemError::Limit { .. } => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, error.to_string())
}

fn from_dynamo(error: &DynamoError) -> ApiError {
    let code = match error {
        DynamoError::ResourceInUse(_) => ErrorCode::Conflict,
        DynamoError::ResourceNotFound(_) => ErrorCode::NotFound,
        error if error.retryable() => ErrorCode::Unavailable,
        _ => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, error.to_string())
}

fn no_table(name: &TableName) -> ApiError {
    ApiError::not_found(format!("table {name} does not exist; `meridian table list` shows those that do"))
}

fn key_spec(schema: &TableSchema) -> KeySpec {
    let attribute = |attribute: &key::KeyAttribute| KeyAttribute {
        name: attribute.name.clone(),
        kind: match attribute.kind {
            KeyKind::S => KeyType::S,
            KeyKind::N => KeyType::N,
            KeyKind::B => KeyType::B,
        },
    };
    KeySpec { partition: attribute(&schema.partition), sort: schema.sort.as_ref().map(attribute) }
}

fn schema(spec: KeySpec) -> TableSchema {
    let attribute = |attribute: KeyAttribute| key::KeyAttribute {
        name: attribute.name,
        kind: match attribute.kind {
            KeyType::S => KeyKind::S,
            KeyType::N => KeyKind::N,
            KeyType::B => KeyKind::B,
        },
    };
    TableSchema { partition: attribute(spec.partition), sort: spec.sort.map(attribute) }
}

#[async_trait::async_trait]
impl ClusterAdmin for NodeAdmin {
    async fn health(&self) -> Health {
        Health {
            ready: self.replication.is_ready(),
            node: self.here.node.clone(),
            region: self.here.region.clone(),
        }
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Ok(status::gather(&self.replication).await)
    }

    async fn tables(&self) -> Result<Vec<TableInfo>, ApiError> {
        self.catch_up().await;
        Ok(self.catalogs.newest().tables().map(|(name, table)| self.info(name, table)).collect())
    }

    async fn table(&self, name: &TableName) -> Result<TableInfo, ApiError> {
        self.catch_up().await;
        let catalog = self.catalogs.newest();
        catalog.table(name).map(|table| self.info(name, table)).ok_or_else(|| no_table(name))
    }

    async fn create_table(&self, request: CreateTable) -> Result<TableInfo, ApiError> {
        self.catch_up().await;
        if !self.catalogs.newest().system.policies.contains_key(&request.policy) {
            return Err(refused(SystemError::NoSuchPolicy(request.policy)));
        }
        let definition = TableDefinition {
            name: request.name.clone(),
            schema: schema(request.key),
            billing: Billing::PayPerRequest,
            class: None,
            deletion_protection: false,
            tags: BTreeMap::from([(POLICY_TAG.to_owned(), request.policy.to_string())]),
        };
        self.tables.create_table(&context(), definition).await.map_err(|error| from_dynamo(&error))?;
        let catalog = self.catalogs.newest();
        let table = catalog.table(&request.name).ok_or_else(|| no_table(&request.name))?;
        Ok(self.info(&request.name, table))
    }

    async fn delete_table(&self, name: &TableName) -> Result<(), ApiError> {
        let deleted = self.tables.delete_table(&context(), name).await;
        deleted.map(drop).map_err(|error| match error {
            DynamoError::ResourceNotFound(_) => no_table(name),
            other => from_dynamo(&other),
        })
    }

    async fn checksum(&self, name: &TableName) -> Result<TableChecksum, ApiError> {
        let found = self.tables.checksum(name, Instant::now() + DEADLINE).await;
        found.map_err(|error| from_dynamo(&error))?.ok_or_else(|| no_table(name))
    }

    async fn conflicts(&self, table: Option<&TableName>) -> Result<ConflictList, ApiError> {
        self.catch_up().await;
        let found = self.tables.conflicts(table, Instant::now() + DEADLINE).await;
        found.map_err(|error| from_dynamo(&error))
    }

    async fn conflict(&self, id: ConflictId) -> Result<ConflictEntry, ApiError> {
        let found = self.tables.conflict(id, Instant::now() + DEADLINE).await;
        found.map_err(|error| from_dynamo(&error))?.ok_or_else(|| no_conflict(id))
    }

    async fn resolve_conflict(
        &self,
        id: ConflictId,
        order: ResolveConflict,
    ) -> Result<ConflictEntry, ApiError> {
        let done = self.tables.resolve_conflict(&context(), id, &order).await;
        done.map_err(|error| from_dynamo(&error))?.ok_or_else(|| no_conflict(id))
    }

    async fn move_table(&self, name: &TableName, request: MoveTable) -> Result<TableInfo, ApiError> {
        self.command(SystemCommand::MoveTable { name: name.clone(), to: request.policy }).await?;
        self.table(name).await
    }

    async fn cancel_move(&self, name: &TableName) -> Result<(), ApiError> {
        self.command(SystemCommand::CancelMove { name: name.clone(), id: None }).await
    }

    async fn policies(&self) -> Result<Vec<Policy>, ApiError> {
        self.catch_up().await;
        let state = self.replication.system();
        // By group: in the order in which they were made, so built-in ones first.
        let mut entries: Vec<_> = state.policies.values().collect();
        entries.sort_by_key(|entry| entry.groups.first().copied());
        Ok(entries.into_iter().map(|entry| entry.policy.clone()).collect())
    }

    async fn create_policy(&self, policy: Policy) -> Result<Policy, ApiError> {
        let command = self.replication.place_policy(&policy).map_err(refused)?;
        self.command(command).await?;
        Ok(policy)
    }

    async fn update_policy(&self, policy: Policy) -> Result<Policy, ApiError> {
        self.catch_up().await;
        let state = self.replication.system();
        let entry = state.policies.get(&policy.name);
        let was = &entry.ok_or_else(|| refused(SystemError::NoSuchPolicy(policy.name.clone())))?.policy;
        if policy.pattern != was.pattern {
            return Err(ApiError::invalid(format!(
                "policy {}: the pattern cannot be changed; it is {}",
                was.name, was.pattern
            )));
        }
        let command = self.replication.replace_policy(was, policy.clone()).map_err(refused)?;
        self.command(command).await?;
        Ok(policy)
    }

    async fn nodes(&self) -> Result<NodeList, ApiError> {
        self.catch_up().await;
        Ok(members::list(&self.replication).await)
    }

    async fn create_join_token(&self, request: CreateJoinToken) -> Result<NewJoinToken, ApiError> {
        members::create_token(&self.replication, request).await
    }

    async fn join(&self, request: Join) -> Result<Joined, ApiError> {
        members::join(&self.replication, request).await
    }

    async fn leave(&self, name: &NodeName, lost: bool) -> Result<(), ApiError> {
        members::leave(&self.replication, name, lost).await
    }

    async fn switch_over(&self, request: Switchover) -> Result<Switched, ApiError> {
        self.catch_up().await;
        let plan = self.replication.plan_switchover(&request.to, request.policy.as_ref()).map_err(refused)?;
        let mut policies = Vec::new();
        for (policy, command) in plan {
            self.command(command).await?;
            policies.push(policy);
        }
        Ok(Switched { policies })
    }

    async fn drain_region(&self, region: &RegionName, drained: bool) -> Result<(), ApiError> {
        self.command(SystemCommand::DrainRegion { region: region.clone(), drained }).await
    }

    async fn expulsion_plan(&self, region: &RegionName) -> Result<ExpulsionPlan, ApiError> {
        self.catch_up().await;
        expel::plan(&self.replication, region).await
    }

    async fn expel_region(&self, region: &RegionName, order: Expel) -> Result<FailoverDone, ApiError> {
        expel::execute(&self.replication, region, order).await
    }

    async fn readmit_region(&self, region: &RegionName) -> Result<(), ApiError> {
        expel::readmit(&self.replication, region).await
    }

    async fn failover_plan(
        &self,
        from: RegionName,
        policy: Option<PolicyName>,
    ) -> Result<FailoverPlan, ApiError> {
        failover::plan(&self.replication, from, policy).await
    }

    async fn failover(&self, order: Failover) -> Result<FailoverDone, ApiError> {
        failover::execute(&self.replication, order).await
    }

    async fn salvage(&self, after: Option<SalvageId>) -> Result<SalvageList, ApiError> {
        self.catch_up().await;
        self.tables.salvage(after, Instant::now() + DEADLINE).await.map_err(unserved)
    }

    async fn salvage_entry(&self, id: SalvageId) -> Result<SalvageEntry, ApiError> {
        self.catch_up().await;
        let entry = self.tables.salvage_entry(id, Instant::now() + DEADLINE).await.map_err(unserved)?;
        entry.ok_or_else(|| {
            ApiError::not_found(format!(
                "there is no entry {id} to decide on; `meridian salvage list` shows them"
            ))
        })
    }

    async fn decide_salvage(&self, order: SalvageOrder) -> Result<SalvageDone, ApiError> {
        self.catch_up().await;
        Ok(self.tables.decide_salvage(&order, Instant::now() + DEADLINE).await)
    }

    async fn keys(&self) -> Result<Vec<KeyInfo>, ApiError> {
        self.catch_up().await;
        let state = self.replication.system();
        Ok(state
            .credentials
            .iter()
            .map(|(id, credential)| KeyInfo {
                access_key_id: id.clone(),
                name: credential.name.clone(),
                tables: credential.tables.0.clone(),
                actions: credential.actions.0.clone(),
            })
            .collect())
    }

    async fn create_key(&self, request: CreateKey) -> Result<NewKey, ApiError> {
        let key = new_key();
        let credential = Credential {
            name: request.name,
            secret_access_key: key.secret_access_key.expose().to_owned(),
            tables: AllowList(request.tables),
            actions: AllowList(request.actions),
        };
        self.command(SystemCommand::PutCredential { access_key_id: key.access_key_id.clone(), credential })
            .await?;
        Ok(key)
    }

    async fn delete_key(&self, access_key_id: &str) -> Result<(), ApiError> {
        self.command(SystemCommand::DeleteCredential(access_key_id.to_owned())).await
    }

    async fn services(&self) -> Result<ServiceList, ApiError> {
        self.catch_up().await;
        let state = self.replication.system();
        Ok(ServiceList { services: state.services().by_name.values().cloned().collect() })
    }

    async fn anycast(&self) -> Result<AnycastStatus, ApiError> {
        Ok(self.serving.anycast.status(&self.here.node))
    }

    async fn services_status(&self) -> Result<ServicesStatus, ApiError> {
        // What this node judges by, whether or not the system group can be reached.
        Ok(services::status(&self.serving, &self.replication.system(), &self.here.node))
    }

    async fn put_service(&self, service: Service, new: bool) -> Result<Service, ApiError> {
        self.command(SystemCommand::PutService { service: service.clone(), new }).await?;
        Ok(service)
    }

    async fn remove_service(&self, name: &ServiceName) -> Result<(), ApiError> {
        self.command(SystemCommand::RemoveService(name.clone())).await
    }

    async fn purge_service(&self, name: &ServiceName, tag: Option<String>) -> Result<(), ApiError> {
        self.command(SystemCommand::PurgeService { service: name.clone(), tag }).await
    }

    async fn signing_keys(&self) -> Result<SigningKeyList, ApiError> {
        self.catch_up().await;
        Ok(jwt::list(&self.replication))
    }

    async fn create_signing_key(&self, request: CreateSigningKey) -> Result<SigningKeyInfo, ApiError> {
        jwt::create(&self.replication, request).await
    }

    async fn delete_signing_key(&self, kid: &str) -> Result<(), ApiError> {
        jwt::delete(&self.replication, kid).await
    }

    async fn key_set(&self) -> serde_json::Value {
        jwt::key_set(&self.replication)
    }

    async fn sign_token(&self, request: SignToken) -> Result<SignedToken, ApiError> {
        jwt::sign(&self.replication, request)
    }

    async fn verify_token(&self, token: &str) -> Result<VerifiedToken, ApiError> {
        Ok(jwt::verify(&self.replication, token).await)
    }

    async fn metrics(&self) -> String {
        let conflicts = self.tables.conflict_counts(Instant::now() + DEADLINE).await;
        let state = self.replication.system();
        let name = |node| state.nodes.get(&node).map_or_else(String::new, |node| node.name.to_string());
        let blocked = self.tables.tombstones_wait();
        let blocked = blocked.into_iter().map(|(group, node)| (group, name(node))).collect();
        let active = metrics::Active { conflicts, blocked, expired: self.tables.expired_items() };
        let mut text = metrics::text(&self.replication, &self.scrubbed, &active);
        services::metrics(&self.serving.health, &mut text);
        crate::dns::metrics(&self.serving.name_server, &mut text);
        crate::edge::metrics(&self.serving.edge, state.services(), &mut text);
        self.serving.anycast.metrics(&mut text);
        text
    }
}

fn no_conflict(id: ConflictId) -> ApiError {
    ApiError::not_found(format!(
        "there is no conflict {id}; `meridian conflicts list` shows those that there are"
    ))
}
