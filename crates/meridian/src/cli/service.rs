//! `meridian service`: what clients are steered to, and how it stands.

use super::connect::connect;
use super::failure::Failure;
use super::output::{self, Format, Grid, Tone, joined};
use super::{Global, Outcome};
use crate::admin::services::{PurgeOrder, ServicesStatus};
use crate::config::units::parse_duration;
use clap::{Args, Subcommand};
use meridian_types::service::{DEFAULT_TTL_S, EdgeOptions, EdgeRoute, MAX_EDGE_MS};
use meridian_types::{Backend, HealthCheck, HostName, RegionName, Service, ServiceName, ServicePolicy};
use std::collections::BTreeMap;
use std::time::Duration;

/// The subcommands of `service`.
#[derive(Subcommand)]
pub(super) enum ServiceCommand {
    /// Register a service: DNS answers for its hosts from now on
    Add(AddArgs),
    /// List the services
    List,
    /// Show how services stand in each region, and why
    Status {
        /// Only this service
        name: Option<ServiceName>,
    },
    /// Show which addresses the node announces by BGP, and why not
    Anycast,
    /// Start a small sample application in every region of a development cluster, and register it
    Demo(super::demo::DemoArgs),
    /// Run one process of the sample application
    #[command(hide = true)]
    RunDemo(super::demo::RunDemoArgs),
    /// Have every edge forget what it keeps of a service
    Purge {
        /// Its name
        name: ServiceName,
        /// Only what has this tag (`Surrogate-Key` or `Cache-Tag` of the response)
        #[arg(long)]
        tag: Option<String>,
    },
    /// Remove a service
    Remove {
        /// Its name
        name: ServiceName,
    },
}

/// Arguments of `service add`.
#[derive(Args)]
pub(super) struct AddArgs {
    /// Its name
    name: ServiceName,
    /// A host name under which clients know it; may be repeated
    #[arg(long = "host", required = true, value_name = "HOST")]
    hosts: Vec<HostName>,
    /// How backends are probed: a path to get, tcp for a connection, or region for the region's own nodes
    #[arg(long, default_value = "/", value_name = "CHECK")]
    health: HealthCheck,
    /// Where it runs: REGION=http://HOST:PORT, or https:// or tcp://; may be repeated, also for one region
    #[arg(long = "backend", required = true, value_parser = backend, value_name = "REGION=URL")]
    backends: Vec<(RegionName, Backend)>,
    /// Who serves whom: nearest, active-passive:REGION,REGION or weighted:REGION=3,REGION=1
    #[arg(long, default_value = "nearest")]
    policy: ServicePolicy,
    /// How long resolvers may keep an answer, in seconds
    #[arg(long, default_value_t = DEFAULT_TTL_S, value_name = "SECONDS")]
    ttl: u32,
    /// How long the edge keeps a client in the region that took its write; 0s for not at all
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    sticky: Duration,
    /// The edge asks a second region when the first has not answered a request that may be repeated for so long
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    hedge: Option<Duration>,
    /// How long a request through the edge may take until its response begins; the node's own setting unless given
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// The edge keeps responses that allow it, and serves them again
    #[arg(long)]
    cache: bool,
    /// Paths that another service serves through the edge: PATH=SERVICE; may be repeated
    #[arg(long = "route", value_parser = route, value_name = "PATH=SERVICE")]
    routes: Vec<(String, ServiceName)>,
    /// Paths that the edge asks for a token of a session; may be repeated
    #[arg(long = "jwt", value_name = "PATH")]
    guarded: Vec<String>,
    /// Replace the service if it exists
    #[arg(long)]
    replace: bool,
}

fn backend(text: &str) -> Result<(RegionName, Backend), String> {
    let (region, url) = text
        .split_once('=')
        .ok_or_else(|| "write REGION=URL, such as us-east-1=http://192.0.2.1:8080".to_owned())?;
    Ok((
        RegionName::new(region).map_err(|error| error.to_string())?,
        url.parse().map_err(|error: meridian_types::service::BackendError| error.to_string())?,
    ))
}

fn route(text: &str) -> Result<(String, ServiceName), String> {
    let (path, service) =
        text.split_once('=').ok_or_else(|| "write PATH=SERVICE, such as /api=api".to_owned())?;
    Ok((path.to_owned(), ServiceName::new(service).map_err(|error| error.to_string())?))
}

/// Other services' paths, and guarded ones; a path may be both.
fn edge_routes(routes: Vec<(String, ServiceName)>, guarded: &[String]) -> Vec<EdgeRoute> {
    let mut all: Vec<EdgeRoute> = routes
        .into_iter()
        .map(|(path, service)| EdgeRoute { path, service: Some(service), jwt: false })
        .collect();
    for path in guarded {
        let same = |other: &&mut EdgeRoute| other.path.trim_end_matches('/') == path.trim_end_matches('/');
        match all.iter_mut().find(same) {
            Some(route) => route.jwt = true,
            None => all.push(EdgeRoute { path: path.clone(), service: None, jwt: true }),
        }
    }
    // A path below a guarded one is guarded as well, and one below another service's is that service's.
    let copy = all.clone();
    for route in &mut all {
        let above = |other: &&EdgeRoute| {
            let prefix = format!("{}/", other.path.trim_end_matches('/'));
            route.path.starts_with(&prefix) && route.path.len() > prefix.len()
        };
        route.jwt |= copy.iter().filter(above).any(|other| other.jwt);
        if route.service.is_none() {
            let nearest = copy.iter().filter(above).filter(|other| other.service.is_some());
            route.service =
                nearest.max_by_key(|other| other.path.len()).and_then(|other| other.service.clone());
        }
    }
    all
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(MAX_EDGE_MS.saturating_add(1))
}

impl AddArgs {
    fn service(self) -> Result<(Service, bool), Failure> {
        let mut backends: BTreeMap<RegionName, Vec<Backend>> = BTreeMap::new();
        for (region, backend) in self.backends {
            backends.entry(region).or_default().push(backend);
        }
        let service = Service {
            name: self.name,
            hosts: self.hosts,
            health: self.health,
            backends,
            policy: self.policy,
            ttl_s: self.ttl,
            edge: EdgeOptions {
                sticky_ms: millis(self.sticky),
                cache: self.cache,
                hedge_ms: self.hedge.map(millis),
                timeout_ms: self.timeout.map(millis),
                routes: edge_routes(self.routes, &self.guarded),
            },
        };
        service.validate().map_err(|error| Failure::usage(error.to_string()))?;
        Ok((service, !self.replace))
    }
}

pub(super) async fn run(command: ServiceCommand, global: &Global) -> Outcome {
    match command {
        ServiceCommand::Add(args) => {
            let (service, new) = args.service()?;
            let service = connect(global).await?.put_service(&service, new).await?;
            show(&[service], global)
        }
        ServiceCommand::List => show(&connect(global).await?.services().await?.services, global),
        ServiceCommand::Status { name } => {
            let mut status = connect(global).await?.services_status().await?;
            if let Some(name) = name {
                status.services.retain(|service| service.name == name);
                if status.services.is_empty() {
                    return Err(Failure::failed(format!(
                        "service {name} does not exist; `meridian service list` shows those that do"
                    )));
                }
            }
            match global.output {
                Format::Json => output::json(&status),
                Format::Table => {
                    status_grid(&status).emit();
                    Ok(())
                }
            }
        }
        ServiceCommand::Demo(args) => super::demo::start(args, global).await,
        ServiceCommand::RunDemo(args) => super::demo::run(args).await,
        ServiceCommand::Anycast => super::anycast::run(global).await,
        ServiceCommand::Purge { name, tag } => {
            let order = PurgeOrder { tag };
            if !order.is_possible() {
                return Err(Failure::usage(format!("--tag: {}", PurgeOrder::RULE)));
            }
            connect(global).await?.purge_service(&name, &order).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "purged": name, "tag": order.tag })),
                Format::Table => {
                    output::emit(&format!("every edge forgets what it kept of {name}\n"));
                    Ok(())
                }
            }
        }
        ServiceCommand::Remove { name } => {
            connect(global).await?.remove_service(&name).await?;
            match global.output {
                Format::Json => output::json(&serde_json::json!({ "removed": name })),
                Format::Table => {
                    output::emit(&format!("removed service {name}\n"));
                    Ok(())
                }
            }
        }
    }
}

fn show(services: &[Service], global: &Global) -> Outcome {
    if global.output == Format::Json {
        return output::json(&serde_json::json!({ "services": services }));
    }
    let mut grid = Grid::new(&["SERVICE", "HOSTS", "HEALTH", "POLICY", "TTL", "BACKENDS"]);
    for service in services {
        let backends: Vec<String> = service
            .backends
            .iter()
            .flat_map(|(region, urls)| urls.iter().map(move |url| format!("{region}={url}")))
            .collect();
        grid.row(vec![
            service.name.to_string(),
            joined(&service.hosts),
            service.health.to_string(),
            service.policy.to_string(),
            format!("{} s", service.ttl_s),
            joined(&backends),
        ]);
    }
    grid.emit();
    Ok(())
}

fn status_grid(status: &ServicesStatus) -> Grid {
    let mut grid = Grid::new(&["SERVICE", "REGION", "VERDICT", "FOR", "WHY"]);
    for service in &status.services {
        for place in &service.regions {
            let mut why = place.because.join("; ");
            if service.fail_open {
                why = format!("fail open: clients are sent to every region; {why}");
            }
            grid.toned(vec![
                (service.name.to_string(), Tone::Plain),
                (place.region.to_string(), Tone::Plain),
                (place.verdict.to_string(), super::status::tone(place.verdict)),
                (format!("{:.0} s", place.since_s), Tone::Plain),
                (if why.is_empty() { "-".to_owned() } else { why }, Tone::Plain),
            ]);
        }
    }
    grid
}
