//! The admin API over HTTP: routes, the bearer token, and the shape of requests. Meaning is [`ClusterAdmin`]'s.

use super::ClusterAdmin;
use super::conflicts::ConflictId;
use super::failover::{Expel, Failover};
use super::jwt::{CreateSigningKey, SignToken, VerifyToken};
use super::members::{CreateJoinToken, Join};
use super::salvage::{MAX_IDS, SalvageId, SalvageOrder};
use super::services::PurgeOrder;
use super::types::{CreateKey, CreateTable, KeyList, MoveTable, PolicyList, Switchover, TableList};
use crate::config::Secret;
use crate::http::{self, ApiError, ErrorCode, json_body, json_reply};
use crate::shutdown::Shutdown;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use meridian_types::{NodeName, Policy, PolicyName, RegionName, Service, ServiceName, TableName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::net::TcpListener;

type Admin = State<Arc<dyn ClusterAdmin>>;
type Answer = Result<Response, ApiError>;

const JOIN: &str = "/v1/nodes/join";
/// Where the public keys of tokens are looked for (RFC 8615); anyone may read them.
const KEY_SET: &str = "/.well-known/jwks.json";

/// Serves the admin API on `listener` until `shutdown`.
///
/// With a token, every request must carry `Authorization: Bearer TOKEN`. Without one the listener must be loopback
/// (the configuration sees to that), and [`http::check_local`] keeps web pages out.
pub async fn serve(
    listener: TcpListener,
    token: Option<Secret>,
    admin: Arc<dyn ClusterAdmin>,
    shutdown: Shutdown,
) {
    http::serve(listener, router(token, admin), shutdown).await;
}

fn router(token: Option<Secret>, admin: Arc<dyn ClusterAdmin>) -> Router {
    let token = Arc::new(token);
    let guard = middleware::from_fn(move |request: Request, next: Next| {
        let token = Arc::clone(&token);
        async move {
            // A join token takes the place of the bearer token.
            let joins = token.is_some() && request.uri().path() == JOIN;
            let public = request.uri().path() == KEY_SET;
            let authorized =
                if joins || public { Ok(()) } else { authorize(token.as_ref().as_ref(), request.headers()) };
            match authorized {
                Ok(()) => next.run(request).await,
                Err(error) => error.into_response(),
            }
        }
    });
    let routes = Router::new()
        .route("/v1/health", get(health))
        .route("/v1/status", get(status))
        .route("/v1/tables", get(tables).post(create_table))
        .route("/v1/tables/{name}", get(table).delete(delete_table))
        .route("/v1/tables/{name}/checksum", get(checksum))
        .route("/v1/conflicts", get(conflicts))
        .route("/v1/conflicts/{id}", get(conflict).post(resolve_conflict))
        .route("/v1/tables/{name}/move", post(move_table).delete(cancel_move))
        .route("/v1/policies", get(policies).post(create_policy))
        .route("/v1/policies/{name}", put(update_policy))
        .route("/v1/nodes", get(nodes))
        .route("/v1/nodes/tokens", post(create_join_token))
        .route(JOIN, post(join))
        .route("/v1/nodes/{name}/leave", post(leave))
        .route("/v1/nodes/{name}/remove", post(remove))
        .route("/v1/switchover", post(switch_over))
        .route("/v1/regions/{name}/drain", post(drain))
        .route("/v1/regions/{name}/undrain", post(undrain))
        .route("/v1/regions/{name}/expel", get(expulsion_plan).post(expel))
        .route("/v1/regions/{name}/readmit", post(readmit))
        .route("/v1/failover", get(failover_plan).post(failover))
        .route("/v1/salvage", get(salvage).post(decide_salvage))
        .route("/v1/salvage/{id}", get(salvage_entry))
        .route("/v1/keys", get(keys).post(create_key))
        .route("/v1/keys/{id}", delete(delete_key))
        .route("/v1/anycast", get(anycast))
        .route("/v1/services", get(services).post(create_service))
        .route("/v1/services/status", get(services_status))
        .route("/v1/services/{name}", put(replace_service).delete(remove_service))
        .route("/v1/services/{name}/purge", post(purge_service))
        .route("/v1/jwt/keys", get(signing_keys).post(create_signing_key))
        .route("/v1/jwt/keys/{kid}", delete(delete_signing_key))
        .route("/v1/jwt/sign", post(sign_token))
        .route("/v1/jwt/verify", post(verify_token))
        .route(KEY_SET, get(key_set))
        .route("/metrics", get(metrics))
        .with_state(admin);
    http::limited(routes).layer(guard)
}

fn authorize(token: Option<&Secret>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = token else { return http::check_local(headers) };
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if sent.is_some_and(|sent| equal(sent, token.expose().as_bytes())) {
        return Ok(());
    }
    let message =
        "the admin token is missing or wrong; send `Authorization: Bearer TOKEN` (MERIDIAN_ADMIN_TOKEN)";
    Err(ApiError::new(ErrorCode::Unauthorized, message))
}

/// Compares without stopping at the first difference, so that time tells nothing but the length.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(json_reply(StatusCode::OK, value))
}

fn created<T: Serialize>(value: &T) -> Answer {
    Ok(json_reply(StatusCode::CREATED, value))
}

fn gone() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn health(State(admin): Admin) -> Answer {
    ok(&admin.health().await)
}

async fn status(State(admin): Admin) -> Answer {
    ok(&admin.status().await?)
}

async fn tables(State(admin): Admin) -> Answer {
    ok(&TableList { tables: admin.tables().await? })
}

async fn create_table(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    created(&admin.create_table(json_body::<CreateTable>(&headers, &body)?).await?)
}

fn table_name(text: &str) -> Result<TableName, ApiError> {
    TableName::new(text).map_err(|error| ApiError::invalid(error.to_string()))
}

async fn table(State(admin): Admin, Path(name): Path<String>) -> Answer {
    ok(&admin.table(&table_name(&name)?).await?)
}

async fn checksum(State(admin): Admin, Path(name): Path<String>) -> Answer {
    ok(&admin.checksum(&table_name(&name)?).await?)
}

/// Which table's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConflictsQuery {
    table: Option<TableName>,
}

async fn conflicts(State(admin): Admin, query: Result<Query<ConflictsQuery>, QueryRejection>) -> Answer {
    let Query(ConflictsQuery { table }) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    ok(&admin.conflicts(table.as_ref()).await?)
}

fn conflict_id(text: &str) -> Result<ConflictId, ApiError> {
    text.parse().map_err(|error: super::conflicts::ConflictIdError| ApiError::invalid(error.to_string()))
}

async fn conflict(State(admin): Admin, Path(id): Path<String>) -> Answer {
    ok(&admin.conflict(conflict_id(&id)?).await?)
}

async fn resolve_conflict(
    State(admin): Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    ok(&admin.resolve_conflict(conflict_id(&id)?, json_body(&headers, &body)?).await?)
}

async fn delete_table(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.delete_table(&table_name(&name)?).await?;
    gone()
}

async fn move_table(
    State(admin): Admin,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    ok(&admin.move_table(&table_name(&name)?, json_body::<MoveTable>(&headers, &body)?).await?)
}

async fn cancel_move(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.cancel_move(&table_name(&name)?).await?;
    gone()
}

async fn policies(State(admin): Admin) -> Answer {
    ok(&PolicyList { policies: admin.policies().await? })
}

async fn create_policy(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    created(&admin.create_policy(json_body::<Policy>(&headers, &body)?).await?)
}

async fn update_policy(
    State(admin): Admin,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let policy = json_body::<Policy>(&headers, &body)?;
    if policy.name.as_str() != name {
        return Err(ApiError::invalid("the policy in the body has another name than the path"));
    }
    ok(&admin.update_policy(policy).await?)
}

async fn nodes(State(admin): Admin) -> Answer {
    ok(&admin.nodes().await?)
}

async fn create_join_token(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    created(&admin.create_join_token(json_body::<CreateJoinToken>(&headers, &body)?).await?)
}

async fn join(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.join(json_body::<Join>(&headers, &body)?).await?)
}

fn node_name(text: &str) -> Result<NodeName, ApiError> {
    NodeName::new(text).map_err(|error| ApiError::invalid(error.to_string()))
}

async fn leave(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.leave(&node_name(&name)?, false).await?;
    gone()
}

async fn remove(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.leave(&node_name(&name)?, true).await?;
    gone()
}

async fn switch_over(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.switch_over(json_body::<Switchover>(&headers, &body)?).await?)
}

async fn drain(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.drain_region(&region_name(&name)?, true).await?;
    gone()
}

async fn undrain(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.drain_region(&region_name(&name)?, false).await?;
    gone()
}

async fn expulsion_plan(State(admin): Admin, Path(name): Path<String>) -> Answer {
    ok(&admin.expulsion_plan(&region_name(&name)?).await?)
}

async fn expel(State(admin): Admin, Path(name): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.expel_region(&region_name(&name)?, json_body::<Expel>(&headers, &body)?).await?)
}

async fn readmit(State(admin): Admin, Path(name): Path<String>) -> Answer {
    admin.readmit_region(&region_name(&name)?).await?;
    gone()
}

fn region_name(text: &str) -> Result<RegionName, ApiError> {
    RegionName::new(text).map_err(|error| ApiError::invalid(error.to_string()))
}

#[derive(Deserialize)]
struct FailoverQuery {
    from: RegionName,
    policy: Option<PolicyName>,
}

async fn failover_plan(State(admin): Admin, query: Result<Query<FailoverQuery>, QueryRejection>) -> Answer {
    let Ok(Query(FailoverQuery { from, policy })) = query else {
        return Err(ApiError::invalid(
            "say which region: /v1/failover?from=REGION, and policy=POLICY for one",
        ));
    };
    ok(&admin.failover_plan(from, policy).await?)
}

async fn failover(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.failover(json_body::<Failover>(&headers, &body)?).await?)
}

#[derive(Deserialize)]
struct SalvageQuery {
    after: Option<SalvageId>,
}

async fn salvage(State(admin): Admin, query: Result<Query<SalvageQuery>, QueryRejection>) -> Answer {
    let Query(SalvageQuery { after }) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    ok(&admin.salvage(after).await?)
}

async fn salvage_entry(State(admin): Admin, Path(id): Path<String>) -> Answer {
    let id =
        id.parse().map_err(|error: super::salvage::SalvageIdError| ApiError::invalid(error.to_string()))?;
    ok(&admin.salvage_entry(id).await?)
}

async fn decide_salvage(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    let order: SalvageOrder = json_body(&headers, &body)?;
    if order.ids.len() > MAX_IDS {
        return Err(ApiError::invalid(format!("decide on at most {MAX_IDS} entries at once")));
    }
    ok(&admin.decide_salvage(order).await?)
}

async fn keys(State(admin): Admin) -> Answer {
    ok(&KeyList { keys: admin.keys().await? })
}

async fn create_key(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    let request: CreateKey = json_body(&headers, &body)?;
    request.validate().map_err(ApiError::invalid)?;
    created(&admin.create_key(request).await?)
}

async fn delete_key(State(admin): Admin, Path(id): Path<String>) -> Answer {
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(ApiError::invalid("an access key id is 1 to 128 letters and digits"));
    }
    admin.delete_key(&id).await?;
    gone()
}

async fn services(State(admin): Admin) -> Answer {
    ok(&admin.services().await?)
}

async fn anycast(State(admin): Admin) -> Answer {
    ok(&admin.anycast().await?)
}

async fn services_status(State(admin): Admin) -> Answer {
    ok(&admin.services_status().await?)
}

fn valid_service(headers: &HeaderMap, body: &Bytes) -> Result<Service, ApiError> {
    let service = json_body::<Service>(headers, body)?;
    service.validate().map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok(service)
}

async fn create_service(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    created(&admin.put_service(valid_service(&headers, &body)?, true).await?)
}

async fn replace_service(
    State(admin): Admin,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let service = valid_service(&headers, &body)?;
    if service.name.as_str() != name {
        return Err(ApiError::invalid("the service in the body has another name than the path"));
    }
    ok(&admin.put_service(service, false).await?)
}

async fn purge_service(
    State(admin): Admin,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let name = ServiceName::new(&name).map_err(|error| ApiError::invalid(error.to_string()))?;
    let order = json_body::<PurgeOrder>(&headers, &body)?;
    if !order.is_possible() {
        return Err(ApiError::invalid(PurgeOrder::RULE));
    }
    admin.purge_service(&name, order.tag).await?;
    gone()
}

async fn remove_service(State(admin): Admin, Path(name): Path<String>) -> Answer {
    let name = ServiceName::new(&name).map_err(|error| ApiError::invalid(error.to_string()))?;
    admin.remove_service(&name).await?;
    gone()
}

async fn signing_keys(State(admin): Admin) -> Answer {
    ok(&admin.signing_keys().await?)
}

async fn create_signing_key(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    let request: CreateSigningKey = json_body(&headers, &body)?;
    request.validate().map_err(ApiError::invalid)?;
    created(&admin.create_signing_key(request).await?)
}

async fn delete_signing_key(State(admin): Admin, Path(kid): Path<String>) -> Answer {
    admin.delete_signing_key(&kid).await?;
    gone()
}

async fn sign_token(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.sign_token(json_body::<SignToken>(&headers, &body)?).await?)
}

async fn verify_token(State(admin): Admin, headers: HeaderMap, body: Bytes) -> Answer {
    ok(&admin.verify_token(&json_body::<VerifyToken>(&headers, &body)?.token).await?)
}

async fn key_set(State(admin): Admin) -> Answer {
    ok(&admin.key_set().await)
}

async fn metrics(State(admin): Admin) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics().await).into_response()
}

#[cfg(test)]
mod tests;
