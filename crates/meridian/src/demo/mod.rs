//! A small stateless web application, to try a service with: notes that it keeps in a table, and nothing in itself.
//!
//! It is a client like any other: it speaks the DynamoDB API with the node beside it, and passes tokens on, so that behind the edge
//! its users read their own writes in any region.

mod notes;

use crate::http;
use crate::listen::listen;
use crate::lock::lock;
use crate::shutdown::Shutdown;
use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use meridian_drill::client::{Client, Target};
use meridian_types::{RegionName, TableName};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// The name of the service and of its table.
pub const NAME: &str = meridian_drill::service::SAMPLE;
/// The path that says whether the application runs.
pub const HEALTH: &str = "/healthz";
/// Connections to the node that are kept for later requests.
const IDLE: usize = 64;

/// What one process of the application is told.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The region that it stands in.
    pub region: RegionName,
    /// The node beside it, and as whom it speaks with it.
    pub data: Target,
    /// The table of its notes, with the key `pk`.
    pub table: TableName,
}

/// One process of the application.
struct App {
    options: DemoOptions,
    idle: Mutex<Vec<Client>>,
}

impl App {
    /// A connection to the node, to be given back when it is in order.
    fn client(&self) -> Client {
        let kept = lock(&self.idle).pop();
        kept.unwrap_or_else(|| Client::new(&self.options.data))
    }

    fn give_back(&self, client: Client) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(client);
        }
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the port cannot be opened.
pub async fn run(options: DemoOptions, shutdown: Shutdown) -> io::Result<()> {
    let listener = listen(options.listen)?;
    let app = Arc::new(App { options, idle: Mutex::default() });
    let routes = Router::new()
        .route("/", get(page))
        .route(HEALTH, get(|| async { "ok\n" }))
        .route("/notes/{name}", get(notes::read).put(notes::write))
        .with_state(app);
    http::serve(listener, http::limited(routes), shutdown).await;
    Ok(())
}

async fn page(State(app): State<Arc<App>>) -> Html<String> {
    let region = &app.options.region;
    Html(format!(
        "<!doctype html><title>Meridian demo</title><h1>Served from {region}</h1>\
         <p>Write a note with <code>PUT /notes/NAME</code>, and read it in any region with <code>GET /notes/NAME</code>.</p>\n"
    ))
}
