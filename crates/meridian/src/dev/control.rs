//! The supervisor's control API: drills and commands kill, freeze and start nodes, block and slow links, and have nodes take
//! for true what a drill needs, through it.
//!
//! It listens on loopback only, at a port that `cluster.json` names.

use super::grow::{AddError, AddNode};
use super::plan::PlannedNode;
use super::supervisor::{NodeReport, Order, Supervisor, SupervisorError};
use crate::http::{self, ApiError, check_local, json_body, json_reply};
use crate::parent::Pretence;
use crate::shutdown::Shutdown;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::join_all;
use meridian_types::RegionName;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long an order to start waits for readiness. A node whose cluster has no quorum is never ready.
const READY_LIMIT: Duration = Duration::from_secs(15);

/// The most that a link is slowed by.
const MAX_DELAY: Duration = Duration::from_secs(60);

type Answer = Result<Response, ApiError>;

/// `GET /v1/nodes`, and the answer to every order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesAnswer {
    /// The nodes concerned.
    pub nodes: Vec<NodeReport>,
}

/// `POST /v1/links`: blocks, slows or heals one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOrder {
    /// The region whose bytes no longer leave; `*` for every region.
    pub from: String,
    /// The region where they no longer arrive; `*` for every region.
    pub to: String,
    /// `true` blocks, `false` lets pass again; left out, it stays as it is.
    #[serde(default)]
    pub block: Option<bool>,
    /// How much longer bytes take, in milliseconds; 0 is as long as usual; left out, it stays as it is.
    #[serde(default)]
    pub delay_ms: Option<u64>,
}

/// The answer to [`LinkOrder`], and `GET /v1/links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinksAnswer {
    /// Whether there are links that could be blocked or slowed; there are none under `--wan none`.
    pub emulated: bool,
    /// The ordered pairs of regions that are blocked now.
    pub blocked: Vec<(RegionName, RegionName)>,
    /// The ordered pairs of regions that are slower now, and by how many milliseconds.
    pub delayed: Vec<(RegionName, RegionName, u64)>,
}

/// Serves the control API until `shutdown`.
pub async fn serve(listener: TcpListener, supervisor: Arc<Supervisor>, shutdown: Shutdown) {
    let routes = Router::new()
        .route("/v1/nodes", get(nodes).post(add_node))
        .route("/v1/nodes/{id}/{order}", post(order_node))
        .route("/v1/nodes/{id}/pretence", post(order_pretence))
        .route("/v1/regions/{region}/{order}", post(order_region))
        .route("/v1/apps", get(apps).post(start_apps))
        .route("/v1/apps/{region}/{order}", post(order_app))
        .route("/v1/links", get(links).post(order_link))
        .with_state(supervisor);
    let guard = middleware::from_fn(|request: Request, next: Next| async move {
        match check_local(request.headers()) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    });
    http::serve(listener, http::limited(routes).layer(guard), shutdown).await;
}

fn parse_order(text: &str) -> Result<Order, ApiError> {
    match text {
        "kill" => Ok(Order::Kill),
        "start" => Ok(Order::Start),
        "freeze" => Ok(Order::Freeze),
        "thaw" => Ok(Order::Thaw),
        "stop" => Ok(Order::Stop),
        _ => Err(ApiError::not_found("there are the orders kill, start, freeze, thaw and stop")),
    }
}

impl From<SupervisorError> for ApiError {
    fn from(error: SupervisorError) -> Self {
        let message = error.to_string();
        match error {
            SupervisorError::State { .. } => Self::conflict(message),
            SupervisorError::StillThere(_) => Self::unavailable(message),
            SupervisorError::Start { .. }
            | SupervisorError::Signal { .. }
            | SupervisorError::Untold { .. }
            | SupervisorError::Folder(_) => Self::internal(message),
        }
    }
}

async fn nodes(State(supervisor): State<Arc<Supervisor>>) -> Response {
    json_reply(StatusCode::OK, &NodesAnswer { nodes: supervisor.report() })
}

/// In a task of its own, so that a client that hangs up does not leave a node half added.
async fn add_node(State(supervisor): State<Arc<Supervisor>>, headers: HeaderMap, body: Bytes) -> Answer {
    let order: AddNode = json_body(&headers, &body)?;
    let added = tokio::spawn(async move { supervisor.add_node(order).await });
    let node = added.await.map_err(|error| ApiError::internal(format!("the order broke off: {error}")))??;
    Ok(json_reply(StatusCode::CREATED, &NodesAnswer { nodes: vec![node] }))
}

impl From<AddError> for ApiError {
    fn from(error: AddError) -> Self {
        let message = error.to_string();
        match error {
            AddError::Plan(_) | AddError::Wan(_) => Self::invalid(message),
            AddError::Port(_) | AddError::NoNode | AddError::Cluster(_) => Self::conflict(message),
            AddError::NotReady(_) => Self::unavailable(message),
            AddError::Supervisor(error) => error.into(),
        }
    }
}

async fn order_node(
    State(supervisor): State<Arc<Supervisor>>,
    Path((id, order)): Path<(String, String)>,
) -> Answer {
    let chosen = known_node(&supervisor, &id)?;
    carry_out(&supervisor, parse_order(&order)?, vec![chosen]).await
}

async fn order_pretence(
    State(supervisor): State<Arc<Supervisor>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let pretence: Pretence = json_body(&headers, &body)?;
    let node = known_node(&supervisor, &id)?;
    supervisor.pretend(&node, pretence).await?;
    Ok(json_reply(StatusCode::OK, &pretence))
}

fn known_node(supervisor: &Supervisor, id: &str) -> Result<PlannedNode, ApiError> {
    let plan = supervisor.plan();
    let nodes = &plan.nodes;
    nodes.iter().find(|node| node.id.as_str() == id).cloned().ok_or_else(|| {
        let known: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        ApiError::not_found(format!("there is no node {id:?}; there are {}", known.join(", ")))
    })
}

async fn order_region(
    State(supervisor): State<Arc<Supervisor>>,
    Path((region, order)): Path<(String, String)>,
) -> Answer {
    let (region, order) = (known_region(&supervisor, &region)?, parse_order(&order)?);
    let chosen: Vec<_> = supervisor.plan().nodes_of(&region).cloned().collect();
    // What stands in a region falls with it, and comes back behind it.
    supervisor.apps.order(&region, order).map_err(app_failed)?;
    let answer = carry_out(&supervisor, order, chosen).await?;
    if order == Order::Start && supervisor.apps.knows(&region) {
        supervisor.start_apps(&[region]).await.map_err(app_failed)?;
    }
    Ok(answer)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn app_failed(error: std::io::Error) -> ApiError {
    ApiError::internal(format!("the sample application: {error}"))
}

async fn apps(State(supervisor): State<Arc<Supervisor>>) -> Response {
    json_reply(StatusCode::OK, &supervisor.apps.report())
}

/// Starts the sample application in every region that holds data.
async fn start_apps(State(supervisor): State<Arc<Supervisor>>) -> Answer {
    let plan = supervisor.plan();
    let mut regions = plan.regions();
    regions.retain(|region| Some(region) != plan.options.witness.as_ref());
    let started = supervisor.start_apps(&regions).await.map_err(app_failed)?;
    Ok(json_reply(StatusCode::CREATED, &started))
}

async fn order_app(
    State(supervisor): State<Arc<Supervisor>>,
    Path((region, order)): Path<(String, String)>,
) -> Answer {
    let (region, order) = (known_region(&supervisor, &region)?, parse_order(&order)?);
    if !supervisor.apps.knows(&region) {
        let message =
            "the sample application does not run here; start it with `meridian service demo --host HOST`";
        return Err(ApiError::not_found(message));
    }
    supervisor.apps.order(&region, order).map_err(app_failed)?;
    let report = match order {
        Order::Start => supervisor.start_apps(&[region]).await.map_err(app_failed)?,
        _ => supervisor.apps.report(),
    };
    Ok(json_reply(StatusCode::OK, &report))
}

fn known_region(supervisor: &Supervisor, name: &str) -> Result<RegionName, ApiError> {
    let regions = supervisor.plan().regions();
    regions.iter().find(|region| region.as_str() == name).cloned().ok_or_else(|| {
        let known: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
        ApiError::not_found(format!("there is no region {name:?}; there are {}", known.join(", ")))
    })
}

/// In a task of its own, so that a client that hangs up does not leave an order half done.
async fn carry_out(supervisor: &Arc<Supervisor>, order: Order, chosen: Vec<PlannedNode>) -> Answer {
    let supervisor = Arc::clone(supervisor);
    let done = tokio::spawn(async move {
        supervisor.carry_out(order, &chosen).await?;
        if order == Order::Start {
            join_all(chosen.iter().map(|node| supervisor.ready(node, READY_LIMIT))).await;
        }
        let concerned = |report: &NodeReport| chosen.iter().any(|node| node.id == report.id);
        let nodes = supervisor.report().into_iter().filter(concerned).collect();
        Ok::<_, SupervisorError>(NodesAnswer { nodes })
    });
    let answer =
        done.await.map_err(|error| ApiError::internal(format!("the order broke off: {error}")))??;
    Ok(json_reply(StatusCode::OK, &answer))
}

fn links_now(supervisor: &Supervisor) -> LinksAnswer {
    let wan = supervisor.wan();
    let millis = |delay: Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    LinksAnswer {
        emulated: wan.is_emulated(),
        blocked: wan.blocked(),
        delayed: wan.delayed().into_iter().map(|(from, to, by)| (from, to, millis(by))).collect(),
    }
}

async fn links(State(supervisor): State<Arc<Supervisor>>) -> Response {
    json_reply(StatusCode::OK, &links_now(&supervisor))
}

async fn order_link(State(supervisor): State<Arc<Supervisor>>, headers: HeaderMap, body: Bytes) -> Answer {
    let LinkOrder { from, to, block, delay_ms } = json_body(&headers, &body)?;
    let region = |name: &str| match name {
        "*" => Ok(None),
        name => known_region(&supervisor, name).map(Some),
    };
    let (from, to) = (region(&from)?, region(&to)?);
    if from.is_some() && from == to {
        return Err(ApiError::invalid(
            "`from` and `to` are the same region; only links between regions can be blocked",
        ));
    }
    if block.is_none() && delay_ms.is_none() {
        return Err(ApiError::invalid("nothing is ordered; say `block`, `delay_ms` or both"));
    }
    let delay = delay_ms.map(Duration::from_millis);
    if delay.is_some_and(|delay| delay > MAX_DELAY) {
        return Err(ApiError::invalid(format!("`delay_ms` must be 0 to {}", MAX_DELAY.as_millis())));
    }
    let hurts = block == Some(true) || delay.is_some_and(|delay| !delay.is_zero());
    if hurts && !supervisor.wan().is_emulated() {
        let message = "nodes dial each other directly under --wan none, so no link can be blocked or slowed; \
            start the cluster with --wan 0ms for links without delay";
        return Err(ApiError::conflict(message));
    }
    if let Some(delay) = delay {
        supervisor.wan().set_delay(from.as_ref(), to.as_ref(), delay);
    }
    if let Some(block) = block {
        supervisor.wan().set_blocked(from.as_ref(), to.as_ref(), block);
    }
    Ok(json_reply(StatusCode::OK, &links_now(&supervisor)))
}
