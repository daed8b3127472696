//! What the server is told at the start.

use ipnet::IpNet;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// What is done with requests that come without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// They are served.
    #[default]
    Serve,
    /// They are sent to the same host over TLS.
    Redirect,
}

/// Every bound of the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that serve connections.
    pub threads: usize,
    /// What is done with requests that come without TLS.
    pub plain: Plain,
    /// Networks of proxies whose word on the client counts. Their connections are not counted by client.
    pub trusted: Vec<IpNet>,
    /// The most connections of clients.
    pub max_connections: usize,
    /// The most connections of one client's address.
    pub max_connections_per_client: usize,
    /// The most bytes of a request's line and headers; 8 KiB or more.
    pub max_header_bytes: usize,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The most bytes of a request's body.
    pub max_body: u64,
    /// Bytes a second that a request's body must come with; 0 for any.
    pub min_body_rate: u64,
    /// How long a connection may be without a request, or a client may not read.
    pub idle_timeout: Duration,
    /// How long a connection to a backend may take.
    pub connect_timeout: Duration,
    /// After so long another region is asked as well, if the request may be repeated.
    pub try_timeout: Duration,
    /// How long a request may take until its response begins.
    pub timeout: Duration,
    /// The share of requests that may be sent twice, in thousandths.
    pub retry_permille: u32,
    /// The most requests that one backend is at.
    pub max_in_flight: usize,
    /// The most bytes that the cache keeps; 0 for no cache.
    pub cache_bytes: usize,
    /// How long requests may finish once the end was asked for.
    pub drain: Duration,
    /// Who may sign the certificates of backends; the system's own list when there is none.
    pub backend_ca: Option<PathBuf>,
}

impl Options {
    /// Whether an address is that of a proxy whose word counts.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// A future as traits return it.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who knows whether a session's token is good.
pub trait Sessions: Send + Sync {
    /// The claims of a token, as JSON.
    ///
    /// # Errors
    /// Why it is refused, in a few words.
    fn verify<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<String, String>>;
}
