//! The admin API: `/v1/...` in JSON and `/metrics`, over the [`ClusterAdmin`] trait that a running node implements.

pub mod anycast;
mod client;
pub mod conflicts;
pub mod failover;
pub mod jwt;
pub mod members;
pub mod salvage;
mod server;
pub mod services;
pub mod types;

pub use crate::http::{ApiError, ErrorCode};
pub use client::{AdminClient, AdminClientError};
pub use server::serve;

use anycast::AnycastStatus;
use async_trait::async_trait;
use conflicts::{ConflictEntry, ConflictId, ConflictList, ResolveConflict, TableChecksum};
use failover::{Expel, ExpulsionPlan, Failover, FailoverDone, FailoverPlan};
use jwt::{CreateSigningKey, SignToken, SignedToken, SigningKeyInfo, SigningKeyList, VerifiedToken};
use members::{CreateJoinToken, Join, Joined, NewJoinToken, NodeList};
use meridian_types::{NodeName, Policy, PolicyName, RegionName, Service, ServiceName, TableName};
use salvage::{SalvageDone, SalvageEntry, SalvageId, SalvageList, SalvageOrder};
use services::{ServiceList, ServicesStatus};
use types::{
    CreateKey, CreateTable, Health, KeyInfo, MoveTable, NewKey, Status, Switched, Switchover, TableInfo,
};

/// What the admin API asks of a running node. Answers come from the node's own copy of the system group's state; changes
/// are committed to the system group before they are answered.
///
/// Arguments are already checked for shape ([`CreateKey::validate`] included), not for meaning: whether a policy
/// exists, or fits the cluster's regions, is the implementation's to say.
#[async_trait]
pub trait ClusterAdmin: Send + Sync + 'static {
    /// This node's readiness.
    async fn health(&self) -> Health;

    /// The cluster as this node sees it.
    async fn status(&self) -> Result<Status, ApiError>;

    /// All tables, by name.
    async fn tables(&self) -> Result<Vec<TableInfo>, ApiError>;

    /// One table; [`ErrorCode::NotFound`] when there is none.
    async fn table(&self, name: &TableName) -> Result<TableInfo, ApiError>;

    /// Makes a table; [`ErrorCode::Conflict`] when the name is taken, [`ErrorCode::NotFound`] when the policy is unknown.
    async fn create_table(&self, request: CreateTable) -> Result<TableInfo, ApiError>;

    /// Deletes a table and its items.
    async fn delete_table(&self, name: &TableName) -> Result<(), ApiError>;

    /// A sum over what this node's replicas show of a table.
    async fn checksum(&self, name: &TableName) -> Result<TableChecksum, ApiError>;

    /// Concurrent writes that are in conflict or have lost, of one table or of all.
    async fn conflicts(&self, table: Option<&TableName>) -> Result<ConflictList, ApiError>;

    /// One of them; [`ErrorCode::NotFound`] when there is none of that id.
    async fn conflict(&self, id: ConflictId) -> Result<ConflictEntry, ApiError>;

    /// Writes a value in its place.
    async fn resolve_conflict(
        &self,
        id: ConflictId,
        order: ResolveConflict,
    ) -> Result<ConflictEntry, ApiError>;

    /// Starts moving a table to another policy; [`ErrorCode::Conflict`] when it is on its way to a third.
    async fn move_table(&self, name: &TableName, request: MoveTable) -> Result<TableInfo, ApiError>;

    /// Calls a move off; [`ErrorCode::Conflict`] when there is none.
    async fn cancel_move(&self, name: &TableName) -> Result<(), ApiError>;

    /// All policies, built-in ones first.
    async fn policies(&self) -> Result<Vec<Policy>, ApiError>;

    /// Declares a policy; [`ErrorCode::Conflict`] when the name is taken.
    async fn create_policy(&self, policy: Policy) -> Result<Policy, ApiError>;

    /// Replaces a policy; its groups move to where the new one wants them.
    async fn update_policy(&self, policy: Policy) -> Result<Policy, ApiError>;

    /// All nodes, oldest first.
    async fn nodes(&self) -> Result<NodeList, ApiError>;

    /// Makes a token with which one node may join.
    async fn create_join_token(&self, request: CreateJoinToken) -> Result<NewJoinToken, ApiError>;

    /// Takes a node with a token into the cluster; [`ErrorCode::Unauthorized`] when the token lets nobody in.
    async fn join(&self, request: Join) -> Result<Joined, ApiError>;

    /// Has everything move off a node, after which it is removed; `lost` says that it is gone for good.
    async fn leave(&self, name: &NodeName, lost: bool) -> Result<(), ApiError>;

    /// Makes a region the first primary; leadership then moves by itself.
    async fn switch_over(&self, request: Switchover) -> Result<Switched, ApiError>;

    /// Keeps leaders out of a region, or lets them in again.
    async fn drain_region(&self, region: &RegionName, drained: bool) -> Result<(), ApiError>;

    /// What going on without a region would do to the active-active policies.
    async fn expulsion_plan(&self, region: &RegionName) -> Result<ExpulsionPlan, ApiError>;

    /// Has the active-active policies go on without a region; [`ErrorCode::Conflict`] when it answers.
    async fn expel_region(&self, region: &RegionName, order: Expel) -> Result<FailoverDone, ApiError>;

    /// Takes an expelled region back; [`ErrorCode::Conflict`] when it does not answer, or is not expelled.
    async fn readmit_region(&self, region: &RegionName) -> Result<(), ApiError>;

    /// What giving a region up would do, for the groups of one policy or of all.
    async fn failover_plan(
        &self,
        from: RegionName,
        policy: Option<PolicyName>,
    ) -> Result<FailoverPlan, ApiError>;

    /// Gives a region up.
    async fn failover(&self, order: Failover) -> Result<FailoverDone, ApiError>;

    /// A page of what lost regions had alone and nobody has decided on, behind an entry.
    async fn salvage(&self, after: Option<SalvageId>) -> Result<SalvageList, ApiError>;

    /// One entry of it; [`ErrorCode::NotFound`] when there is none, or somebody has decided on it.
    async fn salvage_entry(&self, id: SalvageId) -> Result<SalvageEntry, ApiError>;

    /// Decides on entries.
    async fn decide_salvage(&self, order: SalvageOrder) -> Result<SalvageDone, ApiError>;

    /// All access keys, without their secrets.
    async fn keys(&self) -> Result<Vec<KeyInfo>, ApiError>;

    /// Makes an access key.
    async fn create_key(&self, request: CreateKey) -> Result<NewKey, ApiError>;

    /// Deletes an access key.
    async fn delete_key(&self, access_key_id: &str) -> Result<(), ApiError>;

    /// All services, by name.
    async fn services(&self) -> Result<ServiceList, ApiError>;

    /// What this node announces by BGP.
    async fn anycast(&self) -> Result<AnycastStatus, ApiError>;

    /// How services stand, as this node sees it.
    async fn services_status(&self) -> Result<ServicesStatus, ApiError>;

    /// Adds a service, or replaces it unless it is `new`; [`ErrorCode::Conflict`] when its name or a host is taken.
    async fn put_service(&self, service: Service, new: bool) -> Result<Service, ApiError>;

    /// Removes a service.
    async fn remove_service(&self, name: &ServiceName) -> Result<(), ApiError>;

    /// Has every edge forget what it keeps of a service: all of it, or what has a tag.
    async fn purge_service(&self, name: &ServiceName, tag: Option<String>) -> Result<(), ApiError>;

    /// The keys that sign tokens, without their private halves.
    async fn signing_keys(&self) -> Result<SigningKeyList, ApiError>;

    /// Makes a key that signs tokens.
    async fn create_signing_key(&self, request: CreateSigningKey) -> Result<SigningKeyInfo, ApiError>;

    /// Deletes one; its tokens are refused from then on.
    async fn delete_signing_key(&self, kid: &str) -> Result<(), ApiError>;

    /// The public halves as a JSON Web Key Set.
    async fn key_set(&self) -> serde_json::Value;

    /// Signs a token.
    async fn sign_token(&self, request: SignToken) -> Result<SignedToken, ApiError>;

    /// Verifies a token.
    async fn verify_token(&self, token: &str) -> Result<VerifiedToken, ApiError>;

    /// This node's metrics in the Prometheus text format.
    async fn metrics(&self) -> String;
}
