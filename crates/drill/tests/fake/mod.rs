//! A make-believe cluster: several regions in front of one store (dynoxide, in memory), with a supervisor and a status, and
//! with faults of its own that a drill must find.

use bytes::Bytes;
use dynoxide::Database;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use meridian_drill::client::Connection;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How long the survivors refuse writes after a region is gone.
pub(crate) const TAKE_OVER: Duration = Duration::from_millis(700);
/// When the status shows that it is gone.
pub(crate) const NOTICED: Duration = Duration::from_millis(300);

/// What is wrong with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// Every 40th put is acknowledged and thrown away.
    LosesPuts,
    /// Every 40th append or add is carried out twice.
    DoublesUpdates,
    /// The target region answers reads from a copy made when it was frozen.
    StaleAfterThaw,
}

pub(crate) struct Fake {
    pub(crate) cluster_json: PathBuf,
    pub(crate) orders: Arc<Mutex<Vec<String>>>,
    pub(crate) store: SocketAddr,
    _folder: tempfile::TempDir,
}

struct State {
    flaw: Flaw,
    store: SocketAddr,
    regions: Vec<Region>,
    orders: Arc<Mutex<Vec<String>>>,
    gone_since: Mutex<Option<Instant>>,
    count: AtomicU64,
    /// Answers to reads of the first region, kept while it was well, by request body.
    copies: Mutex<std::collections::HashMap<String, Bytes>>,
}

struct Region {
    name: &'static str,
    address: SocketAddr,
    serving: Mutex<Option<AbortHandle>>,
    frozen: watch::Sender<bool>,
    has_been_frozen: Mutex<bool>,
}

pub(crate) const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-southeast-1"];

pub(crate) async fn start(flaw: Flaw) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = listener.local_addr().unwrap();
    tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().unwrap()));
    let mut regions = Vec::new();
    for name in REGIONS {
        // Bound once to learn a free port; `serve` binds it again.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (frozen, has_been_frozen) = (watch::channel(false).0, Mutex::new(false));
        regions.push(Region { name, address, serving: Mutex::new(None), frozen, has_been_frozen });
    }
    let orders = Arc::new(Mutex::new(Vec::new()));
    let state = Arc::new(State {
        flaw,
        store,
        regions,
        orders: Arc::clone(&orders),
        gone_since: Mutex::new(None),
        count: AtomicU64::new(0),
        copies: Mutex::default(),
    });
    for region in 0..REGIONS.len() {
        serve(&state, region).await;
    }
    let admin_state = Arc::clone(&state);
    let admin = listen("127.0.0.1:0".parse().unwrap(), move |request| {
        let state = Arc::clone(&admin_state);
        async move { control(&state, &request).await }
    })
    .await;
    let nodes = |region: &Region| {
        json!([{"id": format!("{}-a-0", region.name), "zone": "a",
        "dynamodb": format!("http://{}", region.address), "admin": format!("http://{}", admin.0)}])
    };
    let regions: Vec<Value> =
        state.regions.iter().map(|region| json!({"name": region.name, "nodes": nodes(region)})).collect();
    let file = json!({"regions": regions, "supervisor": {"control": format!("http://{}", admin.0)},
        "credentials": {"access_key_id": "a", "secret_access_key": "b"}});
    let folder = tempfile::tempdir().unwrap();
    let cluster_json = folder.path().join("cluster.json");
    std::fs::write(&cluster_json, file.to_string()).unwrap();
    Fake { cluster_json, orders, store, _folder: folder }
}

async fn serve(state: &Arc<State>, region: usize) {
    let forwarding = Arc::clone(state);
    let (_, handle) = listen(state.regions[region].address, move |request| {
        let state = Arc::clone(&forwarding);
        async move { front(&state, region, request).await }
    })
    .await;
    *state.regions[region].serving.lock().unwrap() = Some(handle);
}

/// Serves HTTP until the handle aborts it, connections included.
async fn listen<F, R>(address: SocketAddr, handler: F) -> (SocketAddr, AbortHandle)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            connections.spawn(async move {
                let answer = service_fn(|request| {
                    let answering = handler(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    (address, task.abort_handle())
}

async fn control(state: &Arc<State>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path == "/v1/status" {
        let noticed = state.gone_since.lock().unwrap().is_some_and(|since| since.elapsed() > NOTICED);
        let health = |name: &str| if noticed && name == REGIONS[0] { "lost" } else { "healthy" };
        let regions: Vec<Value> =
            REGIONS.iter().map(|name| json!({"name": name, "health": health(name)})).collect();
        let policies = json!([{"name": "active-passive-async", "replication": "async"}]);
        return json_answer(&json!({"regions": regions, "groups": [], "policies": policies}));
    }
    state.orders.lock().unwrap().push(path.clone());
    let region = &state.regions[0];
    assert!(path.contains(region.name), "{path}");
    let is_gone = path.ends_with("/kill") || path.ends_with("/freeze");
    *state.gone_since.lock().unwrap() = is_gone.then(Instant::now);
    match path.rsplit('/').next() {
        Some("kill") => region.serving.lock().unwrap().take().unwrap().abort(),
        Some("start") => serve(state, 0).await,
        Some("freeze") => {
            *region.has_been_frozen.lock().unwrap() = true;
            region.frozen.send_replace(true);
        }
        _ => {
            region.frozen.send_replace(false);
        }
    }
    json_answer(&json!({}))
}

fn json_answer(body: &Value) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from(body.to_string())))
}

async fn front(state: &Arc<State>, region: usize, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut frozen = state.regions[region].frozen.subscribe();
    frozen.wait_for(|frozen| !frozen).await.unwrap();
    let (mut head, body) = request.into_parts();
    head.uri = "/".parse().unwrap();
    let body = body.collect().await.unwrap().to_bytes();
    let action = head.headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
    let is_write = action == "PutItem" || action == "UpdateItem";
    let taking_over = state.gone_since.lock().unwrap().is_some_and(|since| since.elapsed() < TAKE_OVER);
    if is_write && taking_over {
        let mut refusal = json_answer(&json!({"__type": "x#InternalServerError", "message": "no leader"}));
        *refusal.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        return refusal;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let is_unlucky = state.count.fetch_add(u64::from(is_write), SeqCst) % 40 == 39;
    if state.flaw == Flaw::LosesPuts && action == "PutItem" && is_unlucky {
        return json_answer(&json!({}));
    }
    let is_old = *state.regions[region].has_been_frozen.lock().unwrap();
    let is_from_the_past = state.flaw == Flaw::StaleAfterThaw && is_old && action == "GetItem";
    let copy = state.copies.lock().unwrap().get(&text).filter(|_| is_from_the_past).cloned();
    if let Some(copy) = copy {
        return Response::new(Full::new(copy));
    }
    let times =
        if state.flaw == Flaw::DoublesUpdates && action == "UpdateItem" && is_unlucky { 2 } else { 1 };
    let mut answer = None;
    for _ in 0..times {
        let mut store = Connection::new(format!("http://{}", state.store).parse().unwrap());
        let request = Request::from_parts(head.clone(), Full::new(body.clone()));
        answer = Some(store.send(request, Duration::from_secs(5)).await.unwrap());
    }
    let answer = answer.unwrap();
    if region == 0 && action == "GetItem" && !is_old {
        state.copies.lock().unwrap().insert(text, answer.body.clone());
    }
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response
}
