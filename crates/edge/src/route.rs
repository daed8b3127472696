//! Which service a request is for, by its host and path.

use meridian_types::service::EdgeRoute;
use meridian_types::{HostName, Service, ServiceName};
use std::collections::{BTreeMap, HashMap};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The service that serves it.
    pub service: ServiceName,
    /// Whether it must carry a token of a session.
    pub jwt: bool,
}

/// The routes of all services.
#[derive(Clone, Debug, Default)]
pub struct Routes(HashMap<HostName, Paths>);

#[derive(Clone, Debug)]
struct Paths {
    own: Route,
    /// The longest first.
    special: Vec<(String, Route)>,
}

impl Routes {
    /// The routes of these services. A path that names a service which is not there stays with its own.
    #[must_use]
    pub fn new(services: &BTreeMap<ServiceName, Service>) -> Self {
        let mut hosts = HashMap::new();
        for service in services.values() {
            let own = Route { service: service.name.clone(), jwt: false };
            let route = |route: &EdgeRoute| {
                let other = route.service.as_ref().filter(|name| services.contains_key(*name));
                let prefix = route.path.strip_suffix('/').unwrap_or(&route.path).to_owned();
                (prefix, Route { service: other.unwrap_or(&service.name).clone(), jwt: route.jwt })
            };
            let mut special: Vec<(String, Route)> = service.edge.routes.iter().map(route).collect();
            special.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
            for host in &service.hosts {
                hosts.insert(host.clone(), Paths { own: own.clone(), special: special.clone() });
            }
        }
        Self(hosts)
    }

    /// The route of a request for `path` at `authority` (`host` or `host:port`, in any case).
    #[must_use]
    pub fn find(&self, authority: &str, path: &str) -> Option<&Route> {
        let host = host(authority)?;
        let paths = self.0.get(&host)?;
        // A server may take an escaped path for the plain one, and `//x`, `/./x` or `/y/../x` for `/x`: what guards `/x` must too.
        let plain = normal(path);
        let fits = |(prefix, _): &&(String, Route)| {
            plain.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Some(paths.special.iter().find(fits).map_or(&paths.own, |(_, route)| route))
    }

    /// Whether a host is anybody's.
    #[must_use]
    pub fn has_host(&self, name: &str) -> bool {
        host(name).is_some_and(|host| self.0.contains_key(&host))
    }
}

/// The host of an authority.
fn host(authority: &str) -> Option<HostName> {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) => return None,
        None => authority,
    };
    HostName::new(name).ok()
}

/// The path as a server may understand it: escapes resolved, backslashes and repeated slashes as one slash, dots followed.
fn normal(path: &str) -> String {
    let text = unescaped(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            // What is behind a semicolon are parameters for some servers.
            part => parts.push(part.split(';').next().unwrap_or(part)),
        }
    }
    let mut normal = String::with_capacity(text.len() + 1);
    for part in parts {
        normal.push('/');
        normal.push_str(part);
    }
    if normal.is_empty() { "/".to_owned() } else { normal }
}

fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::service::EdgeOptions;
    use meridian_types::{HealthCheck, RegionName, ServicePolicy};
    use proptest::prelude::*;

    fn service(name: &str, routes: &[(&str, Option<&str>, bool)]) -> (ServiceName, Service) {
        let named = |name: &str| ServiceName::new(name).unwrap();
        let routes = routes.iter().map(|(path, service, jwt)| EdgeRoute {
            path: (*path).to_owned(),
            service: service.map(named),
            jwt: *jwt,
        });
        let service = Service {
            name: named(name),
            hosts: vec![HostName::new(&format!("{name}.x.y")).unwrap()],
            health: HealthCheck::Tcp,
            backends: [(RegionName::new("a").unwrap(), vec!["http://a.b:1".parse().unwrap()])].into(),
            policy: ServicePolicy::Nearest,
            ttl_s: 1,
            edge: EdgeOptions { routes: routes.collect(), ..EdgeOptions::default() },
        };
        (service.name.clone(), service)
    }

    fn routes() -> Routes {
        Routes::new(
            &[
                service(
                    "shop",
                    &[
                        ("/api/", Some("api"), false),
                        ("/api/admin", Some("api"), true),
                        ("/x", Some("no"), true),
                    ],
                ),
                service("api", &[]),
            ]
            .into(),
        )
    }

    fn found(authority: &str, path: &str) -> Option<(String, bool)> {
        routes().find(authority, path).map(|route| (route.service.to_string(), route.jwt))
    }

    #[test]
    fn the_longest_path_of_the_host_counts() {
        let is = |path: &str, service: &str, jwt| {
            assert_eq!(found("Shop.x.Y:8003", path), Some((service.to_owned(), jwt)), "{path}");
        };
        is("/", "shop", false);
        is("/apis", "shop", false);
        is("/api", "api", false);
        is("/api/x", "api", false);
        is("/api/admin", "api", true);
        is("/api/administrators", "api", false);
        is("/x", "shop", true);
        for path in [
            "/api//admin/",
            "/api/./admin",
            "/y/../api/admin",
            "/%61pi/%61dmin",
            "/api%2fadmin",
            "/api\\admin",
            "/api;v=1/admin",
        ] {
            is(path, "api", true);
        }
        for authority in ["", "nobody.x.y", "192.0.2.1", "shop.x.y:http", "shop.x.y@evil.x.y", "[::1]:80"] {
            assert_eq!(found(authority, "/"), None, "{authority}");
        }
    }

    proptest! {
        #[test]
        fn what_is_guarded_stays_guarded(before in "[a-z./%;\\\\]{0,20}", behind in "(/[ -~]{0,20})?") {
            let routes = routes();
            let path = format!("/{before}/../../../../../../../../../../../../../../../../../../../../../api/admin");
            prop_assert!(routes.find("shop.x.y", &path).unwrap().jwt);
            // A dot or an escape of one in what is behind may lead out again.
            if !behind.contains("..") && !behind.contains('%') && !behind.contains('\\') {
                let path = format!("/api/admin{behind}");
                prop_assert!(routes.find("shop.x.y", &path).unwrap().jwt);
            }
        }

        #[test]
        fn anything_has_an_answer(authority in ".{0,40}", path in ".{0,40}") {
            _ = routes().find(&authority, &path);
        }
    }
}
