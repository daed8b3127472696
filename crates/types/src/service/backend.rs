//! Backends: where a service runs.

use super::host::HostName;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// Anything over TCP.
    Tcp,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }
}

/// Not a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a backend; write http://HOST:PORT, https://HOST:PORT or tcp://HOST:PORT, with nothing behind it"
)]
pub struct BackendError(
    /// The refused text, cut to 128 characters.
    pub String,
);

/// Where a backend is: an address, or a name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendHost {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(HostName),
}

/// Where a service runs, written as a URL without a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// What is spoken with it.
    pub scheme: Scheme,
    /// Where it is.
    pub host: BackendHost,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl Backend {
    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        let port = self.port;
        match &self.host {
            BackendHost::Address(IpAddr::V6(address)) => alloc::format!("[{address}]:{port}"),
            BackendHost::Address(IpAddr::V4(address)) => alloc::format!("{address}:{port}"),
            BackendHost::Name(name) => alloc::format!("{name}:{port}"),
        }
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let refused = || BackendError(text.chars().take(128).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        let (scheme, port) = match scheme {
            "http" => (Scheme::Http, Some(80)),
            "https" => (Scheme::Https, Some(443)),
            "tcp" => (Scheme::Tcp, None),
            _ => return Err(refused()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, written) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (address, behind) = inner.split_once(']').ok_or_else(refused)?;
                let address = address.parse::<Ipv6Addr>().map_err(|_| refused())?;
                let port = if behind.is_empty() { None } else { behind.strip_prefix(':').or(Some("")) };
                (BackendHost::Address(address.into()), port)
            }
            None => {
                let (host, port) = match rest.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                };
                let host = match host.parse::<IpAddr>() {
                    Ok(address) => BackendHost::Address(address),
                    Err(_) => BackendHost::Name(HostName::new(host).map_err(|_| refused())?),
                };
                (host, port)
            }
        };
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = match written {
            Some(port) if digits(port) => port.parse().ok(),
            Some(_) => None,
            None => port,
        };
        let port = port.filter(|port| *port > 0).ok_or_else(refused)?;
        Ok(Self { scheme, host, port })
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_scheme_host_and_port_only() {
        for text in [
            "http://127.0.0.1:9000",
            "https://[2001:db8::1]:8443",
            "tcp://db.example.com:5432",
            "https://shop.eu.example.com:443",
        ] {
            assert_eq!(text.parse::<Backend>().unwrap().to_string(), text);
        }
        assert_eq!("http://192.0.2.1/".parse::<Backend>().unwrap().port, 80);
        assert_eq!("https://[::1]".parse::<Backend>().unwrap().port, 443);
        for text in [
            "",
            "127.0.0.1:80",
            "ftp://a.b:1",
            "http://a.b:0",
            "http://a.b:65536",
            "http://a.b:+1",
            "http://a.b:",
            "http://a.b:1/x",
            "http://u@a.b:1",
            "tcp://a.b",
            "http://[::1",
            "http://[::1]x",
            "http://::1:80",
            "http://single:80",
        ] {
            assert_eq!(text.parse::<Backend>(), Err(BackendError(text.into())), "{text}");
        }
    }
}
