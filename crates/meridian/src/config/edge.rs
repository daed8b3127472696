//! `[edge]`: the HTTP edge of a node.

use super::units::{self, Size};
use ipnet::IpNet;
use meridian_edge::server::{CertificateFiles, Options, Plain};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What is done with requests without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainHttp {
    /// They are served.
    #[default]
    Serve,
    /// They are sent to the same host over TLS.
    Redirect,
}

/// `[edge]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeSection {
    /// Threads that serve connections; 0 for as many as the machine has processors.
    pub threads: usize,
    /// What is done with requests without TLS.
    pub plain: PlainHttp,
    /// Networks of proxies whose word on the client counts.
    pub trusted: Vec<IpNet>,
    /// The most connections of clients.
    pub max_connections: usize,
    /// The most connections of one client.
    pub max_connections_per_client: usize,
    /// The most bytes of a request's line and headers.
    pub max_header_bytes: Size,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The most bytes of a request's body.
    pub max_body: Size,
    /// Bytes a second that a request's body must come with.
    pub min_body_rate: Size,
    /// How long a connection may be without a request, or a client may not read.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// How long a connection to a backend may take.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// After so long another region is asked as well.
    #[serde(with = "units::duration")]
    pub try_timeout: Duration,
    /// How long a request may take until its response begins.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// The share of requests that may be sent twice, in percent.
    pub retry_percent: u32,
    /// The most requests that one backend is at.
    pub max_in_flight: usize,
    /// The most bytes that the cache keeps.
    pub cache_size: Size,
    /// How long requests may finish when the node stops.
    #[serde(with = "units::duration")]
    pub drain: Duration,
    /// Who may sign the certificates of backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ca: Option<PathBuf>,
    /// Certificates for TLS.
    #[serde(rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateSection>,
}

/// `[[edge.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSection {
    /// The certificate and those between it and the authority, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Default for EdgeSection {
    fn default() -> Self {
        Self {
            threads: 0,
            plain: PlainHttp::Serve,
            trusted: Vec::new(),
            max_connections: 16_384,
            max_connections_per_client: 1_024,
            max_header_bytes: Size(32 << 10),
            max_headers: 100,
            max_body: Size(64 << 20),
            min_body_rate: Size(256),
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            try_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retry_percent: 20,
            max_in_flight: 1_024,
            cache_size: Size(64 << 20),
            drain: Duration::from_secs(2),
            backend_ca: None,
            certificates: Vec::new(),
        }
    }
}

impl EdgeSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let counts = [
            ("threads", self.threads, 0, 256),
            ("max_connections", self.max_connections, 1, 1 << 20),
            ("max_connections_per_client", self.max_connections_per_client, 1, 1 << 20),
            ("max_headers", self.max_headers, 8, 1_000),
            ("max_in_flight", self.max_in_flight, 1, 1 << 20),
        ];
        for (field, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                problems.push(format!("edge.{field} is {value}; it must be {low} to {high}"));
            }
        }
        let (low, high) = (Size(8 << 10), Size(1 << 20));
        if !(low..=high).contains(&self.max_header_bytes) {
            let value = self.max_header_bytes;
            problems.push(format!("edge.max_header_bytes is {value}; it must be {low} to {high}"));
        }
        let ms = Duration::from_millis;
        let times = [
            ("idle_timeout", self.idle_timeout, ms(100), ms(3_600_000)),
            ("connect_timeout", self.connect_timeout, ms(10), ms(60_000)),
            ("try_timeout", self.try_timeout, ms(10), ms(600_000)),
            ("timeout", self.timeout, ms(10), ms(3_600_000)),
            ("drain", self.drain, ms(0), ms(600_000)),
        ];
        for (field, value, low, high) in times {
            if !(low..=high).contains(&value) {
                problems.push(format!("edge.{field} is {value:?}; it must be {low:?} to {high:?}"));
            }
        }
        if self.retry_percent > 100 {
            problems.push(format!("edge.retry_percent is {}; it must be 0 to 100", self.retry_percent));
        }
        if self.plain == PlainHttp::Redirect && self.certificates.is_empty() {
            problems.push(
                "edge.plain is \"redirect\", but there is no certificate to go to; add [[edge.certificate]] with cert and key"
                    .to_owned(),
            );
        }
    }

    /// The files of all certificates.
    #[must_use]
    pub fn certificate_files(&self) -> Vec<CertificateFiles> {
        let files = self.certificates.iter();
        files.map(|entry| CertificateFiles { cert: entry.cert.clone(), key: entry.key.clone() }).collect()
    }

    /// How many threads that makes on this machine.
    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// The bounds as the server takes them. `descriptors`: how many files and sockets the process may have open.
    #[must_use]
    pub fn options(&self, descriptors: u64) -> Options {
        // The rest is for backends, the disk and the other ports.
        let possible = usize::try_from(descriptors / 4 * 3).unwrap_or(usize::MAX).max(1);
        if possible < self.max_connections {
            tracing::warn!(possible, "edge.max_connections is more than the process may have open");
        }
        Options {
            threads: self.threads(),
            plain: match self.plain {
                PlainHttp::Serve => Plain::Serve,
                PlainHttp::Redirect => Plain::Redirect,
            },
            trusted: self.trusted.clone(),
            max_connections: self.max_connections.min(possible),
            max_connections_per_client: self.max_connections_per_client,
            max_header_bytes: usize::try_from(self.max_header_bytes.0).unwrap_or(usize::MAX),
            max_headers: self.max_headers,
            max_body: self.max_body.0,
            min_body_rate: self.min_body_rate.0,
            idle_timeout: self.idle_timeout,
            connect_timeout: self.connect_timeout,
            try_timeout: self.try_timeout,
            timeout: self.timeout,
            retry_permille: self.retry_percent * 10,
            max_in_flight: self.max_in_flight,
            cache_bytes: usize::try_from(self.cache_size.0).unwrap_or(usize::MAX),
            drain: self.drain,
            backend_ca: self.backend_ca.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_the_fix() {
        let mut problems = Vec::new();
        EdgeSection::default().check(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let wrong = EdgeSection {
            plain: PlainHttp::Redirect,
            max_connections: 0,
            max_header_bytes: Size(1),
            try_timeout: Duration::ZERO,
            retry_percent: 101,
            ..EdgeSection::default()
        };
        wrong.check(&mut problems);
        for part in
            ["max_connections", "max_header_bytes", "try_timeout", "retry_percent", "[[edge.certificate]]"]
        {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
        }
        assert_eq!(EdgeSection::default().options(1_024).max_connections, 768);
    }
}
