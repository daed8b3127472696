//! Which service a request is for, by its host and path.

use meridian_types::service::EdgeRoute;
use meridian_types::{HostName, Service, ServiceName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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
pub struct Routes(HashMap<HostName, Arc<Paths>>);

/// The routes of one host.
#[derive(Clone, Debug)]
pub struct Paths {
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
                (
                    normal(&route.path).0,
                    Route { service: other.unwrap_or(&service.name).clone(), jwt: route.jwt },
                )
            };
            let mut special: Vec<(String, Route)> = service.edge.routes.iter().map(route).collect();
            special.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
            let paths = Arc::new(Paths { own, special });
            for host in &service.hosts {
                hosts.insert(host.clone(), Arc::clone(&paths));
            }
        }
        Self(hosts)
    }

    /// The routes at an `authority` (`host` or `host:port`, in any case).
    #[must_use]
    pub fn at(&self, authority: &str) -> Option<&Arc<Paths>> {
        self.0.get(&host(authority)?)
    }

    /// Whether a host is anybody's.
    #[must_use]
    pub fn has_host(&self, name: &str) -> bool {
        self.at(name).is_some()
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

impl Paths {
    /// The route of a request for `path`.
    ///
    /// Servers differ in how they understand a path, so what one of them may take for a guarded path is guarded.
    #[must_use]
    pub fn find(&self, path: &str) -> Route {
        if self.special.is_empty() {
            return self.own.clone();
        }
        // A server may take an escaped path for the plain one, and `//x`, `/./x` or `/y/../x` for `/x`: what guards `/x` must too.
        let (plain, has_dots) = normal(path);
        let special = self.special.iter().find(|(prefix, _)| fits(&plain, prefix));
        let mut route = special.map_or(&self.own, |(_, route)| route).clone();
        route.jwt |= self.may_be_guarded(path, &plain, has_dots);
        route
    }

    /// Whether a path may lead to something guarded. `plain`: as most servers understand it; `has_dots`: there was a `..` in it.
    fn may_be_guarded(&self, path: &str, plain: &str, has_dots: bool) -> bool {
        // What a `..` leads to depends on whether escapes, backslashes, empty parts and parameters are seen before or after it, and some
        // servers do not follow it at all. Clients resolve it before they ask.
        if has_dots {
            return self.special.iter().any(|(_, route)| route.jwt);
        }
        let mut fitting = self.special.iter().filter(|(prefix, _)| fits_in_any_case(plain, prefix));
        match fitting.next() {
            None => false,
            Some((_, route)) if route.jwt => true,
            // Free below a guarded path, or of another case than one: only as it is written.
            Some((prefix, _)) => !fits(path, prefix) && fitting.any(|(_, route)| route.jwt),
        }
    }
}

/// Whether a path is at a prefix or below it.
fn fits(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As [`fits`], for a server that does not tell `a` from `A`.
fn fits_in_any_case(path: &str, prefix: &str) -> bool {
    let (path, prefix) = (path.as_bytes(), prefix.as_bytes());
    path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        && path.get(prefix.len()).is_none_or(|next| *next == b'/')
}

/// The path as a server may understand it: escapes resolved, backslashes and repeated slashes as one slash, parameters cut off, dots
/// followed, without a slash at its end. And whether there was a `..` to follow.
fn normal(path: &str) -> (String, bool) {
    let text = unescaped(path);
    let mut parts: Vec<&str> = Vec::new();
    let mut has_dots = false;
    for part in text.split(['/', '\\']) {
        // What is behind a semicolon are parameters for some servers, also behind dots.
        match part.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                has_dots = true;
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut normal = String::with_capacity(text.len() + 1);
    for part in parts {
        normal.push('/');
        normal.push_str(part);
    }
    (normal, has_dots)
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
        let route = routes().at(authority)?.find(path);
        Some((route.service.to_string(), route.jwt))
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
            "/api/.;/admin",
            "/api/;x/admin",
            "/y/..;/api/admin",
            "/api/y/..;v=1/admin",
        ] {
            is(path, "api", true);
        }
        // By whatever a server makes of them.
        for path in [
            "/api/admin/../../x",
            "/api/admin/..%2f..%2fx",
            "/api//../admin",
            "/api/..;/../admin",
            "/api/y%2fz/../admin",
            "/api/y\\z/../admin",
            "/api/%2e%2e/../admin",
            "/API/admin",
            "/X",
        ] {
            assert!(found("shop.x.y", path).unwrap().1, "{path}");
        }
        // Nothing is guarded there.
        assert_eq!(found("api.x.y", "/api/../admin"), Some(("api".to_owned(), false)));
        for authority in ["", "nobody.x.y", "192.0.2.1", "shop.x.y:http", "shop.x.y@evil.x.y", "[::1]:80"] {
            assert_eq!(found(authority, "/"), None, "{authority}");
        }
    }

    #[test]
    fn guards_are_known_however_they_are_written_and_what_is_free_below_only_as_it_is() {
        let routes = |paths: &[(&str, Option<&str>, bool)]| Routes::new(&[service("shop", paths)].into());
        let all = routes(&[("/", None, true), ("/open", None, false)]);
        let guarded = |routes: &Routes, path: &str| routes.at("shop.x.y").unwrap().find(path).jwt;
        for path in ["/", "/x", "/opened", "/open%2fx", "/open;x", "/%6fpen", "//open", "/OPEN", "/x/../open"]
        {
            assert!(guarded(&all, path), "{path}");
        }
        assert!(!guarded(&all, "/open") && !guarded(&all, "/open/x"));
        let odd = routes(&[("//a%20b/./c;d//", None, true)]);
        assert!(guarded(&odd, "/a%20b/c") && guarded(&odd, "/A b/c/d") && !guarded(&odd, "/a"));
    }

    proptest! {
        #[test]
        fn what_is_guarded_stays_guarded(before in "[a-z./%;\\\\]{0,20}", behind in "(/[ -~]{0,20})?") {
            let routes = routes();
            let path = format!("/{before}/../../../../../../../../../../../../../../../../../../../../../api/admin");
            prop_assert!(routes.at("shop.x.y").unwrap().find(&path).jwt);
            let path = format!("/api/admin{behind}");
            prop_assert!(routes.at("shop.x.y").unwrap().find(&path).jwt);
        }

        #[test]
        fn anything_has_an_answer(authority in ".{0,40}", path in ".{0,40}") {
            _ = found(&authority, &path);
        }
    }
}
