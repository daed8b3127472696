//! Adds a node to a running development cluster, by the same door as anywhere: a token, a certificate, a join.

use super::plan::{PlanError, PlannedNode};
use super::run::{DevError, check_ports};
use super::supervisor::{NodeReport, NodeState, Order, Supervisor, SupervisorError};
use crate::admin::members::{CreateJoinToken, Join, NewJoinToken};
use crate::admin::{AdminClient, AdminClientError};
use crate::http::Endpoint;
use crate::wan::{StartError, WanNode};
use meridian_types::{RegionName, ZoneName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long the token lasts: the node joins at once.
const TOKEN_TTL_S: u64 = 60;
/// How long the new node may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// `POST /v1/nodes` of the control API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddNode {
    /// The region; one that the cluster does not have yet is added.
    pub region: RegionName,
    /// The zone; without one the node gets a zone of its own.
    #[serde(default)]
    pub zone: Option<ZoneName>,
}

/// Why no node was added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is no place for it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The relay cannot reach it.
    #[error(transparent)]
    Wan(#[from] StartError),
    /// One of its ports is taken.
    #[error("{0}")]
    Port(DevError),
    /// No node runs that could be asked.
    #[error("no node of the cluster answers; start one with `meridian dev start`")]
    NoNode,
    /// The cluster refused.
    #[error("{0}")]
    Cluster(AdminClientError),
    /// Its process or its files.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// It has joined, but does not serve yet.
    #[error("{0} has joined but is not ready yet; see its log")]
    NotReady(String),
}

impl Supervisor {
    /// Adds a node and waits until it is ready.
    ///
    /// # Errors
    /// [`AddError`].
    pub async fn add_node(self: &Arc<Self>, order: AddNode) -> Result<NodeReport, AddError> {
        let _one_at_a_time = self.adding.lock().await;
        let mut node = self.plan().next(&order.region, order.zone)?;
        check_ports(&node, Duration::ZERO).await.map_err(AddError::Port)?;
        self.certify(&node).map_err(SupervisorError::from)?;
        let (client, made) = self.token(&node).await?;
        node.number = made.number;
        let wan = WanNode { number: node.number, region: node.region.clone(), peer: node.listen.peer };
        self.wan().add(wan).await?;
        // Before the others hear of it, so that they reach it through the relay from the first.
        let mut all = self.plan().nodes.clone();
        all.push(node.clone());
        for report in self.report().into_iter().filter(|report| report.state == NodeState::Running) {
            if let Some(other) = all.iter().find(|other| other.id == report.id) {
                self.tell_routes(other, &all).await?;
            }
        }
        let join = Join { token: made.token, name: node.id.clone(), peer: node.listen.peer.to_string() };
        client.join(&join).await.map_err(AddError::Cluster)?;
        self.change_plan(|plan| plan.nodes.push(node.clone())).map_err(SupervisorError::from)?;
        self.add_slot(&node);
        self.carry_out(Order::Start, std::slice::from_ref(&node)).await?;
        let ready = self.ready(&node, READY_LIMIT).await;
        let report = self.report().into_iter().find(|report| report.id == node.id);
        report.filter(|_| ready == Ok(true)).ok_or_else(|| AddError::NotReady(node.id.to_string()))
    }

    /// A token for the node, of the first node that gives one.
    async fn token(&self, node: &PlannedNode) -> Result<(AdminClient, NewJoinToken), AddError> {
        let request = CreateJoinToken {
            region: Some(node.region.clone()),
            zone: Some(node.zone.clone()),
            witness: false,
            ttl_s: TOKEN_TTL_S,
            replaces: None,
        };
        let mut refused = AddError::NoNode;
        for other in &self.plan().nodes {
            let Ok(endpoint) = format!("http://{}", other.listen.admin).parse::<Endpoint>() else { continue };
            let client = AdminClient::new(endpoint, None);
            match client.create_join_token(&request).await {
                Ok(made) => return Ok((client, made)),
                Err(AdminClientError::Unreachable(_)) => {}
                Err(error) => refused = AddError::Cluster(error),
            }
        }
        Err(refused)
    }
}
